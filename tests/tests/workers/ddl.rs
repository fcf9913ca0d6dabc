//! DDL on the database and on the extension, with workers at work.

use std::time::{Duration, Instant};

use bigbrotr_tests::cluster::SUPERUSER;
use tokio_postgres::Client;

use crate::world::{LASTING, LONG, NOBODY, SOON, World, options, running, text, world, world_with};

/// A cluster with workers in the database `busy`, one of them with a transaction always open; the client is elsewhere.
async fn busy() -> World {
    let cluster = bigbrotr_tests::Cluster::start(options());
    cluster.create_database("busy").await;
    let client = cluster.connect("busy").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    drop(client);
    let client = cluster.connect(SUPERUSER).await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let mut world = World { cluster, client };
    world.cluster.set(&[("bigbrotr.databases", "busy"), ("bigbrotr.inject_fault", "finder:busy")]).await;
    ready(&world, "busy").await;
    world
}

async fn ready(world: &World, database: &str) {
    world.wait(&running(database, LASTING), LONG, "workers").await;
    let items =
        format!("SELECT items >= 1000 FROM bigbrotr.stat_workers WHERE service = 'finder' AND database = '{database}'");
    world.wait(&items, LONG, "much work").await;
}

async fn timed(client: &Client, sql: &str) {
    let started = Instant::now();
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    println!("{sql}: {:.2?}", started.elapsed());
    assert!(started.elapsed() < LONG, "{sql} took {:?}", started.elapsed());
}

#[tokio::test]
async fn drop_database_needs_no_force() {
    let world = busy().await;
    timed(&world.client, "DROP DATABASE busy").await;
    world.wait("SELECT count(*) = 6 FROM bigbrotr.stat_workers WHERE database = 'busy' AND state = 'backoff' AND pid IS NULL", LONG, "back-off").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.lines("does not exist"), 1, "{}", world.cluster.log());
    assert_eq!(world.lines("FATAL"), 0, "{}", world.cluster.log());
    world.cluster.create_database("busy").await;
    let client = world.cluster.connect("busy").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    world.wait(&running("busy", LASTING), LONG, "workers of the new database").await;
    drop(client);
    ready(&world, "busy").await;
    timed(&world.client, "DROP DATABASE busy WITH (FORCE)").await;
}

#[tokio::test]
async fn database_serves_as_a_template_and_is_served_again() {
    let world = busy().await;
    timed(&world.client, "CREATE DATABASE copy TEMPLATE busy").await;
    world.wait(&running("busy", LASTING), SOON, "return after TEMPLATE").await;
    let copy = world.cluster.connect("copy").await;
    assert_eq!(text(&copy, "SELECT count(*) FROM pg_extension WHERE extname = 'bigbrotr'").await, "1");
    drop(copy);
    ready(&world, "busy").await;
    timed(&world.client, "CREATE DATABASE other TEMPLATE busy STRATEGY file_copy").await;
    world.wait(&running("busy", LASTING), SOON, "return").await;
}

#[tokio::test]
async fn database_is_renamed_and_moved() {
    let mut world = busy().await;
    timed(&world.client, "ALTER DATABASE busy RENAME TO renamed").await;
    world.cluster.set(&[("bigbrotr.databases", "renamed")]).await;
    ready(&world, "renamed").await;
    let place = world.cluster.dir().join("space");
    world.run(&format!("SELECT 1; COPY (SELECT 1) TO PROGRAM 'cat > /dev/null && mkdir {}'", place.display())).await;
    world.run(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display())).await;
    timed(&world.client, "ALTER DATABASE renamed SET TABLESPACE space").await;
    world.wait(&running("renamed", LASTING), SOON, "return after SET TABLESPACE").await;
    assert_eq!(world.lines("FATAL"), 0, "{}", world.cluster.log());
}

/// A statement of ours waits for a user's lock: DDL gets through all the same.
#[tokio::test]
async fn drop_database_succeeds_while_a_worker_waits_for_a_lock() {
    let world = busy().await;
    let user = world.cluster.connect("busy").await;
    // A prepared transaction would forbid the drop; a session's would too, so it ends while the worker still waits.
    user.batch_execute("BEGIN; LOCK TABLE bigbrotr.event").await.expect("locked");
    let waiting = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE backend_type = 'bigbrotr finder' AND wait_event_type = 'Lock')";
    world.wait(waiting, LONG, "a worker that waits for a lock").await;
    let dropping = timed(&world.client, "DROP DATABASE busy");
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(3000)).await;
        drop(user);
    };
    tokio::join!(dropping, leaving);
}

#[tokio::test]
async fn extension_is_dropped_under_busy_workers_and_created_again() {
    let world =
        world_with(options().with("bigbrotr.databases", SUPERUSER).with("bigbrotr.inject_fault", "finder:busy")).await;
    // stat_workers goes with the extension.
    for round in 0..4 {
        let at_work = "SELECT items >= 100 FROM bigbrotr.stat_workers WHERE service = 'finder'";
        world.wait(at_work, LONG, "work").await;
        timed(&world.client, "DROP EXTENSION bigbrotr CASCADE").await;
        if round > 0 {
            world.wait(NOBODY, SOON, "leave after DROP EXTENSION").await;
        }
        timed(&world.client, "CREATE EXTENSION bigbrotr").await;
        world.wait(&running(SUPERUSER, LASTING), LONG, "return after CREATE EXTENSION").await;
    }
    world.nobody_is_doubled().await;
    assert_eq!(world.lines("FATAL"), 0, "{}", world.cluster.log());
}

#[tokio::test]
async fn extension_is_replaced_in_one_transaction() {
    let world =
        world_with(options().with("bigbrotr.databases", SUPERUSER).with("bigbrotr.inject_fault", "finder:busy")).await;
    let pid = world.pid("finder").await;
    timed(&world.client, "BEGIN; DROP EXTENSION bigbrotr CASCADE; CREATE EXTENSION bigbrotr; COMMIT").await;
    world
        .wait(
            &format!("SELECT pid <> {pid} FROM bigbrotr.stat_workers WHERE service = 'finder'"),
            LONG,
            "another finder",
        )
        .await;
    world.wait(&running(SUPERUSER, LASTING), LONG, "workers of the new extension").await;
    world.nobody_is_doubled().await;
}

#[tokio::test]
async fn schema_goes_with_the_extension_and_not_without() {
    let world = world().await;
    let before = world.lines("has no extension");
    let error = world.client.batch_execute("DROP SCHEMA bigbrotr").await.expect_err("the extension needs it");
    assert_eq!(error.code().expect("an SQL error").code(), "2BP01");
    world.wait(&running(SUPERUSER, LASTING), SOON, "workers").await;
    timed(&world.client, "DROP SCHEMA bigbrotr CASCADE").await;
    world.wait(NOBODY, SOON, "leave").await;
    // A schema of that name which is not ours.
    world.run("CREATE SCHEMA bigbrotr; CREATE TABLE bigbrotr.relay (x int)").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.text(NOBODY).await, "t");
    assert_eq!(world.lines("has no extension"), before + 1, "{}", world.cluster.log());
}

#[tokio::test]
async fn drop_of_another_database_is_not_slowed() {
    let world = busy().await;
    for round in 0..3 {
        world.cluster.create_database("other").await;
        let started = Instant::now();
        world.run("DROP DATABASE other").await;
        println!("round {round}: DROP DATABASE of another: {:.2?}", started.elapsed());
        assert!(started.elapsed() < SOON);
    }
    assert_eq!(world.text(&running("busy", LASTING)).await, "t", "nobody left");
}
