//! The validator in a real server: who becomes a relay, who is one already, who is tried again and when.

use std::{collections::BTreeSet, net::TcpListener, time::Duration};

use bigbrotr_tests::{
    Cluster, ClusterOptions, Generator, Relay, RelayHandle, RelayOptions, Spec, Store,
    relay::{Auth, Document, Mode},
    truth::only,
};
use tokio_postgres::Client;

const SOON: Duration = Duration::from_secs(30);

fn options(services: &[&str]) -> ClusterOptions {
    let mut options = ClusterOptions::preloaded()
        .with("bigbrotr.databases", "postgres")
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.validator_interval", "1")
        .with("bigbrotr.connect_timeout", "2s")
        .with("bigbrotr.request_timeout", "1s")
        .with("max_worker_processes", "16");
    for (name, value) in only(services) {
        options = options.with(&name, value);
    }
    options
}

async fn installed(cluster: &Cluster) -> Client {
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("the extension can be created");
    client
}

async fn column(client: &Client, sql: &str) -> BTreeSet<String> {
    client.query(sql, &[]).await.expect(sql).iter().map(|row| row.get(0)).collect()
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

async fn seed(client: &Client, urls: &[String]) {
    client.execute("SELECT bigbrotr.seed($1)", &[&urls]).await.expect("seeded");
}

/// A relay that holds so many events.
fn holding(events: usize, seed: u64) -> RelayHandle {
    let corpus = Generator::new(seed).corpus(events, &Spec::default());
    Relay::start(RelayOptions { events: Store::new(corpus), ..RelayOptions::default() })
}

#[tokio::test]
async fn a_path_that_serves_the_same_as_the_root_is_its_alias() {
    let relay = holding(30, 1);
    let other = holding(30, 2);
    let cluster = Cluster::start(options(&["validator"]));
    let client = installed(&cluster).await;
    let paths: Vec<String> = (0..20).map(|n| format!("{}/p{n}", relay.url())).collect();
    // All at once, so that several prove themselves before any is a relay.
    seed(&client, &[&[relay.url(), other.url()], &paths[..]].concat()).await;
    let done = "SELECT count(*) = 0 FROM bigbrotr.candidate";
    cluster.wait_for(&client, done, SOON, "all to be relays or aliases").await;

    let relays = column(&client, "SELECT url FROM bigbrotr.relay").await;
    assert!(relays.contains(&relay.url()) && relays.contains(&other.url()), "{relays:?}");
    // One path may have been a relay before the root was tried; it keeps its row and is listed as an alias.
    assert!(relays.len() <= 3, "{relays:?}");
    let aliases = format!(
        "SELECT a.url FROM bigbrotr.relay_alias AS a JOIN bigbrotr.relay AS r ON r.id = a.relay_id WHERE r.url = '{}'",
        relay.url()
    );
    let aliases = column(&client, &aliases).await;
    let wanted: BTreeSet<String> = paths.iter().cloned().collect();
    assert!(aliases.is_subset(&wanted), "{aliases:?}");
    let all = "SELECT count(*)::text FROM bigbrotr.relay_alias";
    assert_eq!(text(&client, all).await, "20");
    let evidence = "SELECT bool_and(jsonb_array_length(evidence -> 'newest') = 10 AND evidence ->> 'nip11' ~ '^[0-9a-f]{64}$' AND reason ~ 'same 10 newest events')::text FROM bigbrotr.relay_alias";
    assert_eq!(text(&client, evidence).await, "true");
}

#[tokio::test]
async fn empty_relays_and_those_that_want_authentication_are_never_taken_for_another() {
    let empty = Relay::start(RelayOptions::default());
    let closed = Relay::start(RelayOptions { auth: Auth::Required, ..RelayOptions::default() });
    let small = holding(2, 3);
    let bare = {
        let corpus = Generator::new(4).corpus(9, &Spec::default());
        Relay::start(RelayOptions { events: Store::new(corpus), nip11: None, ..RelayOptions::default() })
    };
    let cluster = Cluster::start(options(&["validator"]));
    let client = installed(&cluster).await;
    let relays = [&empty, &closed, &small, &bare];
    let urls: Vec<String> = relays.iter().flat_map(|relay| [relay.url(), format!("{}/a", relay.url())]).collect();
    seed(&client, &urls).await;
    let all = "SELECT count(*) = 8 FROM bigbrotr.relay";
    cluster.wait_for(&client, all, SOON, "all to be relays").await;
    assert_eq!(text(&client, "SELECT count(*)::text FROM bigbrotr.relay_alias").await, "0");
}

#[tokio::test]
async fn an_alias_that_serves_something_else_by_now_becomes_a_relay() {
    let (one, two, three) = (holding(30, 5), holding(30, 6), holding(30, 8));
    let cluster = Cluster::start(options(&["validator"]));
    let client = installed(&cluster).await;
    // `three` was an alias of `one` 31 days ago; `one/x` was, and still is.
    seed(&client, &[one.url(), two.url()]).await;
    cluster.wait_for(&client, "SELECT count(*) = 2 FROM bigbrotr.relay", SOON, "the relays").await;
    let moved = three.url();
    let insert = format!(
        "INSERT INTO bigbrotr.relay_alias (url, relay_id, reason, checked_at)
         SELECT u.url, r.id, 'once the same', now() - interval '31 days'
         FROM bigbrotr.relay AS r, (VALUES ('{moved}'), ('{one}/x')) AS u(url)
         WHERE r.url = '{one}'",
        one = one.url()
    );
    client.batch_execute(&insert).await.expect("aliases");
    client.batch_execute("SELECT bigbrotr.run_service('validator')").await.expect("woken");
    let promoted = format!("SELECT count(*) = 1 FROM bigbrotr.relay WHERE url = '{moved}'");
    cluster.wait_for(&client, &promoted, SOON, "the former alias to be a relay").await;
    let rest = format!(
        "SELECT count(*) = 1 FROM bigbrotr.relay_alias WHERE url = '{}/x' AND reason ~ '^the same relay as' AND checked_at > now() - interval '1 minute'",
        one.url()
    );
    cluster.wait_for(&client, &rest, SOON, "the other to be confirmed").await;
    assert_eq!(text(&client, "SELECT count(*)::text FROM bigbrotr.relay_alias").await, "1");
    cluster.wait_for(&client, "SELECT count(*) = 0 FROM bigbrotr.candidate", SOON, "nobody to be left").await;
}

#[tokio::test]
async fn two_names_of_this_machine_are_one_relay_also_with_few_and_young_events() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let mut generator = Generator::new(9);
    let events: Vec<String> = (0..4).map(|n| generator.event(1, now as i64 - n, &[], "young")).collect();
    let relay = Relay::start(RelayOptions { events: Store::new(events), ..RelayOptions::default() });
    let cluster = Cluster::start(options(&["validator"]));
    let client = installed(&cluster).await;
    seed(&client, &[relay.url()]).await;
    cluster.wait_for(&client, "SELECT count(*) = 1 FROM bigbrotr.relay", SOON, "the relay").await;
    let other = relay.url().replace("127.0.0.1", "localhost");
    seed(&client, &[other.clone(), format!("{}/path", relay.url())]).await;
    let aliases =
        "SELECT count(*) = 2 FROM bigbrotr.relay_alias WHERE reason ~ 'same NIP-11 document, same 4 newest events'";
    cluster.wait_for(&client, aliases, SOON, "the aliases").await;
    assert_eq!(text(&client, "SELECT count(*)::text FROM bigbrotr.relay").await, "1");
    // And two that differ stay two, however alike their names are.
    let stranger = holding(30, 10);
    let (a, b) = (stranger.url(), stranger.url().replace("127.0.0.1", "localhost"));
    relay.update(|options| options.events = Store::new(Vec::<String>::new()));
    seed(&client, &[a, b]).await;
    let both = "SELECT (SELECT count(*) FROM bigbrotr.relay) = 2 AND (SELECT count(*) FROM bigbrotr.relay_alias) = 3";
    cluster.wait_for(&client, both, SOON, "the stranger").await;
}

