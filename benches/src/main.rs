//! `make bench`: what archiving costs, as ratios inside one run, and how quickly candidates are tried and relays checked.
//!
//! Figures are CPU seconds of the server's processes (user and system, ended ones included); relays and generator run
//! in this process, or one of their own, and do not count. Bytes are sizes on disk after VACUUM, divided by distinct
//! events or by sightings.

mod archive;
mod before;
mod candidates;
mod cpu;
mod limit;
mod monitor;
mod paths;
mod size;
mod watch;
mod world;

use std::{env, process};

/// What runs without `BENCH_ONLY`.
const SECTIONS: &str = "archive,candidates,candidates-10000,monitor";

/// Reads `BENCH_ONLY`, a list of sections, and for the archive `BENCH_EVENTS`, `BENCH_RELAYS`, `BENCH_COPIES` and
/// `BENCH_BEFORE`; `BENCH_PATHS` measures ways of writing rows instead.
fn number(name: &str, default: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(world::ARGUMENT) {
        return world::run(arguments.next().and_then(|latency| latency.parse().ok()).unwrap_or(0)).await;
    }
    match number("BENCH_PATHS", 0) {
        0 => {}
        rows => return paths::run(rows).await,
    }
    raise_file_limit();
    let sections = env::var("BENCH_ONLY").unwrap_or_else(|_| SECTIONS.into());
    for section in sections.split(',').map(str::trim) {
        println!("== {section}");
        match section {
            "archive" => archive().await,
            "candidates" => candidates::run(2_000, None).await,
            "candidates-10000" => {
                candidates::run(10_000, None).await;
                candidates::run(10_000, Some(10_000)).await;
            }
            "monitor" => monitor::run(500).await,
            other => {
                eprintln!("no section {other:?}: BENCH_ONLY takes {SECTIONS}");
                process::exit(2);
            }
        }
    }
}

async fn archive() {
    let plan = archive::Plan {
        events: number("BENCH_EVENTS", 200_000),
        relays: number("BENCH_RELAYS", 50),
        copies: number("BENCH_COPIES", 3),
        before: number("BENCH_BEFORE", 0),
    };
    archive::run(&plan).await;
}

/// As high as this user may, for the servers started from here. By a program: the system call would need `unsafe`.
fn raise_file_limit() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let Some(hard) = line.and_then(|line| line.split_whitespace().nth(4)).map(str::to_owned) else { return };
    let pid = process::id().to_string();
    let raised = process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={hard}:{hard}")]).status();
    if !raised.is_ok_and(|status| status.success()) {
        eprintln!("the limit of open files could not be raised");
    }
}
