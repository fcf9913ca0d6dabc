//! The settings of a worker's session, whatever the database or the bootstrap user has for defaults.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

const PINNED: [(&CStr, &CStr); 18] = [
    // READ COMMITTED: the archive lock needs a snapshot taken after it was granted.
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"default_transaction_deferrable", c"off"),
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"statement_timeout", c"8s"),
    (c"lock_timeout", c"4s"),
    // A worker that waits for a user's lock and makes the user wait gives up before the user does.
    (c"deadlock_timeout", c"100ms"),
    (c"idle_in_transaction_session_timeout", c"0"),
    (c"client_min_messages", c"error"),
    (c"bytea_output", c"hex"),
    (c"timezone", c"UTC"),
    (c"datestyle", c"ISO, YMD"),
    (c"intervalstyle", c"postgres"),
    (c"extra_float_digits", c"1"),
    (c"session_replication_role", c"origin"),
    (c"row_security", c"on"),
    (c"jit", c"off"),
    // Parallel workers come out of the same max_worker_processes as ours.
    (c"max_parallel_workers_per_gather", c"0"),
];

/// Sets them for the life of the process: neither a reload nor `ALTER DATABASE … SET` changes them.
pub fn pin() {
    for (name, value) in PINNED {
        set(name, value, pg_sys::GucContext::PGC_SUSET);
    }
    // It would end the whole session.
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    set(c"transaction_timeout", c"0", pg_sys::GucContext::PGC_SUSET);
}

/// Names this process in `pg_stat_activity`.
pub fn set_application_name(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    set(c"application_name", &name, pg_sys::GucContext::PGC_USERSET);
    // SAFETY: copied by the callee.
    unsafe { pg_sys::pgstat_report_appname(name.as_ptr()) };
}

fn set(name: &CStr, value: &CStr, context: pg_sys::GucContext::Type) {
    // SAFETY: a setting of the server on the main thread, outside a transaction, as InitPostgres() does; the strings are
    // copied.
    unsafe { pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, pg_sys::GucSource::PGC_S_SESSION) };
}
