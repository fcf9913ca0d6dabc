//! `make bench`: what archiving costs, as ratios inside one run; how quickly relays are validated and checked.
//!
//! Figures are CPU seconds of the server's processes (user and system, ended ones included); relays and generator run
//! in this process, or in one of their own, and do not count. Bytes are sizes on disk after VACUUM, divided by distinct
//! events or by sightings.

mod archive;
mod before;
mod candidates;
mod checks;
mod cpu;
mod figure;
mod limit;
mod paths;
mod size;
mod status;
mod watch;
mod world;

use std::env;
use std::time::Duration;

/// A variable with a number; `None` if it is not set to one.
fn number(name: &str) -> Option<usize> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Everything, or only what `BENCH_PATHS`, `BENCH_CANDIDATES`, `BENCH_CHECKS`, `BENCH_EVENTS` or `BENCH_STATUS` gives the size of.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(world::ARGUMENT) {
        let latency = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        return world::serve(Duration::from_millis(latency)).await;
    }
    let sizes = ["BENCH_PATHS", "BENCH_CANDIDATES", "BENCH_CHECKS", "BENCH_EVENTS", "BENCH_STATUS"].map(number);
    let is_alone = sizes.iter().any(Option::is_some);
    let [paths, candidates, checks, events, status] = sizes;
    if let Some(rows) = paths {
        paths::run(rows).await;
    }
    if let Some(events) = events.or((!is_alone).then_some(200_000)) {
        archive::run(&archive::Plan {
            events,
            relays: number("BENCH_RELAYS").unwrap_or(50),
            copies: number("BENCH_COPIES").unwrap_or(3),
            before: number("BENCH_BEFORE").unwrap_or(0),
        })
        .await;
    }
    let concurrency = number("BENCH_CONCURRENCY").unwrap_or(candidates::CONCURRENCY);
    if let Some(count) = candidates {
        candidates::run(count, concurrency).await;
    } else if !is_alone {
        candidates::run(2_000, candidates::CONCURRENCY).await;
        candidates::run(10_000, candidates::CONCURRENCY).await;
        // As many slots as there are silent ones, and some for the others.
        candidates::run(10_000, 2_500).await;
    }
    if let Some(relays) = checks.or((!is_alone).then_some(500)) {
        checks::run(relays).await;
    }
    if let Some(relays) = status.or((!is_alone).then_some(10_000)) {
        status::run(relays).await;
    }
}
