//! What workers cost. Printed; asserted only where something would be badly wrong.

use std::time::{Duration, Instant};

use bigbrotr_tests::cluster::{SUPERUSER, rss_anon};

use crate::world::{LONG, options, world, world_with};

#[tokio::test]
async fn idle_workers_cost_little() {
    let world = world().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, started) = (world.cluster.server_cpu_seconds(), Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let used = world.cluster.server_cpu_seconds() - before;
    let share = used / started.elapsed().as_secs_f64() * 100.0;
    println!("idle server with five workers and a launcher: {share:.1} % of a core");
    assert!(share < 20.0, "{share} %");
}

#[tokio::test]
async fn memory_stays_flat_over_many_transactions() {
    let world =
        world_with(options().with("bigbrotr.databases", SUPERUSER).with("bigbrotr.inject_fault", "finder:busy")).await;
    let pid = u32::try_from(world.pid("finder").await).expect("a pid");
    let after = |n: u32| format!("SELECT items >= {n} FROM bigbrotr.stat_workers WHERE service = 'finder'");
    world.wait(&after(10_000), LONG * 6, "10,000 transactions").await;
    let early = rss_anon(pid).expect("it lives");
    let took = world.wait(&after(110_000), LONG * 12, "100,000 transactions").await;
    let late = rss_anon(pid).expect("it lives");
    println!(
        "RssAnon {early} after 10,000, {late} after 110,000 transactions; {:.0} a second",
        1e5 / took.as_secs_f64()
    );
    assert!(late < early + (1 << 20), "{early} grew to {late}");
    assert_eq!(
        world.text("SELECT COALESCE(last_error, '') FROM bigbrotr.stat_workers WHERE service = 'finder'").await,
        ""
    );
}