#[tokio::test]
async fn the_root_is_the_relay_whoever_was_named_first() {
    let relay = holding(30, 7);
    let cluster = Cluster::start(options(&["validator"]));
    let client = installed(&cluster).await;
    seed(&client, &[format!("{}/junk", relay.url())]).await;
    cluster.wait_for(&client, "SELECT count(*) = 1 FROM bigbrotr.relay", SOON, "the path").await;
    seed(&client, &[relay.url()]).await;
    cluster.wait_for(&client, "SELECT count(*) = 2 FROM bigbrotr.relay", SOON, "the root").await;
    let alias =
        "SELECT a.url || ' ' || r.url FROM bigbrotr.relay_alias AS a JOIN bigbrotr.relay AS r ON r.id = a.relay_id";
    assert_eq!(text(&client, alias).await, format!("{0}/junk {0}", relay.url()));
}

#[tokio::test]
async fn the_better_url_of_a_relay_is_the_relay_and_has_the_aliases_of_the_other() {
    let cluster = Cluster::start(options(&[]));
    let client = installed(&cluster).await;
    for (url, other, wanted) in [
        ("wss://nos.lol", "ws://nos.lol", true),
        ("ws://nos.lol", "wss://nos.lol", false),
        ("wss://nos.lol", "wss://nos.lol/x", true),
        ("wss://nos.lol/x", "wss://nos.lol/y", false),
        ("wss://nos.lol", "wss://nos.lol:7777", true),
        ("wss://nos.lol", "ws://nos.lol:7777/x", true),
        ("ws://nos.lol", "wss://nos.lol/x", false),
        ("wss://nos.lol:7777", "wss://nos.lol/x", false),
        ("ws://nos.lol:7777", "wss://nos.lol/x", false),
        ("wss://nos.lol", "wss://www.nos.lol/x", false),
        ("ws://[2606:4700::1]", "ws://[2606:4700::1]:7777", true),
        ("ws://relay.i2p", "wss://relay.i2p", true),
        ("wss://relay.i2p", "ws://relay.i2p", false),
    ] {
        let sql = "SELECT bigbrotr.is_better_url($1, $2)";
        let row = client.query_one(sql, &[&url, &other]).await.expect("a verdict");
        assert_eq!(row.get::<_, bool>(0), wanted, "{url} {other}");
    }
    let merges = "
        SELECT bigbrotr.add_relay('wss://nos.lol:7777/x');
        SELECT bigbrotr.add_candidates('{wss://nos.lol:7777/y,wss://nos.lol,wss://nos.lol/x}', 'event');
        SELECT bigbrotr.merge_candidate('wss://nos.lol:7777/y', 'wss://nos.lol:7777/y', 1, 'same', '{}');
        SELECT bigbrotr.merge_candidate('wss://nos.lol/x', 'wss://nos.lol/x', 1, 'same', '{}');
        SELECT bigbrotr.merge_candidate('wss://nos.lol', 'wss://nos.lol', r.id, 'same', '{}') FROM bigbrotr.relay AS r WHERE r.url = 'wss://nos.lol/x'";
    client.batch_execute(merges).await.expect("merged");
    let aliases =
        "SELECT a.url || ' ' || r.url FROM bigbrotr.relay_alias AS a JOIN bigbrotr.relay AS r ON r.id = a.relay_id";
    let wanted = ["wss://nos.lol/x", "wss://nos.lol:7777/x", "wss://nos.lol:7777/y"];
    assert_eq!(column(&client, aliases).await, wanted.map(|url| format!("{url} wss://nos.lol")).into());
    assert!(column(&client, "SELECT url FROM bigbrotr.candidate").await.is_empty());
}

