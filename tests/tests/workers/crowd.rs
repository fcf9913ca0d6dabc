//! Several databases, odd names, and too little room.

use std::time::Duration;

use bigbrotr_tests::{Cluster, cluster::SUPERUSER};

use crate::world::{LASTING, LONG, SOON, World, options, running, text, world_with};

#[tokio::test]
async fn two_databases_are_independent() {
    let mut world = world_with(options().with("bigbrotr.databases", SUPERUSER)).await;
    world.cluster.create_database("two").await;
    let two = world.cluster.connect("two").await;
    two.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    world.cluster.set(&[("bigbrotr.databases", "postgres, two, postgres, two")]).await;
    world.wait(&running("two", LASTING), SOON, "workers of the second").await;
    assert_eq!(world.number("SELECT count(*) FROM bigbrotr.stat_workers").await, 12);
    world.nobody_is_doubled().await;
    let first = "SELECT string_agg(pid::text, ',' ORDER BY service) FROM bigbrotr.stat_workers WHERE database = 'postgres' AND service <> 'seeder'";
    let before = world.text(first).await;
    assert_eq!(text(&two, "SELECT bigbrotr.run_service('finder')").await, "t");
    assert_eq!(text(&two, "SELECT bigbrotr.stop_workers() BETWEEN 5 AND 6").await, "t");
    assert_eq!(text(&two, "SELECT bigbrotr.run_service('finder')").await, "f");
    two.batch_execute("DROP EXTENSION bigbrotr CASCADE").await.expect("dropped");
    drop(two);
    world.run("DROP DATABASE two").await;
    world.cluster.set(&[("bigbrotr.databases", "postgres")]).await;
    world.wait("SELECT count(*) = 6 FROM bigbrotr.stat_workers", SOON, "one database").await;
    assert_eq!(world.text(first).await, before, "the first was not concerned");
}

#[tokio::test]
async fn odd_names_are_served() {
    let longest = "x".repeat(63);
    let names = ["Upper Case", "quo\"te", "apo'strophe", "com,ma", "bäckslash\\", " blank ", longest.as_str()];
    let cluster = Cluster::start(
        options()
            .with("max_worker_processes", "60")
            .with("max_connections", "60")
            .with("bigbrotr.seeder_enabled", "off"),
    );
    for name in names {
        cluster.create_database(name).await;
        let client = cluster.connect(name).await;
        client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    }
    let client = cluster.connect(SUPERUSER).await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let mut world = World { cluster, client };
    let list = names.map(|name| format!("\"{}\"", name.replace('"', "\"\""))).join(", ");
    world.cluster.set(&[("bigbrotr.databases", &list)]).await;
    for name in names {
        world.wait(&running(name, LASTING), Duration::from_secs(30), name).await;
    }
    let client = world.cluster.connect("quo\"te").await;
    assert_eq!(text(&client, "SELECT bigbrotr.stop_workers()").await, "5");
    assert_eq!(text(&client, "SELECT bigbrotr.start_workers()").await, "5");
}

#[tokio::test]
async fn too_few_worker_processes_are_named_once() {
    // The server's own logical replication launcher takes one.
    let cluster = Cluster::start(
        options()
            .with("max_worker_processes", "5")
            .with("bigbrotr.databases", SUPERUSER)
            .with("bigbrotr.seeder_enabled", "off"),
    );
    let client = cluster.connect(SUPERUSER).await;
    let mut world = World { cluster, client };
    world.run("CREATE EXTENSION bigbrotr").await;
    world.wait(&running(SUPERUSER, 3), LONG, "the services that fit").await;
    let rest = "SELECT count(*) = 2 FROM bigbrotr.stat_workers WHERE state = 'backoff' AND pid IS NULL AND last_error LIKE 'no background worker slot%'";
    world.wait(rest, LONG, "the services that do not").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.lines("no background worker slot"), 1, "{}", world.cluster.log());
    assert_eq!(world.lines("bigbrotr needs 6 of max_worker_processes, which is 5"), 1, "{}", world.cluster.log());
    // A place that becomes free is taken.
    world.cluster.set(&[("bigbrotr.finder_enabled", "off"), ("bigbrotr.validator_enabled", "off")]).await;
    let disabled = "SELECT count(*) = 3 FROM bigbrotr.stat_workers WHERE state = 'disabled'";
    world.wait(disabled, SOON, "three disabled services").await;
    world.wait(&running(SUPERUSER, 3), LONG, "the other services").await;
}
