//! A worker process: the main thread belongs to PostgreSQL, the service runs on a tokio runtime beside it.
//!
//! The main thread waits on its latch and on a socket that the other threads ring, executes the transactions they ask
//! for, and looks after signals, reloads, DDL and the shared slot. No other thread touches PostgreSQL.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bigbrotr_core::log::{Level, Log};
use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_core::progress::Progress;
use bigbrotr_core::{Call, Context, ServiceKind, StoreError, Value, runner};
use pgrx::{PgLogLevel, pg_guard, pg_sys};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};

use crate::doorbell::Doorbell;
use crate::shmem::{self, Exit, Place, Readiness, State};
use crate::store::{Executor, Remote, Request};
use crate::{allocator, ddl, gucs, report, services};

mod deadlock;
mod limits;
mod session;
mod signals;
mod waiter;

pub use session::set_application_name;
pub use signals::{attach_signals, reload_if_asked, wait_idle, wait_latch};

/// The version of this library; the extension's must be the same.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How often the worker looks after everything that does not wake it.
const TICK: Duration = Duration::from_millis(250);
/// How long a service may take to finish what it is doing when the worker leaves.
const GRACE: Duration = Duration::from_millis(1200);
/// Transactions that may wait for the main thread.
const QUEUE: usize = 64;

/// Where this process writes about itself; `NOWHERE` until it has been accepted.
static PLACE: AtomicU32 = AtomicU32::new(NOWHERE);
const NOWHERE: u32 = u32::MAX;
/// What `Exit` the process has earned so far.
static EXIT: AtomicU8 = AtomicU8::new(Exit::Unexplained as u8);
/// Ended by `at_exit` before the process runs its exit handlers.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

fn place() -> Option<Place> {
    Place::decode(PLACE.load(Ordering::Relaxed))
}

fn with_slot(change: impl FnOnce(&mut shmem::Slot)) {
    let Some(place) = place() else { return };
    shmem::write(|shared| change(&mut shared.databases[place.database].slots[place.slot]));
}

/// Entry point of every worker; the argument says which.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn bigbrotr_worker_main(argument: pg_sys::Datum) {
    attach_signals();
    // SAFETY: the callback only touches statics of this file.
    unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0)) };
    // The launcher that wanted this process may be gone, and its successor may have started another for the same place.
    let Some((place, name)) = Place::decode(argument.value() as u32).and_then(take_place) else { return };
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: a background worker connects once. The bootstrap user: an owner may be NOLOGIN, which is refused before
    // PostgreSQL 17. Errors end the process.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(name.as_ptr(), std::ptr::null(), 0) };
    // Before the first transaction, which a hostile statement_timeout would end; the owner need not be a superuser.
    session::pin();
    match shmem::service_of(place.slot) {
        Some((kind, _)) => {
            limits::apply();
            Worker::new(kind).serve();
        }
        None => probe(),
    }
    // Code 0: an orderly end is not worth a line in the log, and the launcher decides what comes next.
    // SAFETY: the documented way for a background worker to end.
    unsafe { pg_sys::proc_exit(0) };
}

/// Enters this process into its slot; the name of its database. None: nobody wants it.
fn take_place(place: Place) -> Option<(Place, String)> {
    // SAFETY: the process id never changes; the clock is read.
    let (pid, now) = unsafe { (pg_sys::MyProcPid, pg_sys::GetCurrentTimestamp()) };
    let name = shmem::write(|shared| {
        let row = &mut shared.databases[place.database];
        if shared.epoch != place.epoch || row.name.get().is_empty() {
            return None;
        }
        let slot = &mut row.slots[place.slot];
        slot.pid = pid;
        slot.started_at = now;
        slot.items = 0;
        slot.cycles = 0;
        Some(row.name.get().to_owned())
    });
    PLACE.store(place.encode(), Ordering::Relaxed);
    let accepted = name.flatten().map(|name| (place, name));
    if accepted.is_none() {
        PLACE.store(NOWHERE, Ordering::Relaxed);
    }
    accepted
}

/// Runs however the process ends, short of a crash; ShutdownPostgres() has ended the transaction before.
#[pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: i32, _argument: pg_sys::Datum) {
    let runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(runtime) = runtime {
        // Threads that outlived this would run while exit handlers free what they use.
        runtime.shutdown_timeout(Duration::from_millis(800));
    }
    let exit = match EXIT.load(Ordering::Relaxed) {
        value if value == Exit::Left as u8 => Exit::Left,
        value if value == Exit::Finished as u8 => Exit::Finished,
        value if value == Exit::Failed as u8 => Exit::Failed,
        _ if signals::was_terminated() => Exit::Terminated,
        _ => Exit::Unexplained,
    };
    with_slot(|slot| {
        slot.pid = 0;
        slot.exit = exit;
    });
}