#[tokio::test]
async fn what_is_gone_or_another_name_leaves_its_place_below_a_domain() {
    let cluster = Cluster::start(options(&[]).with("bigbrotr.max_relays_per_domain", "3"));
    let client = installed(&cluster).await;
    let setup = "
        SELECT bigbrotr.add_relay(u) FROM unnest('{wss://a.nos.lol,wss://b.nos.lol,wss://c.nos.lol}'::text[]) AS u;
        SELECT bigbrotr.add_candidates('{wss://d.nos.lol,wss://e.nos.lol,wss://f.nos.lol,ws://g.nos.lol}', 'event')";
    client.batch_execute(setup).await.expect("a full domain");
    let admit = async |url: &str| {
        let compared = "ARRAY(SELECT id FROM bigbrotr.relay)";
        let sql = format!("SELECT verdict FROM bigbrotr.admit_candidate('{url}', '{url}', NULL, NULL, {compared})");
        text(&client, &sql).await
    };
    assert_eq!(admit("wss://d.nos.lol").await, "refused");
    client.batch_execute("UPDATE bigbrotr.relay SET state = 'dead' WHERE url = 'wss://a.nos.lol'").await.expect("dead");
    assert_eq!(admit("wss://d.nos.lol").await, "promoted");
    assert_eq!(admit("wss://e.nos.lol").await, "refused");
    let alias = "SELECT bigbrotr.record_alias('wss://b.nos.lol', r.id, 'same') FROM bigbrotr.relay AS r WHERE r.url = 'wss://c.nos.lol'";
    client.batch_execute(alias).await.expect("an alias");
    assert_eq!(admit("wss://e.nos.lol").await, "promoted");
    // Neither the same URL with the other scheme nor an alias that is looked at again gets past the limit.
    client.batch_execute("SELECT bigbrotr.add_twin('ws://g.nos.lol', 'wss://g.nos.lol')").await.expect("a twin");
    assert_eq!(text(&client, "SELECT source FROM bigbrotr.candidate WHERE url = 'wss://g.nos.lol'").await, "event");
    assert_eq!(admit("wss://g.nos.lol").await, "refused");
    client
        .batch_execute("UPDATE bigbrotr.candidate SET source = 'alias' WHERE url = 'wss://f.nos.lol'")
        .await
        .expect("an alias");
    assert_eq!(admit("wss://f.nos.lol").await, "refused");
}

