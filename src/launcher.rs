//! The launcher keeps, for each database of `bigbrotr.databases`, one worker per enabled service.
//!
//! | what happens | what it does |
//! |---|---|
//! | a database is listed | looks whether it exists, probes it for the extension, starts its workers |
//! | it does not exist, has no extension, or another version | says so once, looks again with growing pauses |
//! | `CREATE EXTENSION`, `start_workers()` | looks again at once |
//! | a service is switched off, a database is taken off the list, `stop_workers()` | asks the workers to leave; SIGTERM after 5 s |
//! | a worker ends in order | starts it again when it is still wanted and no DDL waits for the database |
//! | a worker fails | starts it again with growing pauses, which a minute of health resets |
//! | the seeder finishes | starts it again when `bigbrotr.seed_file` or that file changes |
//! | the launcher itself is restarted | ends the workers of its predecessor first |

use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::time::{Duration, Instant, SystemTime};

use bigbrotr_core::ServiceKind;
use bigbrotr_core::backoff::Backoff;
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::{PgLogLevel, check_for_interrupts, pg_guard, pg_sys};

use crate::shmem::{self, Exit, MAX_DATABASES, MAX_SLOTS, PROBE, Readiness, State};
use crate::{ddl, gucs, report, worker};

/// How long the launcher sleeps when nobody wakes it.
const TICK: Duration = Duration::from_millis(250);
/// How long a worker may take to leave before it is terminated.
const PATIENCE: Duration = Duration::from_secs(5);
/// A worker that lived this long was healthy: its failures are forgotten.
const HEALTHY: Duration = Duration::from_secs(60);

/// Registers the launcher with the postmaster. Only while shared_preload_libraries are loaded.
pub fn register() {
    BackgroundWorkerBuilder::new("bigbrotr launcher")
        .set_type("bigbrotr launcher")
        .set_library("bigbrotr")
        .set_function("bigbrotr_launcher_main")
        .enable_shmem_access(None)
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// Entry point of the launcher process.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn bigbrotr_launcher_main(_argument: pg_sys::Datum) {
    worker::attach_signals();
    // SAFETY: a background worker connects once; without a database it sees the shared catalogs only.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0) };
    worker::set_application_name("bigbrotr launcher");
    let mut launcher = Launcher::new();
    launcher.end_predecessors();
    loop {
        check_for_interrupts!();
        worker::reload_if_asked();
        launcher.tick();
        worker::wait_latch(TICK);
    }
}

/// A process the launcher started.
struct Process {
    handle: *mut pg_sys::BackgroundWorkerHandle,
    started: Instant,
    asked_to_leave: Option<Instant>,
}

/// What the launcher remembers of a slot.
struct Task {
    process: Option<Process>,
    backoff: Backoff,
    not_before: Instant,
    finished: bool,
}

impl Task {
    fn new() -> Self {
        Self {
            process: None,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(300)),
            not_before: Instant::now(),
            finished: false,
        }
    }
}

/// What the launcher remembers of a database.
struct Watch {
    backoff: Backoff,
    not_before: Instant,
    /// The last thing said about it, so that it is said once.
    said: Option<String>,
}

struct Launcher {
    tasks: HashMap<(usize, usize), Task>,
    watches: HashMap<usize, Watch>,
    said_no_room: bool,
    seeds: Option<(Option<String>, Option<SystemTime>)>,
}

impl Launcher {
    fn new() -> Self {
        // SAFETY: the process id never changes.
        let pid = unsafe { pg_sys::MyProcPid };
        shmem::write(|shared| shared.launcher = pid);
        Self { tasks: HashMap::new(), watches: HashMap::new(), said_no_room: false, seeds: None }
    }

