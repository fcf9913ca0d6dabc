//! What /proc says of the server's processes.

use std::fs;

/// Length of a tick in /proc/*/stat: USER_HZ, 100 a second on Linux whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

struct Stat {
    parent: u32,
    /// User and system time of the process, in ticks.
    own: u64,
    /// The same of its children that have been waited for.
    reaped: u64,
}

/// `None` when there is no such process.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |n: usize| fields.get(n)?.parse::<u64>().ok();
    let parent = u32::try_from(field(1)?).ok()?;
    Some(Stat { parent, own: field(11)? + field(12)?, reaped: field(13)? + field(14)? })
}

/// Living children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent)).collect()
}

/// Whether a process exists and is no zombie.
pub(crate) fn alive(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// CPU seconds of a process, its living children, and all children it has waited for.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    // The children first: one that ends meanwhile is counted twice rather than not at all.
    let living: u64 = children(pid).into_iter().filter_map(stat).map(|stat| stat.own + stat.reaped).sum();
    let own = stat(pid).map_or(0, |stat| stat.own + stat.reaped);
    (living + own) as f64 / TICKS_PER_SECOND
}

/// Anonymous resident memory of a process in bytes: its own memory, without files and shared buffers. `None` when there
/// is no such process.
pub fn rss_anon(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
