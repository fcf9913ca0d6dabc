//! Leaving while a relay sends without end.

use std::time::{Duration, Instant};

use bigbrotr_tests::{Generator, Relay, RelayHandle, RelayOptions, Spec, Stop, Store, cluster::SUPERUSER, generate};

use crate::world::{LASTING, LONG, SOON, World, options, running, world_with};

/// A synchronizer in the middle of a page that takes minutes.
async fn streaming() -> (World, RelayHandle) {
    let now = generate::now();
    let spec = Spec { authors: 10, created_at: now - 86_400..now - 60, ..Spec::default() };
    let events = Store::new(Generator::new(3).corpus(2000, &spec));
    let relay =
        Relay::start(RelayOptions { events, event_latency: Duration::from_millis(50), ..RelayOptions::default() });
    let settings = options()
        .with("bigbrotr.databases", SUPERUSER)
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.min_disk_free", "0");
    let world = world_with(settings).await;
    world.run(&format!("INSERT INTO bigbrotr.relay (url, network) VALUES ('{}', 'clearnet')", relay.url())).await;
    world.run("SELECT bigbrotr.run_service('synchronizer')").await;
    on_air(&world, &relay).await;
    (world, relay)
}

async fn on_air(world: &World, relay: &RelayHandle) {
    let started = Instant::now();
    let before = relay.served().events;
    while relay.served().events < before + 10 {
        assert!(started.elapsed() < LONG, "nothing streams\n{}", world.cluster.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn streaming_worker_leaves_when_told() {
    let (mut world, relay) = streaming().await;
    let pid = world.pid("synchronizer").await;
    world.run(&format!("SELECT pg_terminate_backend({pid})")).await;
    let gone = format!("SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = {pid})");
    world.wait(&gone, Duration::from_secs(2), "end while streaming").await;
    world.wait(&running(SUPERUSER, LASTING), LONG, "return").await;
    world.cluster.set(&[("bigbrotr.synchronizer_enabled", "off")]).await;
    let gone = "SELECT pid IS NULL AND state = 'disabled' FROM bigbrotr.stat_workers WHERE service = 'synchronizer'";
    world.wait(gone, SOON, "leave while streaming").await;
    drop(relay);
}

#[tokio::test]
async fn server_stops_fast_while_a_relay_streams() {
    let (mut world, relay) = streaming().await;
    let started = Instant::now();
    world.cluster.stop(Stop::Fast);
    println!("fast, streaming: {:.2?}", started.elapsed());
    assert!(started.elapsed() < SOON);
    assert!(!world.cluster.log().contains("terminated by signal"), "{}", world.cluster.log());
    drop(relay);
}
