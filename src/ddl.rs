//! Making way for DDL on a database.
//!
//! `DROP DATABASE`, `ALTER DATABASE … RENAME` and `… SET TABLESPACE` hold an exclusive lock on the `pg_database` object
//! while they wait five seconds for other sessions to leave, `CREATE DATABASE … TEMPLATE` a share lock
//! (src/backend/commands/dbcommands.c). A session that asks for that lock without waiting learns that it is in the way.

use pgrx::pg_sys;

/// Whether somebody waits for the sessions of this database to leave.
pub fn is_wanted(database: pg_sys::Oid) -> bool {
    // SET_LOCKTAG_OBJECT of lock.h.
    let tag = pg_sys::LOCKTAG {
        locktag_field1: 0,
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        locktag_field3: database.to_u32(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: a session lock needs no transaction; it is taken without waiting and given back at once.
    unsafe {
        if pg_sys::LockAcquire(&tag, mode, true, true) == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return true;
        }
        pg_sys::LockRelease(&tag, mode, true);
    }
    false
}
