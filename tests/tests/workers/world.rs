//! A cluster whose workers have nothing to do on the network.

use std::time::{Duration, Instant};

use bigbrotr_tests::{Cluster, ClusterOptions, cluster::SUPERUSER};
use tokio_postgres::Client;

/// Where the contract says nothing.
pub const LONG: Duration = Duration::from_secs(10);
/// Where it says two seconds.
pub const SOON: Duration = Duration::from_secs(5);
pub const SERVICES: [&str; 6] = ["seeder", "finder", "validator", "monitor", "synchronizer", "refresher"];
/// All but the seeder, which finishes.
pub const LASTING: i64 = 5;

pub struct World {
    pub cluster: Cluster,
    pub client: Client,
}

/// Preloaded, nothing to dial (pg_ident.conf holds comments only), room for many workers.
pub fn options() -> ClusterOptions {
    ClusterOptions::preloaded().with("bigbrotr.seed_file", "pg_ident.conf").with("max_worker_processes", "30")
}

/// A cluster in which the workers of `postgres` run.
pub async fn world() -> World {
    world_with(options().with("bigbrotr.databases", SUPERUSER)).await
}

/// The same from other options.
pub async fn world_with(options: ClusterOptions) -> World {
    let cluster = Cluster::start(options);
    let client = cluster.connect(SUPERUSER).await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("the extension is created");
    let world = World { cluster, client };
    world.wait(&running(SUPERUSER, LASTING), LONG, "all workers").await;
    world
}

/// Whether so many services of a database are past their start.
pub fn running(database: &str, count: i64) -> String {
    format!(
        "SELECT count(*) = {count} FROM bigbrotr.stat_workers
         WHERE database = '{}' AND pid IS NOT NULL AND state IN ('running', 'idle')",
        database.replace('\'', "''")
    )
}

/// Whether no process of a service is left.
pub const NOBODY: &str = "SELECT count(*) = 0 FROM pg_stat_activity
    WHERE backend_type LIKE 'bigbrotr %' AND backend_type <> 'bigbrotr launcher'";

impl World {
    /// Waits, prints and returns what it took.
    pub async fn wait(&self, sql: &str, deadline: Duration, what: &str) -> Duration {
        let started = Instant::now();
        self.cluster.wait_for(&self.client, sql, deadline, what).await;
        println!("{what}: {:.2?}", started.elapsed());
        started.elapsed()
    }

    pub async fn run(&self, sql: &str) {
        run(&self.client, sql).await;
    }

    pub async fn text(&self, sql: &str) -> String {
        text(&self.client, sql).await
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.text(sql).await.parse().expect("a number")
    }

    /// Process of a service.
    pub async fn pid(&self, service: &str) -> i64 {
        let pid = format!("SELECT pid FROM bigbrotr.stat_workers WHERE service = '{service}' AND worker = 1");
        // A worker is in pg_stat_activity a moment before the launcher has noted it.
        self.cluster.wait_for(&self.client, &format!("SELECT ({pid}) IS NOT NULL"), SOON, "a process").await;
        self.number(&pid).await
    }

    /// Lines of the log that contain a text.
    pub fn lines(&self, text: &str) -> usize {
        self.cluster.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Counts the launcher's processes and those of each service: none is doubled.
    pub async fn nobody_is_doubled(&self) {
        let doubled = "SELECT COALESCE(string_agg(backend_type || ' ' || COALESCE(datname, '-'), ', '), '') FROM (
            SELECT backend_type, datname FROM pg_stat_activity WHERE backend_type LIKE 'bigbrotr %'
            GROUP BY 1, 2 HAVING count(*) > 1) AS x";
        assert_eq!(self.text(doubled).await, "");
    }
}

pub async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// One value as text; NULL is empty.
pub async fn text(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    messages
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        })
        .unwrap_or_default()
}
