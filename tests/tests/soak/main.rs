//! Every kind of misbehaviour at once, with the real synchronizer, for several passes. `make soak` runs it at full scale.

mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bigbrotr_tests::{
    Cluster,
    cluster::rss_anon,
    truth::{self, Hole, archive_options, archived, expected, forged, holes, times},
};
use tokio_postgres::Client;
use world::{Class, Member, Scale, network};

/// `bigbrotr.worker_memory`, in MB.
const MEMORY: u64 = 256;

/// The largest anonymous memory of any synchronizer so far, in bytes.
fn watch_memory(client: Client) -> Arc<AtomicU64> {
    let peak = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&peak);
    tokio::spawn(async move {
        let pids = "SELECT pid FROM bigbrotr.stat_workers WHERE service = 'synchronizer' AND pid IS NOT NULL";
        while let Ok(rows) = client.query(pids, &[]).await {
            let sizes = rows.iter().filter_map(|row| rss_anon(u32::try_from(row.get::<_, i32>(0)).ok()?));
            shared.fetch_max(sizes.max().unwrap_or(0), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    peak
}

struct Soak {
    cluster: Cluster,
    client: Client,
    members: Vec<Member>,
    expected: BTreeSet<truth::Pair>,
    deadline: Duration,
}

impl Soak {
    fn name(&self, url: &str) -> &'static str {
        self.members.iter().find(|member| member.relay.url() == url).map_or("?", |member| member.name)
    }

    /// Waits until nothing is missing that the archive does not admit; gives what is missing.
    async fn settled(&self, pass: usize) -> BTreeSet<Hole> {
        let times = times(self.members.iter().map(|member| &member.relay));
        let started = Instant::now();
        loop {
            let holes = holes(&self.client, &self.expected, &times).await;
            let good = |hole: &&Hole| {
                self.members.iter().any(|member| member.class == Class::Good && member.relay.url() == hole.relay)
            };
            let wrong: Vec<_> = holes.iter().filter(|hole| !hole.is_admitted() || good(hole)).collect();
            if wrong.is_empty() {
                println!("pass {pass}: settled after {:.1?}", started.elapsed());
                return holes;
            }
            if started.elapsed() > self.deadline {
                let mut names: Vec<_> = wrong.iter().map(|hole| (self.name(&hole.relay), *hole)).collect();
                names.dedup_by_key(|(name, _)| *name);
                panic!(
                    "pass {pass}: {} seconds are lost without a word; of each relay one:\n{names:#?}\n{}",
                    wrong.len(),
                    self.tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Number of seconds by relay and reason.
    fn admitted(&self, holes: &BTreeSet<Hole>) -> Vec<(&'static str, String, usize)> {
        let mut numbers = BTreeMap::new();
        for hole in holes {
            let reason =
                hole.state.clone().or_else(|| hole.last_error.as_ref().map(|error| format!("absent: {error}")));
            *numbers.entry((self.name(&hole.relay), reason.unwrap_or_default())).or_insert(0) += 1;
        }
        numbers.into_iter().map(|((name, reason), number)| (name, reason, number)).collect()
    }

    fn tail(&self) -> String {
        let log = self.cluster.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Another pass over every relay, whatever their back-off says.
    async fn again(&self) {
        let again = "UPDATE bigbrotr.relay_sync SET next_attempt_at = now(), learned = learned - 'retry_open_at' RETURNING now()::text";
        let rows = self.client.query(again, &[]).await.expect("put forward");
        let since: String = rows.first().expect("a relay").get(0);
        let done = format!("SELECT bool_and(next_attempt_at > '{since}') FROM bigbrotr.relay_sync");
        self.cluster.wait_for(&self.client, &done, self.deadline, "another pass over every relay").await;
    }

    /// Good relays have no gap.
    async fn good_ones_are_complete(&self) {
        let good = self.members.iter().filter(|member| member.class == Class::Good);
        let urls: Vec<_> = good.map(|member| format!("'{}'", member.relay.url())).collect();
        let complete = format!(
            "SELECT count(*) = {} FROM bigbrotr.coverage_gap WHERE relay_url IN ({}) AND isempty(gap)",
            urls.len(),
            urls.join(",")
        );
        let started = Instant::now();
        while !self.client.query_one(&complete, &[]).await.expect("a row").get::<_, bool>(0) {
            if started.elapsed() > self.deadline {
                let open = format!(
                    "SELECT r.url, g.gap::text, s.last_error FROM bigbrotr.relay r LEFT JOIN bigbrotr.coverage_gap g ON g.relay_url = r.url \
                     LEFT JOIN bigbrotr.relay_sync s ON s.relay_id = r.id WHERE r.url IN ({}) AND isempty(g.gap) IS NOT TRUE",
                    urls.join(",")
                );
                let rows = self.client.query(&open, &[]).await.expect("rows");
                let open: Vec<_> = rows
                    .iter()
                    .map(|row| {
                        (self.name(row.get(0)), row.get::<_, Option<String>>(1), row.get::<_, Option<String>>(2))
                    })
                    .collect();
                panic!("good relays are not complete: {open:#?}\n{}", self.tail());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Events sent by good relays.
    fn sent(&self) -> u64 {
        let good = self.members.iter().filter(|member| member.class == Class::Good);
        good.map(|member| member.relay.served().events).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_forged_among_all_kinds_of_relays() {
    let scale = Scale::from_env();
    println!("{scale:?}");
    let members = network(scale);
    let cluster = Cluster::start(archive_options(&[
        // Passes are counted here; listening relays have none.
        ("bigbrotr.live_connections", "0"),
        ("bigbrotr.request_timeout", "2s"),
        ("bigbrotr.idle_timeout", "2s"),
        ("bigbrotr.connect_timeout", "2s"),
        ("bigbrotr.worker_memory", &format!("{MEMORY}MB")),
        ("bigbrotr.synchronizer_concurrency", "16"),
    ]));
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let peak = watch_memory(cluster.connect("postgres").await);
    truth::enrol(&client, members.iter().map(|member| &member.relay)).await;
    let expected = expected(members.iter().map(|member| &member.relay));
    let soak = Soak { cluster, client, members, expected, deadline: scale.deadline };

    let mut archived_before = BTreeSet::new();
    let mut sent_before = 0;
    for pass in 1..=3 {
        if pass > 1 {
            soak.again().await;
        }
        let holes = soak.settled(pass).await;
        soak.good_ones_are_complete().await;
        let forged = forged(&soak.client).await;
        assert!(forged.is_empty(), "{} invalid or double events, such as {}", forged.len(), forged[0]);
        let archived = archived(&soak.client).await;
        let lost: Vec<_> = archived_before.difference(&archived).take(5).collect();
        assert!(lost.is_empty(), "pass {pass} took away {lost:?}");
        let sent = soak.sent();
        println!(
            "pass {pass}: {} of {} pairs archived, {} seconds admitted missing, good relays sent {}, peak memory {} MB",
            archived.intersection(&soak.expected).count(),
            soak.expected.len(),
            holes.len(),
            sent - sent_before,
            peak.load(Ordering::Relaxed) >> 20,
        );
        let good: usize = soak.members.iter().filter(|m| m.class == Class::Good).map(|m| m.relay.held().len()).sum();
        for (name, state, number) in soak.admitted(&holes) {
            println!("        {name}: {number} seconds {state}");
        }
        // Overlaps, re-checks, and the first pages of relays whose behaviour is not known yet.
        let most = if pass == 1 { 3 * good } else { good / 2 + 2_000 };
        assert!(
            sent - sent_before <= most as u64,
            "{} events sent in pass {pass} by relays that hold {good}",
            sent - sent_before
        );
        (archived_before, sent_before) = (archived, sent);
    }
    let peak = peak.load(Ordering::Relaxed);
    assert!(peak > 0 && peak < MEMORY << 20, "a synchronizer grew to {} MB", peak >> 20);
    let log = soak.cluster.log();
    assert!(soak.cluster.is_running() && !log.contains("terminated by signal") && !log.contains("panicked"), "{log}");
}
