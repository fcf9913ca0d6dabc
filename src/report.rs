//! Messages for people: what happened, and what to do about it.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

fn report(level: PgLogLevel, code: PgSqlErrorCode, message: &str, hint: &str) {
    let report = ErrorReport::new(code, message.to_owned(), "bigbrotr");
    let report = if hint.is_empty() { report } else { report.set_hint(hint.to_owned()) };
    report.report(level);
}

/// Refuses an argument: SQLSTATE 22023.
pub fn refuse(message: &str, hint: &str) -> ! {
    report(PgLogLevel::ERROR, PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, hint);
    unreachable!("an ERROR does not return");
}

/// Warns without stopping.
pub fn warn(code: PgSqlErrorCode, message: &str, hint: &str) {
    report(PgLogLevel::WARNING, code, message, hint);
}

/// Writes to the server log only.
pub fn log(level: PgLogLevel, message: &str, hint: &str) {
    report(level, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, hint);
}
