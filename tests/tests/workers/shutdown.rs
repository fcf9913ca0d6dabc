//! The end of the server, and of single processes, with workers at work.

use std::time::{Duration, Instant};

use bigbrotr_tests::{Stop, cluster::SUPERUSER};

use crate::world::{LASTING, LONG, SOON, World, options, running, world, world_with};

async fn again(world: World) -> World {
    let client = world.cluster.connect(SUPERUSER).await;
    World { client, ..world }
}

#[tokio::test]
async fn server_stops_and_starts_in_every_mode() {
    let mut world = world().await;
    for mode in [Stop::Fast, Stop::Smart, Stop::Immediate] {
        if mode == Stop::Smart {
            // It waits for clients, as it should.
            let World { mut cluster, client } = world;
            drop(client);
            // The connection's task must have its turn.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let started = Instant::now();
            cluster.stop(Stop::Smart);
            println!("Smart: {:.2?}", started.elapsed());
            assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
            cluster.start_server();
            let client = cluster.connect(SUPERUSER).await;
            world = World { cluster, client };
        } else {
            let started = Instant::now();
            world.cluster.stop(mode);
            println!("{mode:?}: {:.2?}", started.elapsed());
            assert!(started.elapsed() < SOON, "{mode:?} took {:?}", started.elapsed());
            world.cluster.start_server();
            world = again(world).await;
        }
        world.wait(&running(SUPERUSER, LASTING), LONG, "workers after a restart").await;
        world.nobody_is_doubled().await;
    }
    assert!(!world.cluster.log().contains("terminated by signal"), "{}", world.cluster.log());
}

#[tokio::test]
async fn server_stops_fast_while_a_worker_is_busy() {
    let mut world =
        world_with(options().with("bigbrotr.databases", SUPERUSER).with("bigbrotr.inject_fault", "finder:busy")).await;
    world.wait("SELECT items >= 1000 FROM bigbrotr.stat_workers WHERE service = 'finder'", LONG, "much work").await;
    let started = Instant::now();
    world.cluster.stop(Stop::Fast);
    println!("fast, busy: {:.2?}", started.elapsed());
    assert!(started.elapsed() < SOON);
    assert!(!world.cluster.log().contains("terminated by signal"));
}

#[tokio::test]
async fn busy_worker_ends_at_a_sigterm() {
    let world =
        world_with(options().with("bigbrotr.databases", SUPERUSER).with("bigbrotr.inject_fault", "finder:busy")).await;
    for _ in 0..3 {
        world.wait("SELECT items >= 1000 FROM bigbrotr.stat_workers WHERE service = 'finder'", LONG, "much work").await;
        let pid = world.pid("finder").await;
        world.run(&format!("SELECT pg_terminate_backend({pid})")).await;
        let gone = format!("SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = {pid})");
        world.wait(&gone, SOON, "end of a busy worker").await;
        world.wait(&running(SUPERUSER, LASTING), LONG, "return").await;
    }
}

#[tokio::test]
async fn worker_in_a_statement_ends_at_a_sigterm() {
    let world = world().await;
    world.run("ALTER SYSTEM SET bigbrotr.inject_fault = 'finder:busy'").await;
    world.run("BEGIN; LOCK TABLE bigbrotr.event").await;
    let other = world.cluster.connect(SUPERUSER).await;
    other.batch_execute("SELECT pg_reload_conf()").await.expect("reloads");
    let waiting = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE backend_type = 'bigbrotr finder' AND wait_event_type = 'Lock')";
    world.cluster.wait_for(&other, waiting, LONG, "a worker that waits for a lock").await;
    let pid: i32 = other
        .query_one(
            "SELECT pg_terminate_backend(pid)::int * pid FROM pg_stat_activity WHERE backend_type = 'bigbrotr finder'",
            &[],
        )
        .await
        .expect("one")
        .get(0);
    let started = Instant::now();
    world
        .cluster
        .wait_for(
            &other,
            &format!("SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = {pid})"),
            Duration::from_secs(3),
            "its end",
        )
        .await;
    println!("end in a statement: {:.2?}", started.elapsed());
}
