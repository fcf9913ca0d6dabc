//! What the shared catalogs say of a database.

use std::ffi::CString;

use pgrx::pg_sys;

/// `DATCONNLIMIT_INVALID_DB`: a DROP DATABASE was interrupted (PostgreSQL 15.4).
const INVALID: i32 = -2;

/// Whether a database can be entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// There is none of this name.
    Missing,
    /// Its `datallowconn` is off, or only DROP DATABASE can help it.
    Refusing,
    /// It is there.
    Found(pg_sys::Oid),
}

/// As get_database_oid() of dbcommands.c, but without the index: a process without a database may not have its
/// description (the shared relcache file may not be written yet).
pub fn look_up(name: &str) -> Lookup {
    let Ok(name) = CString::new(name) else { return Lookup::Missing };
    // SAFETY: a transaction of our own around a catalog look-up; an error ends this process, which is then restarted.
    // nameeq compares up to the NUL, so a C string may stand for a name. The tuple is read before the scan ends.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        let mut key = std::mem::zeroed::<pg_sys::ScanKeyData>();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_database_datname as pg_sys::AttrNumber,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::F_NAMEEQ.into(),
            pg_sys::Datum::from(name.as_ptr()),
        );
        let index = pg_sys::DatabaseNameIndexId.into();
        let scan = pg_sys::systable_beginscan(relation, index, false, std::ptr::null_mut(), 1, &mut key);
        let tuple = pg_sys::systable_getnext(scan);
        let found = if tuple.is_null() {
            Lookup::Missing
        } else {
            let header = (*tuple).t_data;
            let row = header.byte_add(usize::from((*header).t_hoff)).cast::<pg_sys::FormData_pg_database>();
            if (*row).datallowconn && (*row).datconnlimit != INVALID {
                Lookup::Found((*row).oid)
            } else {
                Lookup::Refusing
            }
        };
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        pg_sys::CommitTransactionCommand();
        found
    }
}
