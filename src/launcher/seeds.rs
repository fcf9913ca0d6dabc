//! Whether the seeder's source has changed since it last ran.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::gucs;

/// What tells one content of a file from another: inode, length, seconds and nanoseconds of its last change.
type Stamp = (u64, u64, i64, i64);

/// The source, as the configuration file names it.
pub struct Seeds {
    source: (Option<String>, Option<Stamp>),
    version: u64,
}

impl Seeds {
    /// The source now.
    pub fn look() -> Self {
        Self { source: source(), version: 0 }
    }

    /// Whether it is another than at the last look.
    pub fn have_changed(&mut self) -> bool {
        let now = source();
        let changed = self.source != now;
        if changed {
            self.source = now;
            self.version += 1;
        }
        changed
    }

    /// Counts the changes.
    pub const fn version(&self) -> u64 {
        self.version
    }
}

fn source() -> (Option<String>, Option<Stamp>) {
    let file = gucs::seed_file();
    let facts = file.as_ref().and_then(|path| fs::metadata(path).ok());
    (file, facts.map(|facts| (facts.ino(), facts.size(), facts.mtime(), facts.mtime_nsec())))
}
