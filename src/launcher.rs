//! The launcher keeps, for each database of `bigbrotr.databases`, one worker per enabled service.
//!
//! | what happens | what it does |
//! |---|---|
//! | a database is listed | looks whether it exists, probes it for the extension, starts its workers |
//! | it does not exist, refuses connections, has no extension, or another version | says so once, looks again with growing pauses |
//! | `CREATE EXTENSION`, `start_workers()` | looks again at once |
//! | a service is switched off, a database is taken off the list, `stop_workers()` | asks the workers to leave; SIGTERM after 1.5 s |
//! | DDL waits for the database | the workers leave by themselves; those that hang in a statement get a SIGTERM after a second |
//! | a worker ends in order | starts it again when it is still wanted and no DDL waits for the database |
//! | a worker is terminated by an administrator | starts it again after half a second |
//! | a worker fails | starts it again with growing pauses, which a minute of health resets |
//! | the seeder finishes | starts it again when `bigbrotr.seed_file` or that file changes |
//! | the launcher itself is restarted | ends the workers of its predecessor first |

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bigbrotr_core::ServiceKind;
use bigbrotr_core::backoff::Backoff;
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::{PgLogLevel, pg_guard, pg_sys};

use crate::shmem::{self, Exit, MAX_DATABASES, MAX_SLOTS, PROBE, Place, Readiness, State};
use crate::{ddl, gucs, report, worker};

mod catalog;
mod obstacle;
mod process;
mod seeds;

use catalog::Lookup;
use obstacle::Obstacle;
use process::Process;
use seeds::Seeds;

/// How long the launcher sleeps when nobody wakes it.
const TICK: Duration = Duration::from_millis(250);
/// How long a worker may take to leave before it is terminated.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The same while DDL waits, which gives up after 5 s.
const PATIENCE_OF_DDL: Duration = Duration::from_millis(1000);
/// Before a worker that somebody terminated comes back.
const RESPITE: Duration = Duration::from_millis(500);
/// Between two tries to get one of `max_worker_processes`.
const NO_ROOM: Duration = Duration::from_secs(5);
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
    // SAFETY: the callback only writes to the shared segment.
    unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0)) };
    // SAFETY: a background worker connects once; without a database it sees the shared catalogs only.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0) };
    worker::set_application_name("bigbrotr launcher");
    let mut launcher = Launcher::new();
    launcher.end_predecessors();
    loop {
        worker::reload_if_asked();
        launcher.tick();
        worker::wait_idle(TICK);
    }
}

/// Nobody shall wake a process that is gone.
#[pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: i32, _argument: pg_sys::Datum) {
    shmem::write(|shared| shared.launcher = 0);
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

    /// As if it had never run.
    fn forgive(&mut self) {
        self.finished = false;
        self.backoff.reset();
        self.not_before = Instant::now();
    }
}

/// What the launcher remembers of a database.
struct Watch {
    backoff: Backoff,
    not_before: Instant,
    /// What was said last, so that it is said once.
    said: Option<Obstacle>,
}

impl Watch {
    fn new() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            not_before: Instant::now(),
            said: None,
        }
    }
}

struct Launcher {
    epoch: u16,
    tasks: HashMap<(usize, usize), Task>,
    watches: HashMap<usize, Watch>,
    seeds: Seeds,
    /// How many processes were said to be needed, and when one was last refused.
    no_room: Option<(usize, Instant)>,
}

impl Launcher {
    fn new() -> Self {
        // SAFETY: the process id never changes.
        let pid = unsafe { pg_sys::MyProcPid };
        let epoch = shmem::write(|shared| {
            shared.launcher = pid;
            shared.epoch = shared.epoch.wrapping_add(1);
            shared.epoch
        });
        Self {
            epoch: epoch.unwrap_or(0),
            tasks: HashMap::new(),
            watches: HashMap::new(),
            seeds: Seeds::look(),
            no_room: None,
        }
    }

