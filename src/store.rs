//! The services' store: each list of calls in one transaction through SPI, on the main thread of a worker.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use bigbrotr_core::{BoxFuture, Call, Row, Rows, Store, StoreError, Value};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::spi::{OwnedPreparedStatement, SpiError, SpiTupleTable};
use pgrx::{IntoDatum, PgBuiltInOids, PgOid, PgTryBuilder, Spi, pg_sys};
use tokio::sync::{mpsc, oneshot};

use crate::doorbell::Doorbell;

// timeout.h is not among pgrx's bindings. Neither function raises an error.
unsafe extern "C-unwind" {
    fn enable_timeout_after(id: i32, delay_ms: i32);
    fn disable_timeout(id: i32, keep_indicator: bool);
}
/// `STATEMENT_TIMEOUT` of the enum `TimeoutId`, the same in PostgreSQL 13 to 18.
const STATEMENT_TIMEOUT: i32 = 3;

/// One transaction a service waits for.
pub struct Request {
    /// The statements.
    pub calls: Vec<Call>,
    /// Where the rows go.
    pub reply: oneshot::Sender<Result<Vec<Rows>, StoreError>>,
}

/// The services' end of the channel to the main thread.
pub struct Remote {
    requests: mpsc::Sender<Request>,
    doorbell: Doorbell,
}

impl Remote {
    /// A sender and what wakes the main thread.
    pub fn new(requests: mpsc::Sender<Request>, doorbell: Doorbell) -> Self {
        Self { requests, doorbell }
    }
}

impl Store for Remote {
    fn transaction(&self, calls: Vec<Call>) -> BoxFuture<'_, Result<Vec<Rows>, StoreError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.requests.send(Request { calls, reply }).await.map_err(|_| StoreError::Closed)?;
            self.doorbell.ring();
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

/// Runs transactions and keeps the plans of the statements it has seen.
#[derive(Default)]
pub struct Executor {
    plans: HashMap<&'static str, OwnedPreparedStatement>,
}

impl Executor {
    /// Runs `calls` in one transaction. On an error nothing of it stays, and the worker goes on.
    pub fn run(&mut self, calls: Vec<Call>) -> Result<Vec<Rows>, StoreError> {
        // SAFETY: no transaction is open here; every path below ends it.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
        }
        let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
            // SPI knows no statement timeout: postgres.c sets it for what a client sends.
            // SAFETY: the timeout was registered by InitPostgres.
            unsafe {
                // SPI wants a snapshot around it; each statement takes a newer one of its own.
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
                if pg_sys::StatementTimeout > 0 {
                    enable_timeout_after(STATEMENT_TIMEOUT, pg_sys::StatementTimeout);
                }
            }
            let rows = Spi::connect_mut(|client| {
                let mut answers = Vec::with_capacity(calls.len());
                for call in &calls {
                    // SAFETY: a static NUL-free text would do as well; pgstat copies what it is given.
                    report_running(call.sql);
                    let types: Vec<PgOid> = call.args.iter().map(type_of).collect();
                    let plan = match self.plans.entry(call.sql) {
                        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                        std::collections::hash_map::Entry::Vacant(entry) => {
                            entry.insert(client.prepare_mut(call.sql, &types).map_err(shape)?.keep())
                        }
                    };
                    let args: Vec<DatumWithOid> = call.args.iter().map(datum).collect();
                    let table = client.update(&*plan, None, &args).map_err(shape)?;
                    answers.push(rows_of(table)?);
                }
                Ok(answers)
            })?;
            // SAFETY: ends what was begun above.
            unsafe {
                disable_timeout(STATEMENT_TIMEOUT, false);
                pg_sys::PopActiveSnapshot();
                pg_sys::CommitTransactionCommand();
            }
            Ok(rows)
        }))
        .catch_others(|error| Err(describe(error)))
        .execute();
        if outcome.is_err() {
            // SAFETY: after an error the transaction is still open, whether PostgreSQL or Rust raised it.
            unsafe {
                disable_timeout(STATEMENT_TIMEOUT, false);
                pg_sys::AbortCurrentTransaction();
            }
        }
        // SAFETY: outside a transaction; sends counts to the statistics system so that autovacuum sees our rows.
        unsafe { pg_sys::pgstat_report_stat(false) };
        outcome
    }

    /// Forgets all plans, for instance after the extension was updated.
    pub fn forget_plans(&mut self) {
        self.plans.clear();
    }
}

fn report_running(sql: &str) {
    if let Ok(text) = std::ffi::CString::new(sql) {
        // SAFETY: copied by the callee.
        unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr()) };
    }
}

fn shape(error: SpiError) -> StoreError {
    StoreError::Shape(error.to_string())
}

fn describe(error: CaughtError) -> StoreError {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic { ereport: report, .. }) = error;
    StoreError::Sql { sqlstate: sqlstate(report.sql_error_code() as i32), message: report.message().to_owned() }
}

