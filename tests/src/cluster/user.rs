//! The user the server runs as: PostgreSQL refuses root.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

/// Who runs the server, and how to become that user.
#[derive(Clone, Debug)]
pub(crate) struct ServerUser {
    /// Set when the caller is root: the ids of the user `postgres`.
    other: Option<(u32, u32)>,
}

impl ServerUser {
    /// The caller or, if that is root, `postgres`.
    ///
    /// # Panics
    /// If the caller is root and there is no user `postgres`.
    pub fn current() -> Self {
        let uid = own_uid().expect("/proc/self can be read");
        let other = (uid == 0).then(|| passwd("postgres").expect("as root, the server needs the user postgres"));
        Self { other }
    }

    pub fn caller_uid(&self) -> io::Result<u32> {
        own_uid()
    }

    /// A command run as this user (std clears the supplementary groups), without what must not reach a server:
    /// `RUST_BACKTRACE` floods its log, `PG*` and locale variables change what its programs do.
    pub fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home).env("LC_ALL", "C.UTF-8");
        command.current_dir(home);
        if let Some((uid, gid)) = self.other {
            command.uid(uid).gid(gid);
        }
        command
    }

    pub fn own(&self, path: &Path) -> io::Result<()> {
        self.other.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)))
    }

    /// Whether this user gets into a folder, as far as permission bits tell.
    pub fn may_enter(&self, dir: &Path) -> bool {
        let Ok(dir) = fs::canonicalize(dir) else { return false };
        let Some((uid, gid)) = self.other else { return fs::read_dir(dir).is_ok() };
        dir.ancestors().all(|dir| {
            fs::metadata(dir).is_ok_and(|meta| {
                let shift = if meta.uid() == uid {
                    6
                } else if meta.gid() == gid {
                    3
                } else {
                    0
                };
                (meta.mode() >> shift) & 0o1 == 1
            })
        })
    }
}

/// The owner of this process.
fn own_uid() -> io::Result<u32> {
    fs::metadata("/proc/self").map(|meta| meta.uid())
}

/// User and group id of a local user.
fn passwd(name: &str) -> Option<(u32, u32)> {
    let id = |option: &str| {
        let output = Command::new("id").args([option, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some((id("-u")?, id("-g")?))
}
