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

/// Everything, or only the sections of which a variable gives the size.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(world::ARGUMENT) {
        let latency = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        return world::serve(Duration::from_millis(latency)).await;
    }
    let [paths, candidates, checks, status] =
        ["BENCH_PATHS", "BENCH_CANDIDATES", "BENCH_CHECKS", "BENCH_STATUS"].map(number);
    let [events, relays, copies, before] = ["BENCH_EVENTS", "BENCH_RELAYS", "BENCH_COPIES", "BENCH_BEFORE"].map(number);
    let is_archive = [events, relays, copies, before].iter().any(Option::is_some);
    let is_alone = is_archive || [paths, candidates, checks, status].iter().any(Option::is_some);
    if let Some(rows) = paths {
        paths::run(rows).await;
    }
    if is_archive || !is_alone {
        archive::run(&archive::Plan {
            events: events.unwrap_or(200_000),
            relays: relays.unwrap_or(50),
            copies: copies.unwrap_or(3),
            before: before.unwrap_or(0),
        })
        .await;
    }
    let concurrency = number("BENCH_CONCURRENCY").unwrap_or(candidates::CONCURRENCY);
    if let Some(count) = candidates {
        candidates::run(count, concurrency).await;
    } else if !is_alone {
        candidates::run(2_000, candidates::CONCURRENCY).await;
        candidates::run(10_000, candidates::CONCURRENCY).await;
        // Scaled with the candidates: 2,560 are five times the default, and 10,000 let every silent one begin at once.
        candidates::run(10_000, 2_560).await;
        candidates::run(10_000, 10_000).await;
    }
    if let Some(relays) = checks.or((!is_alone).then_some(500)) {
        checks::run(relays).await;
    }
    if let Some(relays) = status.or((!is_alone).then_some(10_000)) {
        status::run(relays).await;
    }
}
