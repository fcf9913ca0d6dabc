//! What launcher, workers and sessions share: one row per database, with one slot per worker in it.

use std::sync::atomic::{AtomicBool, Ordering};

use bigbrotr_core::ServiceKind;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_guard, pg_sys};

/// Databases that can be served at a time.
pub const MAX_DATABASES: usize = 32;
/// Processes of the synchronizer per database.
const MAX_SYNCHRONIZERS: usize = 16;
/// Slots of a database: one for each other service, then the synchronizers, then the probe.
pub const MAX_SLOTS: usize = 5 + MAX_SYNCHRONIZERS + 1;
/// The probe looks whether a database has the extension before its workers start.
pub const PROBE: usize = MAX_SLOTS - 1;

/// Text of a fixed size; longer text is cut at a character boundary.
#[derive(Clone, Copy)]
pub struct FixedText<const N: usize> {
    len: u16,
    bytes: [u8; N],
}

impl<const N: usize> FixedText<N> {
    const EMPTY: Self = Self { len: 0, bytes: [0; N] };

    /// Replaces the text.
    pub fn set(&mut self, text: &str) {
        let mut len = text.len().min(N);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        self.bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len = len as u16;
    }

    /// The text.
    pub fn get(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// What a worker is doing, as `stat_workers.state` says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Being started.
    Starting,
    /// In a cycle.
    Running,
    /// Between two cycles.
    Idle,
    /// Ended badly, or its database is not ready: tried again later.
    Backoff,
    /// Switched off.
    Disabled,
    /// Has nothing more to do.
    Finished,
}

impl State {
    /// The word users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Backoff => "backoff",
            Self::Disabled => "disabled",
            Self::Finished => "finished",
        }
    }
}

/// How a worker ended, as far as it came to write that down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It wrote nothing: an error, a panic, or it never started.
    Unexplained,
    /// For the reason in `last_error`.
    Failed,
    /// SIGTERM: an administrator, the launcher's lost patience, or the end of the server.
    Terminated,
    /// Asked to, or the database is under DDL.
    Left,
    /// Has nothing more to do until its source changes.
    Finished,
}

/// What is known of a database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// Nothing yet: to be probed.
    Unknown,
    /// The extension is there in the version of this library.
    Ready,
    /// No extension of ours.
    NoExtension,
    /// The extension has another version than the library.
    OtherVersion,
}

/// One worker.
#[derive(Clone, Copy)]
pub struct Slot {
    /// Process id; 0: none.
    pub pid: i32,
    /// From the registration of a process until the postmaster has seen its end.
    pub occupied: bool,
    /// For `stat_workers`.
    pub state: State,
    /// How the last process ended.
    pub exit: Exit,
    /// Set by sessions, taken by the worker: run a cycle now.
    pub wake: bool,
    /// Set by the launcher: end in order.
    pub leave: bool,
    /// What it is doing.
    pub activity: FixedText<160>,
    /// Things handled by the process.
    pub items: u64,
    /// Cycles of the process.
    pub cycles: u64,
    /// Errors since the server started.
    pub errors: u64,
    /// The newest of them.
    pub last_error: FixedText<256>,
    /// When, in microseconds since 2000 (TimestampTz); 0: never.
    pub last_error_at: i64,
    /// When the process started, likewise.
    pub started_at: i64,
}

impl Slot {
    const EMPTY: Self = Self {
        pid: 0,
        occupied: false,
        state: State::Starting,
        exit: Exit::Left,
        wake: false,
        leave: false,
        activity: FixedText::EMPTY,
        items: 0,
        cycles: 0,
        errors: 0,
        last_error: FixedText::EMPTY,
        last_error_at: 0,
        started_at: 0,
    };

    /// Counts an error.
    pub fn error(&mut self, text: &str) {
        self.errors += 1;
        self.last_error.set(text);
        // SAFETY: reads the clock.
        self.last_error_at = unsafe { pg_sys::GetCurrentTimestamp() };
    }
}

/// One database of `bigbrotr.databases`.
#[derive(Clone, Copy)]
pub struct Database {
    /// Its name; empty: this row is free.
    pub name: FixedText<64>,
    /// Stopped by `stop_workers()`.
    pub held: bool,
    /// Look again at once: the extension was created, or somebody called `start_workers()`.
    pub retry: bool,
    /// What is known of it.
    pub readiness: Readiness,
    /// Its workers.
    pub slots: [Slot; MAX_SLOTS],
}

impl Database {
    const EMPTY: Self = Self {
        name: FixedText::EMPTY,
        held: false,
        retry: false,
        readiness: Readiness::Unknown,
        slots: [Slot::EMPTY; MAX_SLOTS],
    };
}

/// All of it.
#[derive(Clone, Copy)]
pub struct Shared {
    /// Process id of the launcher; 0: none.
    pub launcher: i32,
    /// Counts launchers, so that a worker registered by an earlier one knows that it is not wanted.
    pub epoch: u16,
    /// Rows keep their place while their database is listed.
    pub databases: [Database; MAX_DATABASES],
}