const FIND_EXTENSION: &str = "SELECT e.extversion, e.extowner::bigint, e.oid::bigint \
     FROM pg_catalog.pg_extension AS e WHERE e.extname = 'bigbrotr'";
/// The role's name goes through set_config: nothing to quote, and nothing parsed.
const BECOME_OWNER: &str = "SELECT pg_catalog.set_config('session_authorization', r.rolname, false) \
     FROM pg_catalog.pg_roles AS r WHERE r.oid = $1::oid";

/// The extension of this database as the catalog has it.
struct Extension {
    version: String,
    owner: i64,
    oid: i64,
}

fn find_extension(executor: &mut Executor) -> Result<Option<Extension>, StoreError> {
    let rows = executor.run(vec![Call::new(FIND_EXTENSION, Vec::new())])?.pop().unwrap_or_default();
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Extension { version: row.text(0)?.to_owned(), owner: row.bigint(1)?, oid: row.bigint(2)? }))
}

fn readiness_of(extension: Option<&Extension>) -> Readiness {
    match extension {
        None => Readiness::NoExtension,
        Some(extension) if extension.version != VERSION => Readiness::OtherVersion,
        Some(_) => Readiness::Ready,
    }
}

fn set_readiness(readiness: Readiness) {
    let Some(place) = place() else { return };
    shmem::write(|shared| shared.databases[place.database].readiness = readiness);
}

/// Looks whether the workers of this database can start.
fn probe() {
    set_application_name("bigbrotr probe");
    match find_extension(&mut Executor::default()) {
        Ok(extension) => set_readiness(readiness_of(extension.as_ref())),
        // An error, so that the launcher waits before it sends the next.
        Err(error) => pgrx::error!("bigbrotr probe: {error}"),
    }
    EXIT.store(Exit::Left as u8, Ordering::Relaxed);
}

/// Why the loop ended.
enum Leave {
    Asked,
    Finished,
    Failed(String),
}

struct Worker {
    kind: ServiceKind,
    executor: Executor,
    /// Oid and owner of the extension this process serves.
    extension: (i64, i64),
    requests: mpsc::Receiver<Request>,
    requests_open: mpsc::Sender<Request>,
    lines: mpsc::Receiver<(Level, String)>,
    doorbell: Doorbell,
    progress: Arc<Progress>,
    memory: MemoryBudget,
    config: watch::Sender<Arc<bigbrotr_core::Config>>,
    shutdown: watch::Sender<bool>,
    wake: Arc<Notify>,
    asked: Arc<AtomicBool>,
    log: Log,
    errors_seen: u64,
    /// The last time, and the cycle, after which memory was given back.
    given_back: (Instant, u64),
    /// What the injected fault `memory` holds.
    hog: Vec<u8>,
}

impl Worker {
    fn new(kind: ServiceKind) -> Self {
        let (requests_open, requests) = mpsc::channel(QUEUE);
        let (log, lines) = Log::channel(64);
        let config = gucs::config();
        Self {
            kind,
            executor: Executor::default(),
            extension: (0, 0),
            requests,
            requests_open,
            lines,
            doorbell: Doorbell::new().unwrap_or_else(|error| pgrx::error!("bigbrotr: no socket pair: {error}")),
            progress: Arc::new(Progress::default()),
            memory: MemoryBudget::new(allocator::used, config.worker_memory),
            config: watch::channel(Arc::new(config)).0,
            shutdown: watch::channel(false).0,
            wake: Arc::new(Notify::new()),
            asked: Arc::default(),
            log,
            errors_seen: 0,
            given_back: (Instant::now(), 0),
            hog: Vec::new(),
        }
    }

    fn serve(mut self) {
        set_application_name(&format!("bigbrotr {}", self.kind));
        match self.enter() {
            Ok(true) => {}
            Ok(false) => return EXIT.store(Exit::Left as u8, Ordering::Relaxed),
            Err(error) => pgrx::error!("bigbrotr {}: {error}", self.kind),
        }
        let finished = self.start_service();
        let exit = match self.run(&finished) {
            Leave::Asked => Exit::Left,
            Leave::Finished => Exit::Finished,
            Leave::Failed(reason) => {
                with_slot(|slot| slot.error(&reason));
                log_line(Level::Warning, &format!("bigbrotr {}: {reason}", self.kind));
                Exit::Failed
            }
        };
        if exit == Exit::Left {
            self.wind_down(&finished);
        }
        EXIT.store(exit as u8, Ordering::Relaxed);
    }