#[tokio::test]
async fn an_alias_is_looked_at_again_when_its_relay_has_died() {
    let cluster = Cluster::start(options(&[]));
    let client = installed(&cluster).await;
    let setup = "
        SELECT bigbrotr.promote_candidate('wss://a.nos.lol', 'wss://www.a.nos.lol');
        SELECT bigbrotr.promote_candidate('wss://b.nos.lol', 'wss://www.b.nos.lol');
        UPDATE bigbrotr.relay_alias SET checked_at = now() - interval '2 days';
        UPDATE bigbrotr.relay SET state = 'dead' WHERE url = 'wss://a.nos.lol';
        SELECT bigbrotr.recheck_aliases()";
    client.batch_execute(setup).await.expect("two relays");
    let due = column(&client, "SELECT url || ' ' || source FROM bigbrotr.candidate").await;
    assert_eq!(due, ["wss://www.a.nos.lol alias".to_owned()].into());
}

#[tokio::test]
async fn a_domain_gets_so_many_relays_unless_the_operator_names_them() {
    let relay = Relay::start(RelayOptions::default());
    let cluster = Cluster::start(options(&["validator"]).with("bigbrotr.max_relays_per_domain", "3"));
    let client = installed(&cluster).await;
    let paths = |name: &str| (0..6).map(|n| format!("{}/{name}{n}", relay.url())).collect::<Vec<_>>();
    client.execute("SELECT bigbrotr.add_candidates($1, 'event')", &[&paths("e")]).await.expect("added");
    let refused = "SELECT count(*) = 3 AND bool_and(failures = 1 AND leased_until IS NULL AND last_error ~ '^limit: 127.0.0.1:\\d+ has 3 relays already')
                   FROM bigbrotr.candidate";
    cluster.wait_for(&client, refused, SOON, "three to be refused").await;
    assert_eq!(text(&client, "SELECT count(*)::text FROM bigbrotr.relay").await, "3");
    seed(&client, &paths("s")).await;
    cluster.wait_for(&client, "SELECT count(*) = 9 FROM bigbrotr.relay", SOON, "those of the operator").await;
}

