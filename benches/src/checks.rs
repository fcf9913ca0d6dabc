//! The monitor against relays that are far away: checks a second, and what is left behind by many cycles.

use std::time::{Duration, Instant};

use bigbrotr_tests::truth::only;
use bigbrotr_tests::{Cluster, ClusterOptions};
use tokio_postgres::Client;

use crate::figure::{at_least, at_most, mb};
use crate::watch::Watch;
use crate::world::{Host, World};

/// Until a relay answers whatever it is asked.
const LATENCY: Duration = Duration::from_millis(100);
/// Default of `bigbrotr.monitor_concurrency`.
const CONCURRENCY: usize = 200;
/// Cycles; what the second left is compared with what the last one leaves.
const CYCLES: usize = 20;
/// Relays a second.
const RATE: f64 = 500.0;
/// MB of private memory.
const MEMORY: f64 = 100.0;
/// After a cycle, for goodbyes that are under way.
const SETTLE: Duration = Duration::from_secs(2);

/// Runs it with so many relays and prints the figures.
pub async fn run(relays: usize) {
    println!(
        "\n{relays} relays, {} ms until each answer; NIP-11 and RTT, concurrency {CONCURRENCY}",
        LATENCY.as_millis()
    );
    let world = World::start(LATENCY);
    let mut options = ClusterOptions::preloaded()
        .with("bigbrotr.databases", "postgres")
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.monitor_checks", "nip11,rtt")
        .with("bigbrotr.monitor_concurrency", &CONCURRENCY.to_string());
    for (name, value) in only(&["monitor"]) {
        options = options.with(&name, value);
    }
    let cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let watch = Watch::worker(&cluster, &client, "monitor").await;
    let idle = watch.descriptors();
    println!("private memory of the idle monitor: {:.1} MB", mb(watch.memory()));

    let urls: Vec<String> = (0..relays).map(|number| world.url(number, Host::Live)).collect();
    let before = cluster.server_cpu_seconds();
    let mut walls = Vec::with_capacity(CYCLES);
    let mut left = Vec::with_capacity(CYCLES);
    for number in 0..CYCLES {
        let row = client.query_one("SELECT clock_timestamp()::text", &[]).await.expect("the time");
        let (since, started) = (row.get::<_, String>(0), Instant::now());
        if number == 0 {
            let enroll = "INSERT INTO bigbrotr.relay (url, network) SELECT u, 'clearnet' FROM unnest($1::text[]) AS u";
            client.execute(enroll, &[&urls]).await.expect("enrolled");
        }
        client.batch_execute("SELECT bigbrotr.run_service('monitor')").await.expect("woken");
        let checked = format!("SELECT count(*) = {relays} FROM bigbrotr.relay_monitor WHERE last_ok_at >= '{since}'");
        cluster.wait_for(&client, &checked, Duration::from_secs(120), "good checks of all relays").await;
        walls.push(started.elapsed().as_secs_f64());
        tokio::time::sleep(SETTLE).await;
        left.push((watch.memory(), watch.descriptors()));
    }
    let (cpu, all) = (watch.cpu(), cluster.server_cpu_seconds() - before);

    let listed: Vec<String> = walls.iter().map(|wall| format!("{wall:.2}")).collect();
    println!("seconds of each cycle: {}", listed.join(" "));
    let first = walls[0];
    walls.sort_by(f64::total_cmp);
    let rate = |wall: f64| relays as f64 / wall;
    at_least("first cycle", rate(first), RATE, "relays/s");
    at_least("median cycle", rate(walls[CYCLES / 2]), RATE, "relays/s");
    at_most("peak private memory of the monitor", mb(watch.peak()), MEMORY, "MB");
    let listed: Vec<String> = left.iter().map(|(memory, _)| format!("{:.1}", mb(*memory))).collect();
    println!("private memory after each, MB: {}", listed.join(" "));
    let (early, late) = (left[1], left[CYCLES - 1]);
    at_most("private memory after the last cycle, of that after the second", late.0 as f64 / early.0 as f64, 1.1, "×");
    println!("descriptors: {idle} idle, {} after the second cycle, {} after the last", early.1, late.1);
    let checks = (relays * CYCLES) as f64;
    println!("CPU: {cpu:.2} s the monitor, {all:.2} s the server with it; {:.2} ms a check", cpu * 1000.0 / checks);
    verify(&client, relays).await;
}

/// A quick wrong answer is none.
async fn verify(client: &Client, relays: usize) {
    let counts = "SELECT (SELECT count(*) FROM bigbrotr.relay_check AS c WHERE c.ok AND c.open_ms >= $1 AND c.read_ms >= $1), \
                  (SELECT count(*) FROM bigbrotr.relay_metadata AS m WHERE m.type = 'nip11_info')";
    let row = client.query_one(counts, &[&(LATENCY.as_millis() as f32)]).await.expect("counts");
    let found = (row.get::<_, i64>(0), row.get::<_, i64>(1));
    let wanted = i64::try_from(relays).unwrap_or(0);
    assert!(found.0 >= wanted * i64::try_from(CYCLES).unwrap_or(0), "{} good checks", found.0);
    assert_eq!(found.1, wanted, "documents");
}
