//! Who is killed.

use std::{fs, process::Command};

use bigbrotr_tests::Cluster;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// A process of the server.
pub enum Victim {
    /// The postmaster: the server is gone.
    Postmaster,
    /// One of its children, with its title: the postmaster ends the others and recovers.
    Child(u32, String),
}

impl Victim {
    /// Half of the time a process of ours, else the postmaster or any other process.
    pub fn choose(cluster: &Cluster, random: &mut StdRng) -> Self {
        let mut children: Vec<(u32, String)> =
            cluster.children().into_iter().filter_map(|pid| title(pid).map(|title| (pid, title))).collect();
        children.sort();
        let (ours, others): (Vec<_>, Vec<_>) = children.into_iter().partition(|(_, title)| title.contains("bigbrotr"));
        let from = match random.random_range(0..4) {
            0 => return Self::Postmaster,
            1 => others,
            _ => ours,
        };
        from.choose(random).map_or(Self::Postmaster, |(pid, title)| Self::Child(*pid, title.clone()))
    }

    pub fn name(&self) -> String {
        match self {
            Self::Postmaster => "postmaster".to_owned(),
            // What follows is what it does just now.
            Self::Child(_, title) => title.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        }
    }

    /// Kills it; a child is gone when this returns.
    pub fn kill(self, cluster: &mut Cluster) {
        match self {
            Self::Postmaster => {
                cluster.kill9();
                cluster.start_server();
            }
            Self::Child(pid, _) => {
                // The shell's own: a minimal system has no program of that name. It may have ended by itself.
                let _ = Command::new("/bin/sh").args(["-c", &format!("kill -9 {pid} 2>/dev/null")]).status();
                while cluster.children().contains(&pid) {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
    }
}

/// As ps shows it: `postgres: bigbrotr synchronizer …`.
fn title(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned();
    title.starts_with("postgres: ").then_some(title)
}
