//! Where the demo's server lives, and the server that stays there when the demo has ended.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{cluster, paths};

/// Longest path of a Unix socket, without the closing NUL (sun_path).
const SOCKET_PATH_BYTES: usize = 107;

/// The folder of one of the servers that outlive their program: `.run/<name>` in the checkout.
#[derive(Clone, Debug)]
pub struct Place {
    dir: PathBuf,
    why_elsewhere: Option<&'static str>,
}

impl Place {
    /// Chooses the folder, the same one each time. It is in the system's temporary folder if the user the server runs as
    /// cannot enter the checkout, or its path is too long for a socket.
    ///
    /// # Errors
    /// If `.run` cannot be made.
    pub fn find(name: &str) -> io::Result<Self> {
        let runs = paths::workspace_root().join(".run");
        fs::create_dir_all(&runs)?;
        let runs = fs::canonicalize(runs)?;
        let dir = runs.join(name);
        let why_elsewhere = if dir.join(".s.PGSQL.5432").as_os_str().len() > SOCKET_PATH_BYTES {
            Some("its path is too long for a socket")
        } else if !cluster::server_may_enter(&runs) {
            Some("user postgres cannot enter it")
        } else {
            return Ok(Self { dir, why_elsewhere: None });
        };
        let mut hasher = DefaultHasher::new();
        (&runs, fs::metadata(&runs)?.uid()).hash(&mut hasher);
        let unique = format!("bigbrotr-{name}-{:08x}", hasher.finish() as u32);
        Ok(Self { dir: env::temp_dir().join(unique), why_elsewhere })
    }

    /// The folder, where the socket is too.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Why it is not in the checkout, if it is not.
    pub fn why_elsewhere(&self) -> Option<&'static str> {
        self.why_elsewhere
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Whether there is a server's data.
    pub fn exists(&self) -> bool {
        self.data().join("PG_VERSION").is_file()
    }

    /// Whether a server runs there.
    pub fn is_running(&self) -> bool {
        self.exists() && self.pg_ctl(&["status"]).is_ok()
    }

    /// Starts a server that stays when this process ends.
    ///
    /// # Errors
    /// What `pg_ctl` says.
    pub fn start(&self) -> io::Result<()> {
        self.pg_ctl(&["start", "-w", "-t", "60", "-l", &self.log().to_string_lossy()])
    }

    /// The log of the server that stays. That of a [`Cluster`](crate::Cluster) is beside the data.
    pub fn log(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Stops the server, if one runs there; whether one did.
    ///
    /// # Errors
    /// What `pg_ctl` says.
    pub fn stop(&self) -> io::Result<bool> {
        if !self.is_running() {
            return Ok(false);
        }
        self.pg_ctl(&["stop", "-w", "-t", "60", "-m", "fast"]).map(|()| true)
    }

    /// Stops the server and removes everything.
    ///
    /// # Errors
    /// If it does not stop, or a file cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        self.stop()?;
        let _ = fs::remove_file(self.dir.with_extension("seeds"));
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = fs::read(self.log()).or_else(|_| fs::read(self.data().join("server.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn pg_ctl(&self, arguments: &[&str]) -> io::Result<()> {
        let data = self.data();
        let mut command = cluster::program("pg_ctl", &data);
        command.arg("-D").arg(&data).args(arguments).stdin(Stdio::null());
        // Not captured: the server would hold the pipe open for as long as it lives.
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() {
            return Ok(());
        }
        let what = arguments.first().copied().unwrap_or_default();
        Err(io::Error::other(format!("pg_ctl {what} in {}: {status}", data.display())))
    }
}