    /// Becomes the extension's owner. False when the database is not ready for us.
    fn enter(&mut self) -> Result<bool, StoreError> {
        let extension = find_extension(&mut self.executor)?;
        let readiness = readiness_of(extension.as_ref());
        set_readiness(readiness);
        let Some(extension) = extension.filter(|_| readiness == Readiness::Ready) else { return Ok(false) };
        self.extension = (extension.oid, extension.owner);
        self.executor.run(vec![Call::new(BECOME_OWNER, vec![Value::from(extension.owner)])])?;
        self.executor.forget_plans();
        Ok(true)
    }

    fn start_service(&mut self) -> Arc<Mutex<Option<String>>> {
        let runtime = signals::with_all_blocked(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(gucs::worker_threads())
                .max_blocking_threads(4)
                .thread_name("bigbrotr")
                .on_thread_start(signals::block_all)
                .enable_all()
                .build()
        })
        .unwrap_or_else(|error| pgrx::error!("bigbrotr: no runtime: {error}"));
        let context = Context {
            store: Arc::new(Remote::new(self.requests_open.clone(), self.doorbell.clone())),
            config: self.config.subscribe(),
            progress: self.progress.clone(),
            wake: self.wake.clone(),
            asked: self.asked.clone(),
            shutdown: self.shutdown.subscribe(),
            memory: self.memory.clone(),
            log: self.log.clone(),
        };
        // None: still running. Empty: finished. Else: why the runner failed.
        let outcome = Arc::new(Mutex::new(None));
        let (kind, told, doorbell) = (self.kind, outcome.clone(), self.doorbell.clone());
        let service = services::make(kind);
        let task = runtime.spawn(async move { runner::run(service, context).await });
        runtime.spawn(async move {
            let text = task.await.map_or_else(|error| error.to_string(), |()| String::new());
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            doorbell.ring();
        });
        *RUNTIME.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
        outcome
    }

    fn run(&mut self, outcome: &Mutex<Option<String>>) -> Leave {
        let waiter = waiter::Waiter::new(&self.doorbell);
        let mut last_tick = Instant::now() - TICK;
        let mut last_look = Instant::now();
        loop {
            let is_nudged = waiter.wait(TICK);
            signals::check_idle_interrupts();
            if reload_if_asked() {
                let config = Arc::new(gucs::config());
                self.memory.set_limit(config.worker_memory);
                // A changed setting begins a cycle; a reload that changes nothing of ours does not.
                self.config.send_if_modified(|old| {
                    let differs = *old != config;
                    if differs {
                        *old = config;
                    }
                    differs
                });
            }
            self.doorbell.quiet();
            while let Ok(request) = self.requests.try_recv() {
                if let Some(leave) = self.answer(request) {
                    return leave;
                }
                if last_tick.elapsed() > TICK {
                    break;
                }
            }
            if !self.requests.is_empty() {
                self.doorbell.ring();
            }
            if let Some(text) = outcome.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return if text.is_empty() { Leave::Finished } else { Leave::Failed(text) };
            }
            // A session that set the latch left something in the slot.
            if last_tick.elapsed() < TICK && !is_nudged {
                continue;
            }
            last_tick = Instant::now();
            while let Ok((level, line)) = self.lines.try_recv() {
                log_line(level, &format!("bigbrotr {}: {line}", self.kind));
            }
            if self.publish() {
                return Leave::Asked;
            }
            // SAFETY: set once, when the worker connected.
            if ddl::is_wanted(unsafe { pg_sys::MyDatabaseId }) {
                return Leave::Asked;
            }
            if last_look.elapsed() > Duration::from_secs(1) {
                last_look = Instant::now();
                if !self.extension_is_there() {
                    return Leave::Asked;
                }
                if self.memory.is_exhausted() {
                    return Leave::Failed(format!("out of its memory budget: {} bytes in use", self.memory.used()));
                }
                match gucs::fault_of(self.kind).as_deref() {
                    Some("main") => panic!("injected fault"),
                    Some("exit") => return Leave::Failed("injected fault".to_owned()),
                    Some("memory") => self.hog.resize(self.hog.len() + (8 << 20), 1),
                    _ => {}
                }
            }
        }
    }

    /// Executes one transaction. Some: the worker must leave.
    fn answer(&mut self, mut request: Request) -> Option<Leave> {
        if gucs::fault_of(self.kind).as_deref() == Some("sql") {
            request.calls.push(Call::new("SELECT 1 / 0", Vec::new()));
        }
        let outcome = deadlock::watched(|| self.executor.run(request.calls));
        let vanished = match &outcome {
            Err(StoreError::Sql { sqlstate, .. }) => matches!(sqlstate.as_str(), "42883" | "42P01" | "3F000" | "0A000"),
            _ => false,
        };
        if vanished {
            self.executor.forget_plans();
        }
        // The service may have stopped waiting; then nobody wants the answer.
        let _ = request.reply.send(outcome);
        self.report_idle();
        (vanished && !self.extension_is_there()).then_some(Leave::Asked)
    }

    fn extension_is_there(&mut self) -> bool {
        match find_extension(&mut self.executor) {
            Ok(extension) => {
                let readiness = readiness_of(extension.as_ref());
                let same = extension.is_some_and(|found| (found.oid, found.owner) == self.extension)
                    && readiness == Readiness::Ready;
                if !same {
                    set_readiness(if readiness == Readiness::Ready { Readiness::Unknown } else { readiness });
                }
                self.report_idle();
                same
            }
            // Not knowing is no reason to leave.
            Err(_) => true,
        }
    }

    /// Copies progress into the slot, takes what sessions left there. True: leave.
    fn publish(&mut self) -> bool {
        let snapshot = self.progress.snapshot();
        // After work, but not after each of many short cycles.
        let (at, cycles) = self.given_back;
        if !snapshot.busy && snapshot.cycles != cycles && at.elapsed() > Duration::from_secs(1) {
            limits::give_back();
            self.given_back = (Instant::now(), snapshot.cycles);
        }
        let new_errors = snapshot.errors.saturating_sub(self.errors_seen);
        self.errors_seen = snapshot.errors;
        let (mut wake, mut leave) = (false, false);
        with_slot(|slot| {
            slot.state = if snapshot.busy { State::Running } else { State::Idle };
            slot.activity.set(&snapshot.activity);
            slot.items = snapshot.items;
            slot.cycles = snapshot.cycles;
            if new_errors > 0 {
                slot.error(snapshot.last_error.as_deref().unwrap_or_default());
                slot.errors += new_errors - 1;
            }
            wake = std::mem::take(&mut slot.wake);
            leave = slot.leave;
        });
        if wake {
            self.asked.store(true, Ordering::Relaxed);
            self.wake.notify_one();
        }
        self.report_idle();
        leave
    }

    /// Shows the activity in `pg_stat_activity` while no statement runs.
    fn report_idle(&self) {
        let snapshot = self.progress.snapshot();
        let Ok(text) = CString::new(snapshot.activity.replace('\0', "")) else { return };
        let state = if snapshot.busy { pg_sys::BackendState::STATE_RUNNING } else { pg_sys::BackendState::STATE_IDLE };
        // SAFETY: copied by the callee.
        unsafe { pg_sys::pgstat_report_activity(state, text.as_ptr()) };
    }

    /// Lets the service end what it is doing, with its transactions still served.
    fn wind_down(&mut self, outcome: &Mutex<Option<String>>) {
        self.shutdown.send_replace(true);
        let waiter = waiter::Waiter::new(&self.doorbell);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && outcome.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            // SAFETY: see run().
            if ddl::is_wanted(unsafe { pg_sys::MyDatabaseId }) {
                break;
            }
            while let Ok(request) = self.requests.try_recv() {
                let outcome = deadlock::watched(|| self.executor.run(request.calls));
                let _ = request.reply.send(outcome);
            }
            waiter.wait(Duration::from_millis(20));
            signals::check_idle_interrupts();
            self.doorbell.quiet();
        }
        while let Ok((level, line)) = self.lines.try_recv() {
            log_line(level, &format!("bigbrotr {}: {line}", self.kind));
        }
    }
}

/// Writes one line to the server log.
fn log_line(level: Level, line: &str) {
    let level = match level {
        Level::Log => PgLogLevel::LOG,
        Level::Warning => PgLogLevel::WARNING,
        Level::Debug => PgLogLevel::DEBUG1,
    };
    report::log(level, line, "");
}
