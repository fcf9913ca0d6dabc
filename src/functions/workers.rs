//! Workers as sessions see and steer them.

use std::time::Duration;

use bigbrotr_core::ServiceKind;
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern, pg_sys};

use crate::report::refuse;
use crate::shmem::{self, Readiness, State};
use crate::{gucs, worker};

/// Seconds since 1970 of a TimestampTz; none for 0.
fn epoch(stamp: i64) -> Option<f64> {
    const POSTGRES_EPOCH: f64 = 946_684_800.0;
    (stamp != 0).then(|| stamp as f64 / 1_000_000.0 + POSTGRES_EPOCH)
}

#[allow(clippy::type_complexity)]
#[pg_extern]
fn workers() -> TableIterator<
    'static,
    (
        name!(database, String),
        name!(service, &'static str),
        name!(worker, i32),
        name!(pid, Option<i32>),
        name!(state, &'static str),
        name!(activity, String),
        name!(items, i64),
        name!(cycles, i64),
        name!(errors, i64),
        name!(last_error, Option<String>),
        name!(last_error_at, Option<f64>),
        name!(started_at, Option<f64>),
    ),
> {
    let counts = ServiceKind::ALL.map(|kind| (kind, gucs::workers_of(kind)));
    let rows = shmem::read(|shared| {
        let mut rows = Vec::new();
        for database in shared.databases.iter().filter(|database| !database.name.get().is_empty()) {
            for (kind, configured) in counts {
                for number in 0..16 {
                    let slot = &database.slots
                        [shmem::slot_of(kind, if kind == ServiceKind::Synchronizer { number } else { 0 })];
                    if number >= configured && (slot.pid == 0 || kind != ServiceKind::Synchronizer) {
                        continue;
                    }
                    let is_off = slot.pid == 0 && (database.held || !gucs::enabled(kind));
                    rows.push((
                        database.name.get().to_owned(),
                        kind.as_str(),
                        number as i32 + 1,
                        (slot.pid != 0).then_some(slot.pid),
                        if is_off { State::Disabled } else { slot.state }.as_str(),
                        slot.activity.get().to_owned(),
                        slot.items as i64,
                        slot.cycles as i64,
                        slot.errors as i64,
                        Some(slot.last_error.get().to_owned()).filter(|text| !text.is_empty()),
                        epoch(slot.last_error_at),
                        epoch(slot.started_at),
                    ));
                }
            }
        }
        rows
    });
    TableIterator::new(rows.unwrap_or_default())
}

/// The name of the database of this session.
fn database() -> String {
    // SAFETY: in a transaction; the name is a palloc'ed copy.
    unsafe {
        let name = pg_sys::get_database_name(pg_sys::MyDatabaseId);
        if name.is_null() { String::new() } else { std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

#[pg_extern]
fn run_service(service: &str) -> bool {
    let Ok(kind) = service.parse::<ServiceKind>() else {
        refuse(
            &format!("there is no service {:?}", service.chars().take(40).collect::<String>()),
            "One of seeder, finder, validator, monitor, synchronizer, refresher.",
        );
    };
    let name = database();
    let pids = shmem::write(|shared| {
        let mut pids = Vec::new();
        let Some(index) = shared.find(&name) else { return pids };
        for slot in 0..shmem::PROBE {
            let row = &mut shared.databases[index].slots[slot];
            if shmem::service_of(slot).is_some_and(|(this, _)| this == kind) && row.pid != 0 {
                row.wake = true;
                pids.push(row.pid);
            }
        }
        pids
    })
    .unwrap_or_default();
    pids.iter().for_each(|pid| shmem::nudge(*pid));
    !pids.is_empty()
}

/// Processes of a database that the postmaster has not seen end: services, and with the probe.
fn occupied(name: &str) -> (i32, i32) {
    let count = shmem::read(|shared| {
        let Some(index) = shared.find(name) else { return (0, 0) };
        let slots = &shared.databases[index].slots;
        let of = |slots: &[shmem::Slot]| slots.iter().filter(|slot| slot.occupied || slot.pid != 0).count() as i32;
        (of(&slots[..shmem::PROBE]), of(slots))
    });
    count.unwrap_or_default()
}

#[pg_extern]
fn stop_workers() -> i32 {
    let name = database();
    let (stopped, _) = occupied(&name);
    shmem::write(|shared| {
        if let Some(index) = shared.find(&name) {
            shared.databases[index].held = true;
        }
    });
    shmem::nudge_launcher();
    while occupied(&name).1 > 0 {
        // Interruptible: a cancel leaves the workers leaving.
        worker::wait_latch(Duration::from_millis(20));
    }
    stopped
}

#[pg_extern]
fn start_workers() -> i32 {
    let name = database();
    let known = shmem::write(|shared| {
        let Some(index) = shared.find(&name) else { return false };
        let row = &mut shared.databases[index];
        row.held = false;
        row.retry = true;
        row.readiness = Readiness::Unknown;
        true
    });
    shmem::nudge_launcher();
    let enabled = ServiceKind::ALL.into_iter().filter(|kind| gucs::enabled(*kind)).map(gucs::workers_of).sum::<usize>();
    if known == Some(true) { enabled as i32 } else { 0 }
}

/// Makes the launcher look at this database again.
pub fn announce(name: &str) {
    shmem::write(|shared| {
        if let Some(index) = shared.find(name) {
            shared.databases[index].retry = true;
            shared.databases[index].readiness = Readiness::Unknown;
        }
    });
    shmem::nudge_launcher();
}

/// The same at the end of the transaction, when others can see what it did.
pub fn announce_at_commit() {
    let name = database();
    pgrx::register_xact_callback(pgrx::PgXactCallbackEvent::Commit, move || announce(&name));
}