    /// After a restart of the launcher alone, the handles of the running workers are lost: they make way for new ones. One
    /// that was registered and has not started yet will see that its launcher is gone.
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
            worker::wait_idle(Duration::from_millis(50));
        }
        shmem::write(|shared| {
            for database in &mut shared.databases {
                database.readiness = Readiness::Unknown;
                for slot in &mut database.slots {
                    slot.occupied = false;
                    slot.state = State::Starting;
                }
            }
        });
    }

    fn tick(&mut self) {
        self.reap();
        let listed = gucs::databases();
        shmem::write(|shared| {
            for name in &listed {
                // None: rows of databases taken off the list are still being left. The next tick tries again.
                let _ = shared.find_or_add(name);
            }
        });
        if self.seeds.have_changed() {
            let seeder = shmem::slot_of(ServiceKind::Seeder, 0);
            self.tasks.iter_mut().filter(|((_, slot), _)| *slot == seeder).for_each(|(_, task)| task.finished = false);
        }
        for index in 0..MAX_DATABASES {
            let row = shmem::read(|shared| {
                let row = &shared.databases[index];
                (!row.name.get().is_empty()).then(|| (row.name.get().to_owned(), row.held))
            });
            let Some(Some((name, held))) = row else { continue };
            if !listed.contains(&name) {
                if self.switch_off_all(index) {
                    self.watches.remove(&index);
                    self.tasks.retain(|(database, _), _| *database != index);
                    shmem::write(|shared| shared.forget(index));
                }
            } else if held {
                self.switch_off_all(index);
            } else {
                self.keep(index, &name);
            }
        }
    }

    /// Looks which workers have ended, and how.
    fn reap(&mut self) {
        for (&(index, number), task) in &mut self.tasks {
            let Some(process) = task.process.take_if(|process| process.has_ended()) else { continue };
            let exit = shmem::write(|shared| {
                let slot = &mut shared.databases[index].slots[number];
                slot.pid = 0;
                slot.occupied = false;
                slot.leave = false;
                slot.state = match slot.exit {
                    Exit::Unexplained | Exit::Failed => State::Backoff,
                    Exit::Terminated | Exit::Left => State::Starting,
                    Exit::Finished => State::Finished,
                };
                if slot.exit == Exit::Unexplained {
                    slot.error("the worker ended unexpectedly; the server log says why");
                }
                slot.activity.set(if slot.exit == Exit::Finished { "" } else { "waiting to be started again" });
                slot.exit
            });
            if process.age() > HEALTHY {
                task.backoff.reset();
            }
            let pause = match exit {
                // Somebody asked it to leave, or it made way for DDL: the lock tells when it may come back.
                Some(Exit::Left) => TICK,
                Some(Exit::Terminated) => RESPITE,
                Some(Exit::Finished) => {
                    task.finished = process.seeds == self.seeds.version();
                    Duration::ZERO
                }
                _ if process.is_leaving() => TICK,
                _ => task.backoff.fail(),
            };
            task.not_before = Instant::now() + pause;
            if number == PROBE && matches!(exit, Some(Exit::Left)) {
                task.backoff.reset();
            } else if number == PROBE {
                let watch = self.watches.entry(index).or_insert_with(Watch::new);
                watch.not_before = task.not_before;
                watch.said = Some(Obstacle::Unreachable);
                if let Some(name) = shmem::read(|shared| shared.databases[index].name.get().to_owned()) {
                    // The postmaster or the process itself has written to the log.
                    Obstacle::Unreachable.show(index, &name);
                }
            }
        }
    }

    /// Asks one worker to leave; true when there is none.
    fn ask_to_leave(&mut self, index: usize, number: usize, patience: Duration) -> bool {
        let process = self.tasks.get_mut(&(index, number)).and_then(|task| task.process.as_mut());
        let Some(process) = process else { return true };
        if process.leave_within(patience) {
            let pid = shmem::write(|shared| {
                let slot = &mut shared.databases[index].slots[number];
                slot.leave = true;
                slot.pid
            });
            shmem::nudge(pid.unwrap_or(0));
        }
        false
    }

    /// Ends one worker for good; true when there is none.
    fn switch_off(&mut self, index: usize, number: usize) -> bool {
        let gone = self.ask_to_leave(index, number, PATIENCE);
        if gone {
            if let Some(task) = self.tasks.get_mut(&(index, number)) {
                task.forgive();
            }
            let is_off = shmem::read(|shared| shared.databases[index].slots[number].state == State::Disabled);
            if is_off == Some(false) {
                shmem::write(|shared| {
                    let slot = &mut shared.databases[index].slots[number];
                    slot.state = State::Disabled;
                    slot.activity.set("");
                });
            }
        }
        gone
    }

    /// Ends every worker of a database for good; true when none is left.
    fn switch_off_all(&mut self, index: usize) -> bool {
        // Not all(): every one is to be told.
        (0..MAX_SLOTS).filter(|number| !self.switch_off(index, *number)).count() == 0
    }

    /// Ends every worker of a database for now; true when none is left.
    fn ask_all_to_leave(&mut self, index: usize, patience: Duration) -> bool {
        (0..MAX_SLOTS).filter(|number| !self.ask_to_leave(index, *number, patience)).count() == 0
    }

    /// Does what a listed database needs now.
    fn keep(&mut self, index: usize, name: &str) {
        let state = shmem::write(|shared| {
            let row = &mut shared.databases[index];
            (row.readiness, std::mem::take(&mut row.retry))
        });
        let Some((readiness, retry)) = state else { return };
        let watch = self.watches.entry(index).or_insert_with(Watch::new);
        if retry {
            watch.backoff.reset();
            watch.not_before = Instant::now();
            let tasks = self.tasks.iter_mut().filter(|((database, _), _)| *database == index);
            tasks.for_each(|(_, task)| task.forgive());
        }
        if Instant::now() < watch.not_before {
            return;
        }
        let oid = match catalog::look_up(name) {
            Lookup::Found(oid) => oid,
            Lookup::Missing => return self.meet(index, name, Obstacle::Missing),
            Lookup::Refusing => return self.meet(index, name, Obstacle::Refusing),
        };
        if ddl::is_wanted(oid) {
            self.ask_all_to_leave(index, PATIENCE_OF_DDL);
            return;
        }
        match readiness {
            Readiness::Ready => {
                if let Some(watch) = self.watches.get_mut(&index) {
                    if let Some(obstacle) = watch.said.take() {
                        obstacle.clear(index, name);
                    }
                    watch.backoff.reset();
                }
                self.keep_workers(index, name);
            }
            Readiness::NoExtension => self.meet(index, name, Obstacle::NoExtension),
            Readiness::OtherVersion => self.meet(index, name, Obstacle::OtherVersion),
            // The probe writes what it finds; until then nothing else starts.
            Readiness::Unknown => self.start_if_due(index, PROBE, name),
        }
    }

    /// Something is in the way: says so once, and looks again after a pause.
    fn meet(&mut self, index: usize, name: &str, obstacle: Obstacle) {
        if !self.ask_all_to_leave(index, PATIENCE) {
            // Each of them may find the same; it counts once.
            return;
        }
        let watch = self.watches.entry(index).or_insert_with(Watch::new);
        let mut pause = watch.backoff.fail();
        if obstacle == Obstacle::Missing {
            // A look is cheap, and CREATE DATABASE tells nobody.
            pause = pause.min(Duration::from_secs(5));
        }
        watch.not_before = Instant::now() + pause;
        if watch.said.replace(obstacle) != Some(obstacle) {
            obstacle.log(name);
        }
        obstacle.show(index, name);
        shmem::write(|shared| shared.databases[index].readiness = Readiness::Unknown);
    }

    fn keep_workers(&mut self, index: usize, name: &str) {
        for number in 0..PROBE {
            let Some((kind, nth)) = shmem::service_of(number) else { continue };
            if gucs::enabled(kind) && nth < gucs::workers_of(kind) {
                self.start_if_due(index, number, name);
            } else {
                self.switch_off(index, number);
            }
        }
    }

    fn start_if_due(&mut self, index: usize, number: usize, database: &str) {
        let task = self.tasks.entry((index, number)).or_insert_with(Task::new);
        if task.process.is_some() || task.finished || Instant::now() < task.not_before {
            return;
        }
        let label = match shmem::service_of(number) {
            Some((kind, _)) => format!("bigbrotr {kind}"),
            None => "bigbrotr probe".to_owned(),
        };
        shmem::write(|shared| {
            let slot = &mut shared.databases[index].slots[number];
            slot.exit = Exit::Unexplained;
            slot.occupied = true;
            slot.leave = false;
            slot.wake = false;
            slot.state = State::Starting;
            slot.activity.set("starting");
        });
        let place = Place { epoch: self.epoch, database: index, slot: number };
        task.process = Process::start(&label, &format!("{label} {database}"), place, self.seeds.version());
        if task.process.is_none() {
            task.not_before = Instant::now() + NO_ROOM;
            self.lack_room(index, number, &format!("\"{label}\" in database \"{database}\""));
        }
    }

    /// Says once that `max_worker_processes` is too small: again when the need has changed, or after a minute without want.
    fn lack_room(&mut self, index: usize, number: usize, who: &str) {
        let message = format!("no background worker slot is free for {who}");
        shmem::write(|shared| {
            let slot = &mut shared.databases[index].slots[number];
            slot.occupied = false;
            slot.state = State::Backoff;
            slot.error(&message);
            slot.activity.set("waiting for a background worker slot");
        });
        let per_database: usize =
            ServiceKind::ALL.into_iter().filter(|kind| gucs::enabled(*kind)).map(gucs::workers_of).sum();
        let needed = 1 + gucs::databases().len() * per_database;
        let is_known = self.no_room.is_some_and(|(said, last)| said == needed && last.elapsed() < HEALTHY);
        self.no_room = Some((needed, Instant::now()));
        if is_known {
            return;
        }
        // SAFETY: a plain setting of the server.
        let limit = unsafe { pg_sys::max_worker_processes };
        report::log(
            PgLogLevel::LOG,
            &format!("bigbrotr: {message}"),
            &format!(
                "bigbrotr needs {needed} of max_worker_processes, which is {limit} and shared with parallel query and replication: raise it and restart the server."
            ),
        );
    }
}
