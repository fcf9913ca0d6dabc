//! `make bench`: what archiving costs, as ratios inside one run.
//!
//! Figures are CPU seconds of the server's processes (user and system, ended ones included); relays and generator run
//! in this process and do not count. Bytes are sizes on disk after VACUUM, divided by distinct events or by sightings.

mod archive;
mod before;
mod cpu;
mod limit;
mod paths;
mod size;
mod status;

use std::env;

/// Reads `BENCH_EVENTS`, `BENCH_RELAYS`, `BENCH_COPIES` and `BENCH_BEFORE`; `BENCH_PATHS` measures ways of writing rows
/// instead, `BENCH_STATUS` the views of the health of so many relays.
fn number(name: &str, default: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let plan = archive::Plan {
        events: number("BENCH_EVENTS", 200_000),
        relays: number("BENCH_RELAYS", 50),
        copies: number("BENCH_COPIES", 3),
        before: number("BENCH_BEFORE", 0),
    };
    match (number("BENCH_PATHS", 0), number("BENCH_STATUS", 0)) {
        (0, 0) => archive::run(&plan).await,
        (0, relays) => status::run(relays).await,
        (rows, _) => paths::run(rows).await,
    }
}
