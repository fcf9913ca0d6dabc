//! The SQL-callable functions of the library, declared in `sql/functions/native.sql`.

mod discovery;
mod documents;
mod events;
mod filters;
mod install;
mod sightings;
mod tags;
mod workers;

use pgrx::{PgLogLevel, PgSqlErrorCode};

/// Refuses an argument: SQLSTATE 22023 with a HINT.
fn refuse(message: &str, hint: &str) -> ! {
    // pgrx has no HINT in its macro; its report has.
    pgrx::pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        message.to_owned(),
        "bigbrotr",
    )
    .set_hint(hint.to_owned())
    .report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return");
}

/// Warns without stopping.
fn warn(code: PgSqlErrorCode, message: &str, hint: &str) {
    let report = pgrx::pg_sys::panic::ErrorReport::new(code, message.to_owned(), "bigbrotr").set_hint(hint.to_owned());
    report.report(PgLogLevel::WARNING);
}
