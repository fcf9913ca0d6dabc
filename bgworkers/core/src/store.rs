//! The database as the services see it: calls of SQL functions, each list of calls in one transaction.

use std::fmt;

use crate::BoxFuture;

/// An argument or a column. Types without a variant travel as `Text` with a cast in the SQL.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL as a result. As an argument use [`Value::null_text`] and friends, which know their type.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `integer`.
    Int(i32),
    /// `bigint`.
    BigInt(i64),
    /// `double precision`.
    Float(f64),
    /// `text`; `None` is a NULL of that type.
    Text(Option<String>),
    /// `bytea`; `None` is a NULL of that type.
    Bytea(Option<Vec<u8>>),
    /// `integer[]`.
    IntArray(Vec<i32>),
    /// `bigint[]`.
    BigIntArray(Vec<i64>),
    /// `bigint[]`, elements may be NULL.
    NullableBigIntArray(Vec<Option<i64>>),
    /// `boolean[]`.
    BoolArray(Vec<bool>),
    /// `text[]`.
    TextArray(Vec<Option<String>>),
    /// `bytea[]` of ids or keys.
    HashArray(Vec<[u8; 32]>),
    /// `bytea[]`.
    ByteaArray(Vec<Option<Vec<u8>>>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}
impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}
impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::BigInt(number)
    }
}
impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}
impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

/// One SQL statement with its arguments (`$1`, `$2`, …). The text is static so that its plan is kept.
#[derive(Debug, Clone)]
pub struct Call {
    /// The statement.
    pub sql: &'static str,
    /// Its arguments.
    pub args: Vec<Value>,
}

impl Call {
    /// A statement with its arguments.
    pub fn new(sql: &'static str, args: Vec<Value>) -> Self {
        Self { sql, args }
    }

    /// Bytes the arguments hold, for limits.
    pub fn bytes(&self) -> usize {
        self.args.iter().map(Value::bytes).sum()
    }
}

impl Value {
    /// Bytes this value holds on the heap, for limits.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(Some(text)) => text.len(),
            Self::Bytea(Some(bytes)) => bytes.len(),
            Self::IntArray(items) => items.len() * 4,
            Self::BigIntArray(items) => items.len() * 8,
            Self::NullableBigIntArray(items) => items.len() * 16,
            Self::HashArray(items) => items.len() * 32,
            Self::BoolArray(items) => items.len(),
            Self::TextArray(items) => items.iter().flatten().map(|item| item.len() + 24).sum(),
            Self::ByteaArray(items) => items.iter().flatten().map(|item| item.len() + 24).sum(),
            _ => 8,
        }
    }
}

/// One row of an answer. Accessors give an error, not a panic, where SQL and Rust disagree.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

/// The rows a statement returned.
pub type Rows = Vec<Row>;

macro_rules! accessor {
    ($(#[$doc:meta])* $name:ident, $optional:ident, $type:ty, $pattern:pat => $value:expr) => {
        $(#[$doc])*
        pub fn $name(&self, column: usize) -> Result<$type, StoreError> {
            self.$optional(column)?.ok_or_else(|| StoreError::shape(column, stringify!($name)))
        }
        /// The same, NULL allowed.
        pub fn $optional(&self, column: usize) -> Result<Option<$type>, StoreError> {
            match self.0.get(column) {
                Some($pattern) => Ok(Some($value)),
                Some(Value::Null | Value::Text(None) | Value::Bytea(None)) => Ok(None),
                _ => Err(StoreError::shape(column, stringify!($name))),
            }
        }
    };
}

impl Row {
    accessor!(/// A `boolean` column.
        bool, opt_bool, bool, Value::Bool(value) => *value);
    accessor!(/// An `integer` column.
        int, opt_int, i32, Value::Int(value) => *value);
    accessor!(/// A `bigint` column.
        bigint, opt_bigint, i64, Value::BigInt(value) => *value);
    accessor!(/// A `double precision` column.
        float, opt_float, f64, Value::Float(value) => *value);
    accessor!(/// A `text` column.
        text, opt_text, &str, Value::Text(Some(value)) => value.as_str());
    accessor!(/// A `bytea` column.
        bytea, opt_bytea, &[u8], Value::Bytea(Some(value)) => value.as_slice());
    accessor!(/// A `bigint[]` column without NULLs.
        bigints, opt_bigints, &[i64], Value::BigIntArray(value) => value.as_slice());
}

/// Why a transaction did not commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// PostgreSQL raised an error; nothing of the transaction stays.
    Sql {
        /// Five characters, `errcodes.txt`.
        sqlstate: String,
        /// Primary message.
        message: String,
    },
    /// The worker is leaving: no further call will be answered.
    Closed,
    /// SQL returned another shape than the code expects.
    Shape(String),
}

impl StoreError {
    fn shape(column: usize, wanted: &str) -> Self {
        Self::Shape(format!("column {column} is not {wanted}"))
    }

    /// Whether SQL objects to what was to be written, which will not pass, rather than to the moment: a lock, a full disk, a time limit,
    /// a missing right (classes of `errcodes.txt`).
    pub fn is_of_the_rows(&self) -> bool {
        const OF_THE_MOMENT: [&str; 10] = ["08", "25", "28", "40", "42", "53", "55", "57", "58", "F0"];
        match self {
            Self::Sql { sqlstate, .. } => !OF_THE_MOMENT.iter().any(|class| sqlstate.starts_with(class)),
            Self::Closed | Self::Shape(_) => false,
        }
    }

    /// Whether somebody was in the way (a lock, a deadlock, a statement that took too long), who may be in the way of one row only.
    pub fn is_contention(&self) -> bool {
        matches!(self, Self::Sql { sqlstate, .. } if ["40", "55", "57"].iter().any(|class| sqlstate.starts_with(class)))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql { sqlstate, message } => write!(f, "{message} (SQLSTATE {sqlstate})"),
            Self::Closed => f.write_str("the worker is leaving"),
            Self::Shape(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for StoreError {}

/// The database. In the server the worker's main thread answers; in tests a fake does.
pub trait Store: Send + Sync + 'static {
    /// Runs `calls` in order in one transaction and returns the rows of each.
    fn transaction(&self, calls: Vec<Call>) -> BoxFuture<'_, Result<Vec<Rows>, StoreError>>;
}

impl dyn Store {
    /// One statement in a transaction of its own.
    pub async fn call(&self, sql: &'static str, args: Vec<Value>) -> Result<Rows, StoreError> {
        Ok(self.transaction(vec![Call::new(sql, args)]).await?.pop().unwrap_or_default())
    }
}
