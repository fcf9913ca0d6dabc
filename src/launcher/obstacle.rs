//! Why the workers of a listed database cannot run, and what to say about it.

use pgrx::PgLogLevel;

use crate::shmem::{self, State};
use crate::{gucs, report, worker};

/// What is in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// There is no such database.
    Missing,
    /// It accepts no connections.
    Refusing,
    /// The probe could not enter it.
    Unreachable,
    /// The extension is not in it.
    NoExtension,
    /// The extension in it has another version than the library.
    OtherVersion,
}

impl Obstacle {
    fn message(self, database: &str) -> String {
        match self {
            Self::Missing => format!("database \"{database}\" of bigbrotr.databases does not exist"),
            Self::Refusing => format!("database \"{database}\" of bigbrotr.databases accepts no connections"),
            Self::Unreachable => format!("database \"{database}\" could not be entered; the server log says why"),
            Self::NoExtension => format!("database \"{database}\" has no extension bigbrotr"),
            Self::OtherVersion => {
                format!("the extension bigbrotr in database \"{database}\" is not version {}", worker::VERSION)
            }
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Missing => "Create it, or take it off the list. It is looked for again from time to time.",
            Self::Refusing => "See datallowconn and datconnlimit in pg_database, or take it off the list.",
            Self::Unreachable => "It is tried again from time to time.",
            Self::NoExtension => "Run CREATE EXTENSION bigbrotr there, or take it off bigbrotr.databases.",
            Self::OtherVersion => {
                "Run ALTER EXTENSION bigbrotr UPDATE there, or restart the server if the library was replaced."
            }
        }
    }

    /// One line in the server log.
    pub fn log(self, database: &str) {
        report::log(PgLogLevel::LOG, &format!("bigbrotr: {}", self.message(database)), self.hint());
    }

    /// Shows it in `stat_workers`.
    pub fn show(self, index: usize, database: &str) {
        let message = self.message(database);
        // SAFETY: reads the clock.
        let now = unsafe { pgrx::pg_sys::GetCurrentTimestamp() };
        shmem::write(|shared| {
            for (number, slot) in shared.databases[index].slots.iter_mut().enumerate() {
                if shmem::service_of(number).is_some_and(|(kind, _)| gucs::enabled(kind)) {
                    slot.state = State::Backoff;
                    slot.activity.set("waiting for the database");
                    slot.last_error.set(&message);
                    slot.last_error_at = now;
                }
            }
        });
    }

    /// Takes that back.
    pub fn clear(self, index: usize, database: &str) {
        let message = self.message(database);
        shmem::write(|shared| {
            for slot in &mut shared.databases[index].slots {
                if slot.last_error.get() == message {
                    slot.last_error.set("");
                    slot.last_error_at = 0;
                }
            }
        });
    }
}
