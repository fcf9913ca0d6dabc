//! The synchronizer against well-behaved relays: first sync, 1 % new, nothing new.

use std::time::{Duration, Instant};

use bigbrotr_tests::cluster::rss_anon;
use bigbrotr_tests::truth::only;
use bigbrotr_tests::{
    Cluster, ClusterOptions, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, distribute, generate,
};
use tokio_postgres::Client;

use crate::{before, limit, size};

/// How much.
pub struct Plan {
    /// Distinct events.
    pub events: usize,
    /// Relays.
    pub relays: usize,
    /// Relays that hold each event.
    pub copies: usize,
    /// Other events that are in the archive before.
    pub before: usize,
}

/// Runs it and prints the figures.
pub async fn run(plan: &Plan) {
    let Plan { events, relays, copies, before: others } = *plan;
    println!("{events} distinct events × {copies} copies on {relays} relays (cap 500)");
    let now = generate::now();
    let spec = Spec { created_at: now - 3 * 365 * 86_400..now - 3600, ..Spec::default() };
    let mut generator = Generator::new(1);
    let corpus = generator.corpus(events, &spec);
    let bytes: usize = corpus.iter().map(|json| json.len()).sum();
    println!("JSON {:.0} bytes on average", bytes as f64 / events as f64);
    let store = Store::new(corpus.iter().cloned());
    let shares = distribute(events, relays, copies, 2);
    let relays: Vec<RelayHandle> = shares
        .iter()
        .map(|share| {
            Relay::start(RelayOptions { cap: Some(500), events: store.subset(share), ..RelayOptions::default() })
        })
        .collect();

    let mut options = ClusterOptions::preloaded()
        .with("max_worker_processes", "20")
        .with("shared_buffers", "512MB")
        .with("max_wal_size", "8GB")
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.synchronizer_interval", "1h")
        .with("bigbrotr.sync_lag", "0")
        // Passes are what is measured; live, the new events would be there before the next one.
        .with("bigbrotr.live_connections", "0")
        .with("bigbrotr.min_disk_free", "0");
    for (name, value) in only(&["synchronizer"]) {
        options = options.with(&name, value);
    }
    let mut cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    for relay in &relays {
        client
            .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&relay.url()])
            .await
            .expect("enrolled");
    }

    if others > 0 {
        before::fill(&client, others).await;
        println!("the archive holds {others} other events");
    }

    let needed = events * copies;
    let mut peak = 0;
    let before = cluster.server_cpu_seconds();
    let started = Instant::now();
    cluster.set(&[("bigbrotr.databases", "postgres")]).await;
    wait(&cluster, &client, needed, relays.len(), &mut peak).await;
    let (cpu, wall) = (cluster.server_cpu_seconds() - before, started.elapsed().as_secs_f64());
    let sent: u64 = relays.iter().map(|relay| relay.served().events).sum();
    println!("first sync: {cpu:.2} CPU s, {wall:.1} s wall: {:.0} events per CPU second", events as f64 / cpu);
    println!("fetched per needed: {:.3}", sent as f64 / needed as f64);
    println!("peak RssAnon of the synchronizer: {} MB", peak >> 20);

    if others > 0 {
        return;
    }
    let limit = limit::measure(&cluster, &client, &corpus).await;
    println!("{limit}");
    println!("CPU against the limit: {:.2}", cpu / limit.total());
    size::print(&client, events, needed).await;

    // Of these two seconds, and spread as the rest: no relay holds more of them than its cap.
    let new = (events / 100).max(1);
    let fresh = generator.corpus(new, &Spec { created_at: generate::now()..generate::now() + 2, ..Spec::default() });
    for (relay, share) in relays.iter().zip(distribute(new, relays.len(), copies, 3)) {
        share.into_iter().for_each(|event| relay.add(&fresh[event]));
    }
    again(&cluster, &client, "1 % new", needed + new * copies, relays.len()).await;
    again(&cluster, &client, "nothing new", needed + new * copies, relays.len()).await;
}

/// One more pass over every relay.
async fn again(cluster: &Cluster, client: &Client, what: &str, needed: usize, relays: usize) {
    client.batch_execute("UPDATE bigbrotr.relay_sync SET last_synced_at = NULL").await.expect("updated");
    let before = cluster.server_cpu_seconds();
    client.batch_execute("SELECT bigbrotr.run_service('synchronizer')").await.expect("woken");
    wait(cluster, client, needed, relays, &mut 0).await;
    println!("cycle with {what}: {:.2} CPU s", cluster.server_cpu_seconds() - before);
}

/// Until every relay has had a good pass and every sighting is there.
async fn wait(cluster: &Cluster, client: &Client, needed: usize, relays: usize, peak: &mut u64) {
    let done = "SELECT (SELECT coalesce(sum(n), 0)::bigint FROM bigbrotr.sighting), count(*) FILTER (WHERE last_synced_at IS NOT NULL) FROM bigbrotr.relay_sync";
    let deadline = Instant::now() + Duration::from_secs(3600);
    loop {
        let row = client.query_one(done, &[]).await.expect("progress");
        let (sightings, synced): (i64, i64) = (row.get(0), row.get(1));
        let workers =
            client.query("SELECT pid FROM bigbrotr.stat_workers WHERE pid IS NOT NULL", &[]).await.expect("workers");
        for worker in workers {
            let pid: i32 = worker.get(0);
            *peak = (*peak).max(rss_anon(pid.unsigned_abs()).unwrap_or(0));
        }
        if usize::try_from(sightings).unwrap_or(0) >= needed && usize::try_from(synced).unwrap_or(0) >= relays {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{sightings} of {needed} sightings, {synced} of {relays} relays\n{}",
            cluster.log()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
