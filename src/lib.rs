//! BigBrotr: a Nostr network observatory inside PostgreSQL. This crate is the PostgreSQL side; the services are in
//! `bgworkers/`, the SQL in `sql/`.

// The one crate that talks to the server, hence the one that may be unsafe; every block says why it is sound.
#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod allocator;
mod ddl;
mod doorbell;
mod functions;
mod gucs;
mod launcher;
mod report;
mod services;
mod shmem;
mod store;
mod worker;

use pgrx::{pg_guard, pg_sys};

pgrx::pg_module_magic!();

/// Called when the library is loaded: by the postmaster when it is preloaded, else by the first session that needs it.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    gucs::register();
    // SAFETY: plain flags of the server, set before any library is loaded.
    let (preloading, upgrading) =
        unsafe { (pg_sys::process_shared_preload_libraries_in_progress, pg_sys::IsBinaryUpgrade) };
    if preloading && !upgrading {
        shmem::register();
        launcher::register();
    }
}
