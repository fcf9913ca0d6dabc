//! CPU time from /proc: no `unsafe` is needed for hundredths of a second.

use std::fs;

/// User and system seconds of the calling thread so far.
pub fn thread() -> f64 {
    seconds("/proc/thread-self/stat")
}

/// User and system seconds of a process so far, all its threads together; 0 if there is none.
pub fn process(pid: u32) -> f64 {
    seconds(&format!("/proc/{pid}/stat"))
}

/// proc(5), fields 14 and 15, in ticks of 10 ms.
fn seconds(file: &str) -> f64 {
    let stat = fs::read_to_string(file).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