#[tokio::test]
async fn suspicion_falls_on_relays_of_the_same_host_and_the_oldest_of_the_domain() {
    let cluster = Cluster::start(options(&[]));
    let client = installed(&cluster).await;
    let relays = "SELECT bigbrotr.add_relay(u) FROM unnest('{
        wss://a.nos.lol,wss://a.nos.lol/x/y,wss://a.nos.lol/x,ws://a.nos.lol/z,wss://b.nos.lol,wss://c.nos.lol,
        wss://nos.lol,wss://other.com,wss://co.uk.com}'::text[]) AS u";
    client.batch_execute(relays).await.expect("relays");
    let suspects = async |url: &str| -> Vec<String> {
        let sql = "SELECT relay_url FROM bigbrotr.relay_suspects($1)";
        client.query(sql, &[&url]).await.expect("suspects").iter().map(|row| row.get(0)).collect()
    };
    let [root, x, b, c] = ["wss://a.nos.lol", "wss://a.nos.lol/x", "wss://b.nos.lol", "wss://c.nos.lol"];
    assert_eq!(suspects("wss://a.nos.lol/z").await, ["ws://a.nos.lol/z", root, x, b, c]);
    assert_eq!(suspects("wss://www.a.nos.lol").await, [root, b]);
    assert_eq!(suspects("wss://www.nos.lol").await, ["wss://nos.lol", root]);
    assert!(suspects("wss://x.co.uk").await.is_empty());
    client.batch_execute("UPDATE bigbrotr.relay SET state = 'dead' WHERE url = 'wss://nos.lol'").await.expect("dead");
    client
        .batch_execute(
            "SELECT bigbrotr.record_alias(url, 1, 'the same') FROM bigbrotr.relay WHERE url = 'wss://b.nos.lol'",
        )
        .await
        .expect("an alias");
    assert_eq!(suspects("wss://www.nos.lol").await, [root, c]);
    // An alias whose original has died is the one that is left.
    client.batch_execute("UPDATE bigbrotr.relay SET state = 'dead' WHERE id = 1").await.expect("dead");
    assert!(suspects("wss://www.nos.lol").await.contains(&b.to_owned()));
    client.batch_execute("UPDATE bigbrotr.relay SET state = 'active' WHERE id = 1").await.expect("back");
    client.batch_execute("INSERT INTO bigbrotr.block VALUES ('wss://c.nos.lol%')").await.expect("blocked");
    assert_eq!(suspects("wss://www.nos.lol").await, [root, "wss://a.nos.lol/x/y"]);
}

#[tokio::test]
async fn a_claim_passes_by_what_somebody_else_is_writing() {
    let cluster = Cluster::start(options(&[]));
    let (client, mut other) = (installed(&cluster).await, cluster.connect("postgres").await);
    seed(&client, &(0..20).map(|n| format!("wss://{n}.nos.lol")).collect::<Vec<_>>()).await;
    let due = "UPDATE bigbrotr.candidate SET next_attempt_at = now() - interval '1 hour' WHERE url LIKE 'wss://1_.%'";
    client.batch_execute(due).await.expect("due first");
    let held = other.transaction().await.expect("begun");
    held.batch_execute("SELECT FROM bigbrotr.candidate WHERE url LIKE 'wss://1_.%' FOR UPDATE").await.expect("locked");
    client.batch_execute("SET statement_timeout = '10s'").await.expect("set");
    let claim = "SELECT url FROM bigbrotr.claim_candidates(5, 60, '{clearnet,tor}')";
    let claimed = column(&client, claim).await;
    assert_eq!(claimed.len(), 5);
    assert!(claimed.iter().all(|url| url.len() == "wss://0.nos.lol".len()), "{claimed:?}");
}

#[tokio::test]
async fn retries_climb_from_a_minute_to_a_week_and_faster_where_nothing_will_change_soon() {
    let cluster = Cluster::start(options(&[]));
    let client = installed(&cluster).await;
    seed(&client, &["wss://a.nos.lol".into(), "wss://b.nos.lol".into()]).await;
    let mut pauses = [Vec::new(), Vec::new()];
    for _ in 0..11 {
        for (n, (url, lasting)) in [("wss://a.nos.lol", false), ("wss://b.nos.lol", true)].into_iter().enumerate() {
            let fail = "SELECT bigbrotr.fail_candidate($1, 'tcp: refused', $2)";
            client.execute(fail, &[&url, &lasting]).await.expect("failed");
            let pause =
                "SELECT EXTRACT(epoch FROM next_attempt_at - now())::float8 FROM bigbrotr.candidate WHERE url = $1";
            pauses[n].push(client.query_one(pause, &[&url]).await.expect("a pause").get::<_, f64>(0));
        }
    }
    let (minute, hour, day) = (60.0, 3600.0, 86_400.0);
    let slow = [minute, 5.0 * minute, 30.0 * minute, 2.0 * hour, 8.0 * hour, day, 2.0 * day, 4.0 * day, 7.0 * day];
    let fast = [5.0 * minute, 2.0 * hour, day, 4.0 * day];
    for (ladder, pauses) in [(&slow[..], &pauses[0]), (&fast[..], &pauses[1])] {
        for (step, pause) in pauses.iter().enumerate() {
            let wanted = ladder.get(step).copied().unwrap_or(7.0 * day);
            assert!((0.79 * wanted..=1.21 * wanted).contains(pause), "step {step}: {pause} instead of {wanted}");
        }
    }
    assert_ne!(pauses[0][9], pauses[0][10], "there is jitter");
}

