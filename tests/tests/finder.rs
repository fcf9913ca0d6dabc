//! The finder in a real server: nothing is skipped, nothing is counted twice, floods stay small.

use std::{collections::BTreeSet, time::Duration};

use bigbrotr_tests::{Cluster, ClusterOptions, signed};
use secp256k1::{Keypair, SECP256K1};
use tokio_postgres::Client;

const SOON: Duration = Duration::from_secs(60);

fn options(settings: &[(&str, &str)]) -> ClusterOptions {
    let mut options =
        ClusterOptions::preloaded().with("bigbrotr.databases", "postgres").with("bigbrotr.finder_interval", "1");
    for service in ["seeder", "validator", "monitor", "synchronizer", "refresher"] {
        options = options.with(&format!("bigbrotr.{service}_enabled"), "off");
    }
    settings.iter().fold(options, |options, (name, value)| options.with(name, value))
}

async fn installed(cluster: &Cluster) -> Client {
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("the extension can be created");
    client
}

async fn column(client: &Client, sql: &str) -> BTreeSet<String> {
    client.query(sql, &[]).await.expect(sql).iter().map(|row| row.get(0)).collect()
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

const CAUGHT_UP: &str = "SELECT EXISTS (SELECT FROM bigbrotr.service_state AS s WHERE s.service = 'finder' \
     AND (s.state ->> 'seq')::bigint = (SELECT max(seq) FROM bigbrotr.stored_event))";

/// What one session writes: batches of events that each name a URL nobody else names; some roll back, some take their time.
async fn write(client: &Client, writer: usize, round: usize, batches: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let secret = [u8::try_from(writer + 1).expect("few"); 32];
    let keys = Keypair::from_seckey_slice(SECP256K1, &secret).expect("a secret key");
    let (mut kept, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for batch in 0..batches {
        let urls: Vec<String> =
            (0..=batch % 4).map(|n| format!("wss://w{writer}r{round}b{batch}n{n}.nos.lol")).collect();
        let stamp = 1_700_000_000 + i64::try_from(round * 10_000 + batch * 10).expect("small");
        let events: Vec<String> = (0..)
            .zip(&urls)
            .map(|(n, url)| signed::event(&keys, 1, stamp + n, &[vec!["r".into(), url.clone()]], "x"))
            .collect();
        client.batch_execute("BEGIN").await.expect("begun");
        let insert = "SELECT bigbrotr.event_insert($1, 'wss://relay.damus.io')";
        let archived: i32 = client.query_one(insert, &[&events]).await.expect("inserted").get(0);
        assert_eq!(archived as usize, urls.len());
        // In a few cases the archive lock is held while the finder looks several times.
        let pause = match (writer + batch) % 10 {
            0 => "SELECT pg_sleep(0.3)",
            1..=3 => "SELECT pg_sleep(0.02)",
            _ => "SELECT 1",
        };
        client.batch_execute(pause).await.expect("slept");
        if (writer + batch) % 5 == 2 {
            client.batch_execute("ROLLBACK").await.expect("rolled back");
            lost.extend(urls);
        } else {
            client.batch_execute("COMMIT").await.expect("committed");
            kept.extend(urls);
        }
    }
    (kept, lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_skipped_or_counted_twice_whoever_writes_at_the_same_time() {
    let no_limits = [("bigbrotr.max_candidates_per_author", "0"), ("bigbrotr.max_candidates_per_domain", "0")];
    let mut cluster = Cluster::start(options(&no_limits));
    let client = installed(&cluster).await;
    let (mut kept, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..2 {
        let mut sessions = Vec::new();
        for writer in 0..6 {
            let session = cluster.connect("postgres").await;
            sessions.push(tokio::spawn(async move { write(&session, writer, round, 25).await }));
        }
        for session in sessions {
            let (more_kept, more_lost) = session.await.expect("a session that ends");
            kept.extend(more_kept);
            lost.extend(more_lost);
        }
        if round == 0 {
            // In the middle of whatever the finder is doing.
            cluster.kill9();
            cluster.start_server();
        }
    }
    drop(client);
    let client = cluster.connect("postgres").await;
    cluster.wait_for(&client, CAUGHT_UP, SOON, "the finder's watermark").await;
    let found = column(&client, "SELECT url FROM bigbrotr.candidate").await;
    assert!(kept.len() > 300 && lost.len() > 50, "{} and {}", kept.len(), lost.len());
    assert_eq!(kept.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new(), "skipped");
    assert_eq!(found.difference(&kept).collect::<Vec<_>>(), Vec::<&String>::new(), "of transactions that rolled back");
    let wrong =
        "SELECT count(*) FROM bigbrotr.candidate_status WHERE events <> 1 OR authors <> 1 OR sources <> '{event}'";
    assert_eq!(number(&client, wrong).await, 0, "an event is counted once, also when the server crashes");
}

/// Events as rows, unchecked: signing a hundred thousand would take its time. `author` and `tags` are SQL over the number `n`.
async fn archive(client: &Client, from: i32, to: i32, author: &str, tags: &str) {
    let sql = format!(
        "INSERT INTO bigbrotr.event (id, pubkey, created_at, kind, tags, content, sig)
         SELECT sha256(({tags})::text::bytea), sha256(({author})::text::bytea), 1600000000 + n, 1, {tags}, '', sha512('')
         FROM generate_series({from}, {to}) AS n"
    );
    client.batch_execute(&sql).await.expect("archived");
}

#[tokio::test]
async fn floods_stay_small_and_starve_nobody() {
    let cluster = Cluster::start(options(&[]));
    let client = installed(&cluster).await;
    let honest = |name: &str| format!("jsonb_build_array(jsonb_build_array('r', 'wss://honest{name}' || n || '.com'))");
    // 50,000 domains of one author, a hundred in each event.
    let domains = "(SELECT jsonb_agg(jsonb_build_array('r', 'wss://one' || n || 'x' || k || '.com')) FROM generate_series(1, 100) AS k)";
    archive(&client, 1, 500, "1", domains).await;
    archive(&client, 501, 520, "n", &honest("a")).await;
    // 50,000 names below one domain, each of its own author.
    let names = "jsonb_build_array(jsonb_build_array('e', repeat('0', 64), 'wss://n' || n || '.flood.com'))";
    archive(&client, 1_000, 50_999, "n", names).await;
    archive(&client, 60_001, 60_020, "n", &honest("b")).await;
    cluster.wait_for(&client, CAUGHT_UP, Duration::from_secs(120), "the finder's watermark").await;

    let count = |of: &str| format!("SELECT count(*) FROM bigbrotr.candidate WHERE url LIKE 'wss://{of}%'");
    assert_eq!(number(&client, &count("one")).await, 2_000, "of one author in a day");
    assert_eq!(number(&client, &count("n%.flood.com")).await, 1_000, "below one domain");
    assert_eq!(number(&client, &count("honest")).await, 40);
    let rows = "SELECT (SELECT count(*) FROM bigbrotr.candidate_evidence) - (SELECT count(*) FROM bigbrotr.candidate)";
    assert_eq!(number(&client, rows).await, 0, "what is kept out leaves no row");
    let refusals = "SELECT scope || ' ' || refusals FROM bigbrotr.candidate_refusal ORDER BY 1";
    assert_eq!(column(&client, refusals).await, ["author 48000", "domain 49000"].map(String::from).into());
    for (member, wanted) in [("over_author_limit", 48_000), ("over_domain_limit", 49_000), ("over_limit", 0)] {
        let sql = format!(
            "SELECT sum((detail ->> '{member}')::bigint)::bigint FROM bigbrotr.stat_cycles WHERE service = 'finder'"
        );
        cluster.wait_for(&client, &format!("SELECT ({sql}) = {wanted}"), SOON, member).await;
    }

    // Named again when there is room again: it comes in.
    client
        .batch_execute(
            "DELETE FROM bigbrotr.candidate_evidence WHERE domain = 'flood.com' AND url <> 'wss://n1000.flood.com'",
        )
        .await
        .expect("room");
    archive(&client, 50_999, 50_999, "'again'", &names.replace("'e'", "'p'")).await;
    cluster
        .wait_for(
            &client,
            "SELECT count(*) = 1 FROM bigbrotr.candidate WHERE url = 'wss://n50999.flood.com'",
            SOON,
            "what had been refused",
        )
        .await;
}

#[tokio::test]
async fn what_relay_lists_name_is_found_wherever_clients_put_it() {
    let cluster = Cluster::start(options(&[]));
    let client = installed(&cluster).await;
    let keys = Keypair::from_seckey_slice(SECP256K1, &[9; 32]).expect("a secret key");
    let tag = |tag: &[&str]| -> Vec<String> { tag.iter().map(|value| (*value).to_owned()).collect() };
    let profile = "nostr:nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
    let zeros = "0".repeat(64);
    let events: Vec<(u32, Vec<Vec<String>>, &str)> = vec![
        (
            1,
            vec![tag(&["e", &zeros, "wss://e.nos.lol"]), tag(&["p", &zeros, "wss://p.nos.lol/"])],
            "wss://text.nos.lol",
        ),
        (1, vec![tag(&["a", "30023:x:y", "WSS://A.nos.lol"]), tag(&["q", &zeros, "wss://q.nos.lol"])], profile),
        (3, vec![], r#"{"wss:\/\/three.nos.lol":{"read":true}}"#),
        (10002, vec![tag(&["r", "wss://nip65.nos.lol", "read"])], ""),
        (30166, vec![tag(&["d", "wss://d.nos.lol/"]), tag(&["rtt-open", "5"])], "{}"),
        (10050, vec![tag(&["relay", "wss://dm.nos.lol"])], ""),
        (22242, vec![tag(&["relay", "wss://auth.nos.lol"])], ""),
        (2, vec![], "wss://two.nos.lol"),
        (9, vec![tag(&["r", profile])], "wss://127.0.0.1 wss://no.such"),
    ];
    let events: Vec<String> = (0..)
        .zip(&events)
        .map(|(n, (kind, tags, content))| signed::event(&keys, *kind, 1_700_000_000 + n, tags, content))
        .collect();
    client.query_one("SELECT bigbrotr.event_insert($1, 'wss://relay.damus.io')", &[&events]).await.expect("inserted");
    cluster.wait_for(&client, CAUGHT_UP, SOON, "the finder's watermark").await;
    let wanted = ["a", "d", "dm", "e", "nip65", "p", "q", "three", "two"].map(|name| format!("wss://{name}.nos.lol"));
    let wanted = wanted.into_iter().chain(["wss://r.x.com".into(), "wss://djbas.sadkb.com".into()]).collect();
    assert_eq!(column(&client, "SELECT url FROM bigbrotr.candidate").await, wanted);
    let evidence = "SELECT events FROM bigbrotr.candidate_status WHERE url = 'wss://r.x.com'";
    assert_eq!(number(&client, evidence).await, 2, "in a content and in a tag");
}