impl Default for Shared {
    fn default() -> Self {
        Self { launcher: 0, epoch: 0, databases: [Database::EMPTY; MAX_DATABASES] }
    }
}

// SAFETY: plain data without pointers.
unsafe impl PGRXSharedMemory for Shared {}

// SAFETY: the only lock of this name.
static SHARED: PgLwLock<Shared> = unsafe { PgLwLock::new(c"bigbrotr") };
/// Whether the segment exists; sessions inherit it from the postmaster.
static MAPPED: AtomicBool = AtomicBool::new(false);

/// Asks for the segment. Only while shared_preload_libraries are loaded.
pub fn register() {
    pgrx::pg_shmem_init!(SHARED);
    // Runs after the hook above, which it keeps.
    static mut PREVIOUS: pg_sys::shmem_startup_hook_type = None;
    #[pg_guard]
    unsafe extern "C-unwind" fn mark() {
        // SAFETY: written once, below, before the postmaster starts anything.
        if let Some(previous) = unsafe { PREVIOUS } {
            // SAFETY: a hook of the same type.
            unsafe { previous() };
        }
        MAPPED.store(true, Ordering::Relaxed);
    }
    // SAFETY: single-threaded, in the postmaster.
    unsafe {
        PREVIOUS = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(mark);
    }
}

/// Whether the library was preloaded.
pub fn is_mapped() -> bool {
    MAPPED.load(Ordering::Relaxed)
}

/// Reads under the lock. Nothing in `look` may raise an error or take long.
pub fn read<T>(look: impl FnOnce(&Shared) -> T) -> Option<T> {
    is_mapped().then(|| look(&SHARED.share()))
}

/// Changes under the lock. Nothing in `change` may raise an error or take long.
pub fn write<T>(change: impl FnOnce(&mut Shared) -> T) -> Option<T> {
    is_mapped().then(|| change(&mut SHARED.exclusive()))
}

impl Shared {
    /// The row of a database.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.databases.iter().position(|database| !name.is_empty() && database.name.get() == name)
    }

    /// The row of a database, a new one if it has none.
    pub fn find_or_add(&mut self, name: &str) -> Option<usize> {
        if let Some(index) = self.find(name) {
            return Some(index);
        }
        let index = self.databases.iter().position(|database| database.name.get().is_empty())?;
        self.databases[index] = Database::EMPTY;
        self.databases[index].name.set(name);
        Some(index)
    }

    /// Frees a row.
    pub fn forget(&mut self, index: usize) {
        self.databases[index] = Database::EMPTY;
    }
}

/// What a worker is told when it starts: who wants it, and where it writes about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// `Shared::epoch` of its launcher.
    pub epoch: u16,
    /// Its database.
    pub database: usize,
    /// Its slot there.
    pub slot: usize,
}

impl Place {
    /// As the argument of a background worker.
    pub const fn encode(self) -> u32 {
        (self.epoch as u32) << 16 | (self.database as u32) << 8 | self.slot as u32
    }

    /// None: nobody of ours wrote this.
    pub fn decode(argument: u32) -> Option<Self> {
        let place = Self {
            epoch: (argument >> 16) as u16,
            database: (argument >> 8 & 0xff) as usize,
            slot: (argument & 0xff) as usize,
        };
        (place.database < MAX_DATABASES && place.slot < MAX_SLOTS).then_some(place)
    }
}

/// The slot of the n-th (from 0) process of a service.
pub const fn slot_of(kind: ServiceKind, worker: usize) -> usize {
    match kind {
        ServiceKind::Seeder => 0,
        ServiceKind::Finder => 1,
        ServiceKind::Validator => 2,
        ServiceKind::Monitor => 3,
        ServiceKind::Refresher => 4,
        ServiceKind::Synchronizer => 5 + worker,
    }
}

/// Which service, and which process of it, a slot is for. `None` for the probe.
pub const fn service_of(slot: usize) -> Option<(ServiceKind, usize)> {
    match slot {
        0 => Some((ServiceKind::Seeder, 0)),
        1 => Some((ServiceKind::Finder, 0)),
        2 => Some((ServiceKind::Validator, 0)),
        3 => Some((ServiceKind::Monitor, 0)),
        4 => Some((ServiceKind::Refresher, 0)),
        _ if slot < PROBE => Some((ServiceKind::Synchronizer, slot - 5)),
        _ => None,
    }
}

/// Wakes a process of this server that waits on its latch.
pub fn nudge(pid: i32) {
    if pid <= 0 {
        return;
    }
    // SAFETY: no lock of ours is held here. Entries of the array of processes are never freed: at worst the process has
    // just ended, and the latch belongs to another one, which wakes for nothing. A signal could hit a stranger.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if !process.is_null() {
            pg_sys::SetLatch(&raw mut (*process).procLatch);
        }
    }
}

/// Wakes the launcher.
pub fn nudge_launcher() {
    nudge(read(|shared| shared.launcher).unwrap_or(0));
}