#[tokio::test]
async fn candidates_nobody_hears_of_any_more_expire_also_those_that_could_not_be_tried() {
    let cluster = Cluster::start(options(&[]));
    let client = installed(&cluster).await;
    let old = "now() - interval '31 days', now() - interval '8 days'";
    client
        .batch_execute(&format!(
            "INSERT INTO bigbrotr.candidate (url, network, source, first_seen_at, last_seen_at, failures, last_error) VALUES
               ('wss://dead.nos.lol', 'clearnet', 'event', {old}, 5, 'tcp: connection refused'),
               ('ws://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion', 'tor', 'event', {old}, 0, 'proxy: general SOCKS server failure'),
               ('wss://new.nos.lol', 'clearnet', 'event', now(), now(), 9, 'tcp: connection refused'),
               ('wss://named.nos.lol', 'clearnet', 'event', now() - interval '31 days', now(), 9, 'tcp: no answer'),
               ('wss://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion', 'tor', 'event', {old}, 0, NULL),
               ('wss://waits.nos.lol', 'clearnet', 'operator', {old}, 0, NULL)"
        ))
        .await
        .expect("inserted");
    assert_eq!(
        client.query_one("SELECT bigbrotr.expire_candidates()", &[]).await.expect("expired").get::<_, i32>(0),
        3
    );
    let left = ["wss://named.nos.lol", "wss://new.nos.lol", "wss://waits.nos.lol"].map(String::from);
    assert_eq!(column(&client, "SELECT url FROM bigbrotr.candidate").await, left.into());
}

#[tokio::test]
async fn failures_are_counted_by_class_and_kind() {
    let page = |status| {
        Relay::start(RelayOptions { mode: Mode::Http(Document::html(status, "no")), ..RelayOptions::default() })
    };
    let silent = |mode| Relay::start(RelayOptions { mode, ..RelayOptions::default() });
    let (pages, teapot) = ([page(404), page(404)], page(418));
    let (quiet, dumb, echo) = (silent(Mode::Silent), silent(Mode::SilentTcp), silent(Mode::Echo));
    let plain = Relay::start(RelayOptions::default());
    let cluster = Cluster::start(options(&["validator"]));
    let client = installed(&cluster).await;
    let mut urls: Vec<String> = pages.iter().chain([&teapot, &quiet, &dumb, &echo]).map(RelayHandle::url).collect();
    // A relay without TLS, asked for it.
    urls.push(plain.url().replace("ws://", "wss://"));
    seed(&client, &urls).await;
    let tried = "SELECT bool_and(failures > 0) FROM bigbrotr.candidate";
    cluster.wait_for(&client, tried, SOON, "all to be tried").await;
    let counts = "SELECT class || '|' || COALESCE(kind, '') || '|' || candidates FROM bigbrotr.candidate_failures";
    let wanted = [
        "http|HTTP 404|2",
        "http|HTTP 418|1",
        "silence||2",
        "protocol||1",
        "tls|timeout after 2000 ms in the TLS handshake|1",
    ];
    assert_eq!(column(&client, counts).await, wanted.map(String::from).into());
    // Pages stay pages: not within the minute.
    let lasting = "SELECT split_part(last_error, ':', 1) FROM bigbrotr.candidate WHERE next_attempt_at > now() + interval '3 minutes'";
    assert_eq!(column(&client, lasting).await, ["http", "protocol"].map(String::from).into());
    let fail = "SELECT bigbrotr.fail_candidate($1, 'tls: certificate expired (it ended in 2020: long ago)')";
    client.execute(fail, &[&urls[0]]).await.expect("failed");
    let kind = "SELECT kind FROM bigbrotr.candidate_failures WHERE class = 'tls' AND kind NOT LIKE 'timeout%'";
    assert_eq!(text(&client, kind).await, "certificate expired");
    let example = "SELECT bool_and(example_url IS NOT NULL AND example LIKE class || ': %')::text FROM bigbrotr.candidate_failures";
    assert_eq!(text(&client, example).await, "true");
}