/// The five characters of an error code (`unpack_sql_state` of elog.c).
pub fn sqlstate(mut code: i32) -> String {
    (0..5)
        .map(|_| {
            let letter = ((code & 0x3f) as u8 + b'0') as char;
            code >>= 6;
            letter
        })
        .collect()
}

fn type_of(value: &Value) -> PgOid {
    PgOid::BuiltIn(match value {
        Value::Null | Value::Text(_) => PgBuiltInOids::TEXTOID,
        Value::Bool(_) => PgBuiltInOids::BOOLOID,
        Value::Int(_) => PgBuiltInOids::INT4OID,
        Value::BigInt(_) => PgBuiltInOids::INT8OID,
        Value::Float(_) => PgBuiltInOids::FLOAT8OID,
        Value::Bytea(_) => PgBuiltInOids::BYTEAOID,
        Value::IntArray(_) => PgBuiltInOids::INT4ARRAYOID,
        Value::BigIntArray(_) | Value::NullableBigIntArray(_) => PgBuiltInOids::INT8ARRAYOID,
        Value::BoolArray(_) => PgBuiltInOids::BOOLARRAYOID,
        Value::TextArray(_) => PgBuiltInOids::TEXTARRAYOID,
        Value::ByteaArray(_) | Value::HashArray(_) => PgBuiltInOids::BYTEAARRAYOID,
    })
}

fn datum(value: &Value) -> DatumWithOid<'_> {
    let oid = type_of(value).value();
    let datum = match value {
        Value::Null | Value::Text(None) | Value::Bytea(None) => None,
        Value::Bool(flag) => flag.into_datum(),
        Value::Int(number) => number.into_datum(),
        Value::BigInt(number) => number.into_datum(),
        Value::Float(number) => number.into_datum(),
        Value::Text(Some(text)) => text.as_str().into_datum(),
        Value::Bytea(Some(bytes)) => bytes.as_slice().into_datum(),
        Value::IntArray(items) => items.as_slice().into_datum(),
        Value::BigIntArray(items) => items.as_slice().into_datum(),
        Value::NullableBigIntArray(items) => items.as_slice().into_datum(),
        Value::BoolArray(items) => items.as_slice().into_datum(),
        Value::HashArray(items) => items.iter().map(|hash| hash.as_slice()).collect::<Vec<&[u8]>>().into_datum(),
        Value::TextArray(items) => items.iter().map(Option::as_deref).collect::<Vec<Option<&str>>>().into_datum(),
        Value::ByteaArray(items) => items.iter().map(Option::as_deref).collect::<Vec<Option<&[u8]>>>().into_datum(),
    };
    // SAFETY: the datum was made for exactly this type.
    unsafe { datum.map_or_else(|| DatumWithOid::null_oid(oid), |datum| DatumWithOid::new(datum, oid)) }
}

fn rows_of(table: SpiTupleTable<'_>) -> Result<Rows, StoreError> {
    // A statement without a result (SET, INSERT without RETURNING) has no columns.
    let Ok(columns) = table.columns() else { return Ok(Rows::new()) };
    let mut types = Vec::with_capacity(columns);
    for column in 1..=columns {
        types.push(table.column_type_oid(column).map_err(shape)?);
    }
    let mut rows = Rows::with_capacity(table.len());
    for tuple in table {
        let mut row = Vec::with_capacity(columns);
        for (column, oid) in (1..).zip(&types) {
            let value = match oid {
                PgOid::BuiltIn(PgBuiltInOids::BOOLOID) => tuple.get(column).map_err(shape)?.map(Value::Bool),
                PgOid::BuiltIn(PgBuiltInOids::INT4OID) => tuple.get(column).map_err(shape)?.map(Value::Int),
                PgOid::BuiltIn(PgBuiltInOids::INT8OID) => tuple.get(column).map_err(shape)?.map(Value::BigInt),
                PgOid::BuiltIn(PgBuiltInOids::FLOAT8OID) => tuple.get(column).map_err(shape)?.map(Value::Float),
                PgOid::BuiltIn(PgBuiltInOids::FLOAT4OID) => {
                    tuple.get::<f32>(column).map_err(shape)?.map(|number| Value::Float(f64::from(number)))
                }
                PgOid::BuiltIn(PgBuiltInOids::TEXTOID) => tuple.get::<String>(column).map_err(shape)?.map(Value::from),
                PgOid::BuiltIn(PgBuiltInOids::BYTEAOID) => {
                    tuple.get::<Vec<u8>>(column).map_err(shape)?.map(|bytes| Value::Bytea(Some(bytes)))
                }
                PgOid::BuiltIn(PgBuiltInOids::INT8ARRAYOID) => {
                    tuple.get::<Vec<i64>>(column).map_err(shape)?.map(Value::BigIntArray)
                }
                PgOid::BuiltIn(PgBuiltInOids::VOIDOID) => None,
                other => {
                    return Err(StoreError::Shape(format!(
                        "column {column} has type {other:?}: cast it in the statement"
                    )));
                }
            };
            row.push(value.unwrap_or(Value::Null));
        }
        rows.push(Row(row));
    }
    Ok(rows)
}
