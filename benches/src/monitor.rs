//! The monitor against relays that take 100 ms for each answer.

use std::time::{Duration, Instant};

use bigbrotr_tests::cluster::rss_anon;
use bigbrotr_tests::{Cluster, ClusterOptions, truth::only};
use tokio_postgres::Client;

use crate::watch::{self, Peak, verdict};
use crate::world::World;

const LATENCY: Duration = Duration::from_millis(100);
/// Relays per second.
const RATE: f64 = 500.0;
/// MB.
const MEMORY: f64 = 100.0;
const CYCLES: usize = 20;
/// Cycles before the first whose size counts: by then all that is made once is made.
const SETTLED: usize = 2;
/// Cycles of which the mean is taken, early and late: what is held just then comes and goes.
const SPAN: usize = 5;
/// MB and descriptors the late mean may lie above the early one. A kilobyte kept of each check would be 7 MB.
const NOISE: (f64, f64) = (5.0, 2.0);
const DEADLINE: Duration = Duration::from_secs(60);

/// Checks `relays` again and again and prints what it took.
pub async fn run(relays: usize) {
    println!(
        "{relays} relays that take {} ms for each answer, NIP-11 and round trips, 200 at a time",
        LATENCY.as_millis()
    );
    let world = World::start(LATENCY);
    let urls: Vec<String> = (0..relays).map(|n| world.relay(n)).collect();
    let mut options = ClusterOptions::preloaded()
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.monitor_checks", "nip11,rtt")
        .with("bigbrotr.monitor_interval", "30d");
    for (name, value) in only(&["monitor"]) {
        options = options.with(&name, value);
    }
    let mut cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let insert = "INSERT INTO bigbrotr.relay (url, network) SELECT u, 'clearnet' FROM unnest($1::text[]) AS u";
    client.execute(insert, &[&urls]).await.expect("enrolled");

    let before = cluster.server_cpu_seconds();
    cluster.set(&[("bigbrotr.databases", "postgres")]).await;
    let pid = watch::pid(&client, "monitor").await;
    let peak = Peak::of(pid);
    let (mut rates, mut sizes) = (Vec::new(), Vec::new());
    for cycle in 1..=CYCLES {
        let started = Instant::now();
        if cycle > 1 {
            client.batch_execute("SELECT bigbrotr.run_service('monitor')").await.expect("woken");
        }
        wait(&cluster, &client, cycle * relays).await;
        rates.push(relays as f64 / started.elapsed().as_secs_f64());
        // Connections say goodbye, batches are given back.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        sizes.push((rss_anon(pid).unwrap_or(0) as f64 / f64::from(1 << 20), watch::descriptors(pid)));
    }
    let cpu = cluster.server_cpu_seconds() - before;
    let bad: i64 =
        client.query_one("SELECT count(*) FROM bigbrotr.relay_check WHERE NOT ok", &[]).await.expect("checks").get(0);
    println!("{bad} of {} checks failed", CYCLES * relays);
    // The first cycle is the start of the worker.
    rates.remove(0);
    rates.sort_by(f64::total_cmp);
    let (median, worst) = (rates[rates.len() / 2], rates[0]);
    println!(
        "median {median:.0} relays/s, worst cycle {worst:.0}: {:.2} of {RATE}, {}",
        median / RATE,
        verdict(median >= RATE)
    );
    let memory = peak.megabytes();
    println!(
        "peak RssAnon of the monitor {memory:.0} MB: {:.2} of {MEMORY} MB, {}",
        memory / MEMORY,
        verdict(memory <= MEMORY)
    );
    let mean = |sizes: &[(f64, usize)]| {
        let sum = sizes.iter().fold((0.0, 0.0), |sum, size| (sum.0 + size.0, sum.1 + size.1 as f64));
        (sum.0 / sizes.len() as f64, sum.1 / sizes.len() as f64)
    };
    let (early, late) = (mean(&sizes[SETTLED..SETTLED + SPAN]), mean(&sizes[CYCLES - SPAN..]));
    let steady = late.0 <= early.0 + NOISE.0 && late.1 <= early.1 + NOISE.1;
    println!(
        "cycles {} to {} and the last {SPAN}: {:.1} and {:.1} MB, {:.1} and {:.1} descriptors on average, {}",
        SETTLED + 1,
        SETTLED + SPAN,
        early.0,
        late.0,
        early.1,
        late.1,
        verdict(steady)
    );
    println!("CPU {cpu:.2} s, {:.2} ms per check", cpu * 1e3 / (CYCLES * relays) as f64);
}

async fn wait(cluster: &Cluster, client: &Client, checks: usize) {
    let started = Instant::now();
    loop {
        let count: i64 =
            client.query_one("SELECT count(*) FROM bigbrotr.relay_check", &[]).await.expect("checks").get(0);
        if usize::try_from(count).unwrap_or(0) >= checks {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{count} of {checks} checks\n{}", cluster.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