/// Rows of `candidate` this session has read and not reported yet.
async fn read_so_far(transaction: &tokio_postgres::Transaction<'_>) -> i64 {
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE schemaname = 'bigbrotr' AND relname = 'candidate'";
    transaction.query_one(read, &[]).await.expect("counted").get(0)
}

/// What a claim of 100 claims, and rows of `candidate` it reads.
async fn rows_read(client: &mut Client, networks: &str, untried: bool) -> (i64, i64) {
    let transaction = client.transaction().await.expect("begun");
    let before = read_so_far(&transaction).await;
    let claim = format!("SELECT count(*) FROM bigbrotr.claim_candidates(100, 60, '{networks}', {untried})");
    let claimed: i64 = transaction.query_one(&claim, &[]).await.expect("claimed").get(0);
    let after = read_so_far(&transaction).await;
    transaction.rollback().await.expect("undone");
    (claimed, after - before)
}

#[tokio::test]
async fn a_claim_among_very_many_candidates_reads_few() {
    let cluster = Cluster::start(options(&[]));
    let mut client = installed(&cluster).await;
    // Due and off, due and failed before, not due; few that are new.
    let fill = "
        INSERT INTO bigbrotr.candidate (url, network, source, failures, next_attempt_at)
        SELECT 'wss://' || n || '.com', CASE WHEN n % 4 = 0 THEN 'tor' ELSE 'clearnet' END::bigbrotr.network, 'event',
               CASE WHEN n % 1000 = 1 THEN 0 ELSE 1 + n % 3 END,
               now() + CASE WHEN n % 4 = 2 THEN interval '1 day' ELSE interval '-1 day' END + make_interval(secs => n / 1e3)
        FROM generate_series(1, 200000) AS n";
    client.batch_execute(fill).await.expect("filled");
    for analyzed in [false, true] {
        for untried in [true, false] {
            let (claimed, read) = rows_read(&mut client, "{clearnet}", untried).await;
            assert_eq!(claimed, 100);
            assert!(read <= 1_000, "{read} rows read, untried {untried}, analyzed {analyzed}");
        }
        let (claimed, read) = rows_read(&mut client, "{i2p}", false).await;
        assert!(claimed == 0 && read <= 10, "{claimed}, {read}");
        client.batch_execute("ANALYZE bigbrotr.candidate").await.expect("analyzed");
    }
    // Thousands of blocked ones at the head of the queue do not hold up the rest, and not twice.
    client.batch_execute("INSERT INTO bigbrotr.block VALUES ('wss://_.com'), ('wss://__.com'), ('wss://___.com'), ('wss://____.com')")
        .await
        .expect("blocked");
    let claim = "SELECT count(*)::text FROM bigbrotr.claim_candidates(100, 60, '{clearnet}')";
    assert_eq!(text(&client, claim).await, "100");
    let blocked = "SELECT count(*)::text FROM bigbrotr.candidate AS c WHERE bigbrotr.is_blocked(c.url) AND c.leased_until IS NOT NULL";
    assert_eq!(text(&client, blocked).await, "0");
    let (_, read) = rows_read(&mut client, "{clearnet}", false).await;
    assert!(read <= 1_000, "{read}");
}

#[tokio::test]
async fn live_relays_do_not_wait_for_a_thousand_silent_hosts() {
    // On every address of 127/8, each a host of its own. The system takes the connections, and nobody answers.
    let silent = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let live: Vec<RelayHandle> = (0..100).map(|_| Relay::start(RelayOptions::default())).collect();
    let options =
        options(&["validator"]).with("bigbrotr.connect_timeout", "60s").with("bigbrotr.validator_concurrency", "1010");
    let cluster = Cluster::start(options);
    let client = installed(&cluster).await;
    let mut urls: Vec<String> = (0..1_000).map(|n| format!("ws://127.1.{}.{}:{port}", n / 200, 1 + n % 200)).collect();
    urls.extend(live.iter().map(RelayHandle::url));
    seed(&client, &urls).await;
    let all = "SELECT count(*) = 100 FROM bigbrotr.relay";
    cluster.wait_for(&client, all, SOON, "the live ones").await;
    let untried = "SELECT (count(*) = 1000 AND bool_and(failures = 0))::text FROM bigbrotr.candidate";
    assert_eq!(text(&client, untried).await, "true");
}

