//! What users lock.

use std::time::{Duration, Instant};

use bigbrotr_tests::{Stop, cluster::SUPERUSER};

use crate::world::{LASTING, LONG, NOBODY, SOON, options, running, world, world_with};

#[tokio::test]
async fn lock_of_a_user_does_not_hang_a_worker_for_ever() {
    let world = world().await;
    let user = world.cluster.connect(SUPERUSER).await;
    user.batch_execute("BEGIN; LOCK TABLE bigbrotr.relay, bigbrotr.candidate, bigbrotr.event, bigbrotr.stat_cycles, bigbrotr.service_state").await.expect("locked");
    world.run("ALTER SYSTEM SET bigbrotr.inject_fault = 'validator:busy'; ").await;
    world.run("SELECT pg_reload_conf()").await;
    let refused = "SELECT errors > 0 AND last_error LIKE '%lock timeout%55P03%' FROM bigbrotr.stat_workers WHERE service = 'validator'";
    world.wait(refused, LONG, "a lock timeout").await;
    world.run("ALTER SYSTEM RESET bigbrotr.inject_fault").await;
    world.run("SELECT pg_reload_conf()").await;
    user.batch_execute("ROLLBACK").await.expect("rolled back");
    world.wait("SELECT state = 'idle' FROM bigbrotr.stat_workers WHERE service = 'validator'", LONG, "health").await;
}

#[tokio::test]
async fn lock_of_a_user_does_not_hold_up_stop_workers_or_a_reload() {
    let mut world =
        world_with(options().with("bigbrotr.databases", SUPERUSER).with("bigbrotr.inject_fault", "validator:busy"))
            .await;
    let user = world.cluster.connect(SUPERUSER).await;
    user.batch_execute("BEGIN; LOCK TABLE bigbrotr.event").await.expect("locked");
    let waiting = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE backend_type = 'bigbrotr validator' AND wait_event_type = 'Lock')";
    world.wait(waiting, LONG, "a worker that waits for a lock").await;
    let started = Instant::now();
    world.run("SELECT bigbrotr.stop_workers()").await;
    println!("stop_workers of a waiting worker: {:.2?}", started.elapsed());
    assert!(started.elapsed() < SOON);
    world.run("SELECT bigbrotr.start_workers()").await;
    world.wait(waiting, LONG, "it waits again").await;
    world.cluster.set(&[("bigbrotr.validator_enabled", "off")]).await;
    world
        .wait(
            "SELECT pid IS NULL AND state = 'disabled' FROM bigbrotr.stat_workers WHERE service = 'validator'",
            SOON,
            "leave from a lock",
        )
        .await;
    let started = Instant::now();
    world.cluster.stop(Stop::Fast);
    println!("fast shutdown with a user's lock: {:.2?}", started.elapsed());
    assert!(started.elapsed() < SOON);
}

/// The worker takes our tables in one order, the user in the other.
#[tokio::test]
async fn deadlock_with_a_user_is_the_workers_loss() {
    let world =
        world_with(options().with("bigbrotr.databases", SUPERUSER).with("bigbrotr.inject_fault", "validator:busy"))
            .await;
    let user = world.cluster.connect(SUPERUSER).await;
    for round in 0..3 {
        user.batch_execute("BEGIN; LOCK TABLE bigbrotr.stat_cycles").await.expect("locked");
        let waiting = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE backend_type = 'bigbrotr validator' AND wait_event_type = 'Lock')";
        world.wait(waiting, LONG, "a worker that waits for a lock").await;
        // Its first look for a deadlock is over.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let started = Instant::now();
        user.batch_execute("LOCK TABLE bigbrotr.relay").await.expect("the user wins");
        println!("round {round}: the user waited {:.2?}", started.elapsed());
        user.batch_execute("COMMIT").await.expect("committed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(
        world.cluster.log().contains("deadlock detected")
            || world.number("SELECT errors FROM bigbrotr.stat_workers WHERE service = 'validator'").await > 0
    );
}

#[tokio::test]
async fn workers_leave_while_a_user_holds_the_archive_lock() {
    let mut world = world().await;
    world.run("BEGIN").await;
    world.run("SELECT bigbrotr.event_insert(ARRAY['{}'], 'wss://relay.damus.io')").await;
    world.cluster.set(&[("bigbrotr.databases", "")]).await;
    world.wait(NOBODY, SOON, "leave").await;
    world.run("ROLLBACK").await;
    world.cluster.set(&[("bigbrotr.databases", SUPERUSER)]).await;
    world.wait(&running(SUPERUSER, LASTING), SOON, "return").await;
}
