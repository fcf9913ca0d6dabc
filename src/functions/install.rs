//! What happens when the extension is created, and facts about the server.

use pgrx::{PgSqlErrorCode, pg_extern, pg_sys};

use super::workers;
use crate::report::warn;
use crate::shmem;

#[pg_extern]
fn extension_created() {
    if shmem::is_mapped() {
        workers::announce_at_commit();
    } else {
        warn(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "bigbrotr is not preloaded: its functions work, its workers do not run",
            "Add bigbrotr to shared_preload_libraries, name this database in bigbrotr.databases, and restart the server.",
        );
    }
}

#[pg_extern]
fn disk_free() -> i64 {
    // SAFETY: DataDir is a C string for the life of the server; the structure is filled by the call.
    unsafe {
        let mut facts = std::mem::zeroed::<libc::statvfs>();
        if libc::statvfs(pg_sys::DataDir, &mut facts) != 0 {
            return i64::MAX;
        }
        i64::try_from((facts.f_bavail as u64).saturating_mul(facts.f_frsize as u64)).unwrap_or(i64::MAX)
    }
}