#[tokio::test]
async fn twenty_cycles_of_failures_leave_no_descriptor_and_no_memory_behind() {
    let bad: Vec<RelayHandle> = [Mode::Echo, Mode::Silent, Mode::SilentTcp, Mode::Http(Document::html(200, "hello"))]
        .into_iter()
        .flat_map(|mode| {
            (0..10).map(move |_| Relay::start(RelayOptions { mode: mode.clone(), ..RelayOptions::default() }))
        })
        .collect();
    let options =
        options(&["validator"]).with("bigbrotr.connect_timeout", "200ms").with("bigbrotr.request_timeout", "200ms");
    let cluster = Cluster::start(options);
    let client = installed(&cluster).await;
    seed(&client, &bad.iter().map(RelayHandle::url).collect::<Vec<_>>()).await;
    let pid = "SELECT pid::text FROM bigbrotr.stat_workers WHERE service = 'validator' AND pid IS NOT NULL";
    let mut sizes = Vec::new();
    for cycle in 1..=20 {
        let done = format!("SELECT count(*) = 40 AND bool_and(failures = {cycle}) FROM bigbrotr.candidate");
        cluster.wait_for(&client, &done, SOON, "a cycle").await;
        let pid: u32 = text(&client, pid).await.parse().expect("a process");
        // Those that were given up are closed when their peer has heard of it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("ours").count();
        sizes.push((descriptors, bigbrotr_tests::cluster::rss_anon(pid).expect("it runs")));
        let due = "UPDATE bigbrotr.candidate SET next_attempt_at = now()";
        client.batch_execute(due).await.expect("due");
        client.batch_execute("SELECT bigbrotr.run_service('validator')").await.expect("woken");
    }
    let (early, late) = (sizes[1], sizes[19]);
    assert!(late.0 <= early.0 + 2, "descriptors: {sizes:?}");
    assert!(late.1 <= early.1 + (4 << 20), "bytes: {sizes:?}");
}

#[tokio::test]
async fn a_relay_that_dies_keeps_its_row_is_tried_on_and_revives() {
    let relay = Relay::start(RelayOptions::default());
    let cluster = Cluster::start(options(&["validator", "monitor"]).with("bigbrotr.monitor_checks", "nip11,rtt"));
    let client = installed(&cluster).await;
    seed(&client, &[relay.url()]).await;
    let good = "SELECT count(*) = 1 FROM bigbrotr.relay_monitor WHERE last_ok_at IS NOT NULL AND failures = 0";
    cluster.wait_for(&client, good, SOON, "a good check").await;

    let well = relay.options();
    relay.set_options(RelayOptions { mode: Mode::Http(Document::html(404, "gone")), ..well.clone() });
    // A week goes by.
    let later =
        "UPDATE bigbrotr.relay_monitor SET last_ok_at = now() - interval '8 days', failures = 5, next_check_at = now()";
    client.batch_execute(later).await.expect("later");
    client.batch_execute("SELECT bigbrotr.run_service('monitor')").await.expect("woken");
    cluster.wait_for(&client, "SELECT state = 'dead' FROM bigbrotr.relay", SOON, "its death").await;
    let daily = "SELECT (next_check_at BETWEEN now() + interval '20 hours' AND now() + interval '33 hours')::text FROM bigbrotr.relay_monitor";
    assert_eq!(text(&client, daily).await, "true");
    // Who names it again does not make it a candidate.
    assert_eq!(
        text(&client, &format!("SELECT bigbrotr.add_candidates('{{{}}}', 'event')::text", relay.url())).await,
        "0"
    );

    relay.set_options(well);
    client.batch_execute("UPDATE bigbrotr.relay_monitor SET next_check_at = now()").await.expect("due");
    client.batch_execute("SELECT bigbrotr.run_service('monitor')").await.expect("woken");
    cluster.wait_for(&client, "SELECT state = 'active' FROM bigbrotr.relay", SOON, "its return").await;
}
