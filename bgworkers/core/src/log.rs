//! Lines for the server log, written by the main thread (any Postgres call elsewhere would panic).

use tokio::sync::mpsc;

/// The PostgreSQL level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For administrators, in the log by default.
    Log,
    /// Something to look at.
    Warning,
    /// For developers.
    Debug,
}

/// A bounded sender: when the main thread does not keep up, lines are dropped rather than memory used.
#[derive(Debug, Clone)]
pub struct Log(mpsc::Sender<(Level, String)>);

impl Log {
    /// A sender and the end the main thread reads.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<(Level, String)>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }

    /// Writes one line.
    pub fn write(&self, level: Level, line: impl Into<String>) {
        let _ = self.0.try_send((level, line.into()));
    }
}