    /// After a restart of the launcher alone, the handles of the running workers are lost: they make way for new ones.
    fn end_predecessors(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pids = shmem::write(|shared| {
                let slots = shared.databases.iter_mut().flat_map(|database| &mut database.slots);
                slots
                    .filter(|slot| slot.pid != 0)
                    .map(|slot| {
                        slot.leave = true;
                        slot.pid
                    })
                    .collect::<Vec<i32>>()
            })
            .unwrap_or_default();
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                shmem::nudge(pid);
                if Instant::now() > deadline {
                    // SAFETY: a process of ours that wrote its id into its slot; asked before, now told.
                    unsafe { libc::kill(pid, libc::SIGTERM) };
                }
            }
            check_for_interrupts!();
            worker::wait_latch(Duration::from_millis(100));
        }
        shmem::write(|shared| (0..MAX_DATABASES).for_each(|index| shared.forget(index)));
    }

    fn tick(&mut self) {
        self.reap();
        let listed = gucs::databases();
        shmem::write(|shared| listed.iter().for_each(|name| drop(shared.find_or_add(name))));
        self.notice_new_seeds();
        for index in 0..MAX_DATABASES {
            let Some((name, held)) =
                shmem::read(|shared| (shared.databases[index].name.get().to_owned(), shared.databases[index].held))
            else {
                return;
            };
            if name.is_empty() {
                continue;
            }
            if !listed.contains(&name) {
                if self.end_all(index) {
                    self.watches.remove(&index);
                    self.tasks.retain(|(database, _), _| *database != index);
                    shmem::write(|shared| shared.forget(index));
                }
            } else if held {
                self.end_all(index);
            } else {
                self.keep(index, &name);
            }
        }
    }

    /// Looks which workers have ended, and how.
    fn reap(&mut self) {
        for (&(index, slot), task) in &mut self.tasks {
            let Some(process) = &task.process else { continue };
            let mut pid = 0;
            // SAFETY: the handle came from RegisterDynamicBackgroundWorker and is freed only below.
            let status = unsafe { pg_sys::GetBackgroundWorkerPid(process.handle, &mut pid) };
            if status != pg_sys::BgwHandleStatus::BGWH_STOPPED {
                continue;
            }
            let lifetime = process.started.elapsed();
            // SAFETY: the worker is gone; nothing else keeps the handle.
            unsafe { pg_sys::pfree(process.handle.cast()) };
            task.process = None;
            let exit = shmem::write(|shared| {
                let slot = &mut shared.databases[index].slots[slot];
                slot.pid = 0;
                slot.leave = false;
                slot.state = match slot.exit {
                    Exit::Failed => State::Backoff,
                    Exit::Left => State::Starting,
                    Exit::Finished => State::Finished,
                };
                if slot.exit == Exit::Failed {
                    slot.error("the worker ended unexpectedly; the server log says why");
                    slot.activity.set("waiting to be started again");
                }
                slot.exit
            });
            if lifetime > HEALTHY {
                task.backoff.reset();
            }
            let pause = match exit {
                Some(Exit::Failed) => task.backoff.fail(),
                Some(Exit::Finished) => {
                    task.finished = true;
                    Duration::ZERO
                }
                // Somebody asked it to leave, or it made way for DDL: the lock tells when it may come back.
                _ => TICK,
            };
            task.not_before = Instant::now() + pause;
        }
    }

    /// A finished seeder runs again when its source changes.
    fn notice_new_seeds(&mut self) {
        let file = gucs::seed_file();
        let changed_at = file.as_ref().and_then(|path| std::fs::metadata(path).ok()?.modified().ok());
        let now = Some((file, changed_at));
        if self.seeds != now {
            if self.seeds.is_some() {
                for (_, task) in
                    self.tasks.iter_mut().filter(|((_, slot), _)| *slot == shmem::slot_of(ServiceKind::Seeder, 0))
                {
                    task.finished = false;
                }
            }
            self.seeds = now;
        }
    }

    /// Asks every worker of a database to leave; true when none is left.
    fn end_all(&mut self, index: usize) -> bool {
        let mut gone = true;
        for slot in 0..MAX_SLOTS {
            gone &= self.end(index, slot);
        }
        gone
    }

    /// Asks one worker to leave; true when it is gone.
    fn end(&mut self, index: usize, slot: usize) -> bool {
        let task = self.tasks.entry((index, slot)).or_insert_with(Task::new);
        task.finished = false;
        task.backoff.reset();
        task.not_before = Instant::now();
        let Some(process) = &mut task.process else {
            shmem::write(|shared| {
                let slot = &mut shared.databases[index].slots[slot];
                slot.state = State::Disabled;
                slot.activity.set("");
            });
            return true;
        };
        match process.asked_to_leave {
            None => {
                process.asked_to_leave = Some(Instant::now());
                let pid = shmem::write(|shared| {
                    let slot = &mut shared.databases[index].slots[slot];
                    slot.leave = true;
                    slot.pid
                });
                shmem::nudge(pid.unwrap_or(0));
            }
            Some(since) if since.elapsed() > PATIENCE => {
                // SAFETY: the handle is valid until reap() frees it.
                unsafe { pg_sys::TerminateBackgroundWorker(process.handle) };
            }
            Some(_) => {}
        }
        false
    }

    /// Does what a listed database needs now.
    fn keep(&mut self, index: usize, name: &str) {
        let watch = self.watches.entry(index).or_insert_with(|| Watch {
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            not_before: Instant::now(),
            said: None,
        });
        let retry = shmem::write(|shared| std::mem::take(&mut shared.databases[index].retry)) == Some(true);
        if retry {
            watch.backoff.reset();
            watch.not_before = Instant::now();
            for (_, task) in self.tasks.iter_mut().filter(|((database, _), _)| *database == index) {
                task.backoff.reset();
                task.finished = false;
                task.not_before = Instant::now();
            }
        }
        let readiness = shmem::read(|shared| shared.databases[index].readiness).unwrap_or(Readiness::Unknown);
        let complaint = match readiness {
            _ if Instant::now() < watch.not_before => return,
            Readiness::NoExtension if !retry && watch.said.as_deref() != Some("no extension") => Some((
                "no extension",
                format!("database \"{name}\" has no extension bigbrotr"),
                "Run CREATE EXTENSION bigbrotr there, or take it off bigbrotr.databases.",
            )),
            Readiness::OtherVersion if !retry && watch.said.as_deref() != Some("version") => Some((
                "version",
                format!("the extension bigbrotr in database \"{name}\" is not version {}", worker::VERSION),
                "Run ALTER EXTENSION bigbrotr UPDATE there, or restart the server if the library was replaced.",
            )),
            _ => None,
        };
        if let Some((key, message, hint)) = complaint {
            watch.said = Some(key.to_owned());
            watch.not_before = Instant::now() + watch.backoff.fail();
            explain(index, &message);
            log_line(&message, hint);
            return;
        }
        let Some(oid) = database_oid(name) else {
            if watch.said.as_deref() != Some("missing") {
                watch.said = Some("missing".to_owned());
                let message = format!("database \"{name}\" of bigbrotr.databases does not exist");
                explain(index, &message);
                log_line(&message, "Create it, or take it off the list. It is looked for again from time to time.");
            }
            shmem::write(|shared| shared.databases[index].readiness = Readiness::Unknown);
            watch.not_before = Instant::now() + watch.backoff.fail().min(Duration::from_secs(5));
            return;
        };
        shmem::write(|shared| shared.databases[index].oid = oid.to_u32());
        if ddl::is_wanted(oid) {
            return;
        }
        match readiness {
            Readiness::Ready => {
                watch.said = None;
                watch.backoff.reset();
                self.keep_workers(index, name);
            }
            _ => {
                // The probe writes what it finds; until then nothing else starts.
                let is_running = self.tasks.get(&(index, PROBE)).is_some_and(|task| task.process.is_some());
                if !is_running {
                    watch.not_before =
                        Instant::now() + if readiness == Readiness::Unknown { TICK } else { watch.backoff.fail() };
                    self.start(index, PROBE, name);
                }
            }
        }
    }

    fn keep_workers(&mut self, index: usize, name: &str) {
        for slot in 0..PROBE {
            let Some((kind, number)) = shmem::service_of(slot) else { continue };
            if !gucs::enabled(kind) || number >= gucs::workers_of(kind) {
                self.end(index, slot);
                continue;
            }
            let task = self.tasks.entry((index, slot)).or_insert_with(Task::new);
            if task.process.is_none() && !task.finished && Instant::now() >= task.not_before {
                self.start(index, slot, name);
            }
        }
    }

    fn start(&mut self, index: usize, slot: usize, database: &str) {
        let label = match shmem::service_of(slot) {
            Some((kind, _)) => format!("bigbrotr {kind}"),
            None => "bigbrotr probe".to_owned(),
        };
        shmem::write(|shared| {
            let slot = &mut shared.databases[index].slots[slot];
            slot.exit = Exit::Failed;
            slot.leave = false;
            slot.wake = false;
            slot.state = State::Starting;
            slot.activity.set("starting");
        });
        let handle = register_worker(&label, &format!("{label} {database}"), (index << 16) | slot);
        let task = self.tasks.entry((index, slot)).or_insert_with(Task::new);
        match handle {
            Some(handle) => {
                self.said_no_room = false;
                task.process = Some(Process { handle, started: Instant::now(), asked_to_leave: None });
            }
            None => {
                task.not_before = Instant::now() + Duration::from_secs(5);
                let needed = 1 + gucs::databases().len()
                    * ServiceKind::ALL
                        .into_iter()
                        .filter(|kind| gucs::enabled(*kind))
                        .map(gucs::workers_of)
                        .sum::<usize>();
                // SAFETY: a plain setting of the server.
                let limit = unsafe { pg_sys::max_worker_processes };
                let message = format!("no background worker slot is free for \"{label}\" in database \"{database}\"");
                shmem::write(|shared| {
                    let slot = &mut shared.databases[index].slots[slot];
                    slot.state = State::Backoff;
                    slot.error(&message);
                    slot.activity.set("waiting for a background worker slot");
                });
                if !std::mem::replace(&mut self.said_no_room, true) {
                    log_line(
                        &message,
                        &format!(
                            "bigbrotr needs {needed} of max_worker_processes, which is {limit} and shared with parallel query and replication: raise it and restart the server."
                        ),
                    );
                }
            }
        }
    }
}

/// Shows in `stat_workers` why the workers of a database do not run.
fn explain(index: usize, message: &str) {
    shmem::write(|shared| {
        for slot in &mut shared.databases[index].slots {
            slot.state = State::Backoff;
            slot.activity.set("waiting for the database");
            slot.last_error.set(message);
            // SAFETY: reads the clock.
            slot.last_error_at = unsafe { pg_sys::GetCurrentTimestamp() };
        }
    });
}

fn log_line(message: &str, hint: &str) {
    report::log(PgLogLevel::LOG, &format!("bigbrotr: {message}"), hint);
}

/// As get_database_oid() of dbcommands.c, but without the index: a process without a database may not have its
/// description (the shared relcache file may not be written yet).
fn database_oid(name: &str) -> Option<pg_sys::Oid> {
    let name = CString::new(name).ok()?;
    // SAFETY: a transaction of our own around a catalog look-up; an error ends this process, which is then restarted.
    // nameeq compares up to the NUL, so a C string may stand for a name.
    unsafe {
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
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::DatabaseNameIndexId.into(),
            false,
            std::ptr::null_mut(),
            1,
            &mut key,
        );
        let tuple = pg_sys::systable_getnext(scan);
        let oid = (!tuple.is_null()).then(|| {
            let header = (*tuple).t_data;
            (*header.byte_add(usize::from((*header).t_hoff)).cast::<pg_sys::FormData_pg_database>()).oid
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        pg_sys::CommitTransactionCommand();
        oid
    }
}

/// Registers a dynamic worker that is never restarted by the postmaster: that is the launcher's business.
fn register_worker(kind: &str, name: &str, place: usize) -> Option<*mut pg_sys::BackgroundWorkerHandle> {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32,
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
        bgw_restart_time: pg_sys::BGW_NEVER_RESTART,
        bgw_main_arg: pg_sys::Datum::from(place),
        // SAFETY: the process id never changes.
        bgw_notify_pid: unsafe { pg_sys::MyProcPid },
        ..Default::default()
    };
    copy(&mut worker.bgw_name, name);
    copy(&mut worker.bgw_type, kind);
    copy(&mut worker.bgw_library_name, "bigbrotr");
    copy(&mut worker.bgw_function_name, "bigbrotr_worker_main");
    let mut handle = std::ptr::null_mut();
    // SAFETY: the handle is allocated in the current context, which must outlive this tick.
    let registered = unsafe {
        let previous = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let registered = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
        pg_sys::MemoryContextSwitchTo(previous);
        registered
    };
    registered.then_some(handle)
}

/// Copies as much as fits, NUL-terminated.
fn copy(target: &mut [c_char], text: &str) {
    let room = target.len() - 1;
    for (byte, source) in target[..room].iter_mut().zip(text.bytes()) {
        *byte = source as c_char;
    }
}
