//! The monitor and the refresher in a real server: what they record of relays, and what they clear away.

use std::time::Duration;

use bigbrotr_tests::{
    Cluster, ClusterOptions, Generator, Relay, RelayOptions, Stop,
    generate::now,
    relay::{Auth, Document, Mode, Refusal},
    signed::hex,
};
use tokio_postgres::Client;

const DATABASE: &str = "nostr";
const SERVICES: [&str; 6] = ["seeder", "finder", "validator", "monitor", "synchronizer", "refresher"];
const SOON: Duration = Duration::from_secs(20);

/// A cluster in which only `service` works, every second.
async fn cluster(service: &str, settings: &[(&str, &str)]) -> (Cluster, Client) {
    let mut options = ClusterOptions::preloaded()
        .with("max_worker_processes", "16")
        .with("bigbrotr.databases", DATABASE)
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.connect_timeout", "1000")
        .with("bigbrotr.request_timeout", "1000")
        .with("bigbrotr.monitor_interval", "1")
        .with("bigbrotr.refresher_interval", "1");
    for other in SERVICES {
        options = options.with(&format!("bigbrotr.{other}_enabled"), if other == service { "on" } else { "off" });
    }
    for (name, value) in settings {
        options = options.with(name, value);
    }
    let cluster = Cluster::start(options);
    cluster.create_database(DATABASE).await;
    let client = cluster.connect(DATABASE).await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("the extension can be created");
    (cluster, client)
}

async fn add(client: &Client, url: &str) -> i32 {
    let sql = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet') RETURNING id";
    client.query_one(sql, &[&url]).await.expect("a relay by hand").get(0)
}

async fn one<T>(client: &Client, sql: &str) -> T
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    let row = client.query_one(sql, &[]).await;
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

async fn errors(client: &Client) -> i64 {
    one(client, "SELECT count(*) FROM bigbrotr.stat_cycles WHERE NOT ok").await
}

#[tokio::test]
async fn monitor_shows_a_relay_as_it_is() {
    let (cluster, client) = cluster("monitor", &[]).await;
    let document = r#"{"name":"Ünïcode \u0000 relay","software":"git+https://example.org/x.git","version":"1.2",
        "supported_nips":[1,"11",11,42,"C7",null],"limitation":null,"extra":{"b":1.50,"a":[1e2]}}"#;
    let relay = Relay::start(RelayOptions { nip11: Some(Document::nip11(document)), ..RelayOptions::default() });
    add(&client, &relay.url()).await;
    let seen = "SELECT online FROM bigbrotr.relay_status";
    cluster.wait_for(&client, seen, SOON, "the relay to be online").await;
    let row = client
        .query_one(
            "SELECT s.name, s.software, s.version, s.supported_nips, s.rtt_open_ms > 0 AND s.rtt_read_ms > 0,
                    s.rtt_write_ms IS NULL AND s.last_error IS NULL AND s.state = 'active',
                    m.data -> 'extra' = '{\"a\": [100], \"b\": 1.5}', m.id <> bigbrotr.content_hash(m.data), octet_length(m.id)
             FROM bigbrotr.relay_status AS s, bigbrotr.metadata AS m",
            &[],
        )
        .await
        .expect("one relay with one document");
    assert_eq!(row.get::<_, &str>(0), "Ünïcode \u{FFFD} relay");
    assert_eq!((row.get::<_, &str>(1), row.get::<_, &str>(2)), ("git+https://example.org/x.git", "1.2"));
    assert_eq!(row.get::<_, Vec<i32>>(3), [1, 11, 42]);
    assert!(row.get::<_, bool>(4) && row.get::<_, bool>(5) && row.get::<_, bool>(6));
    // U+0000 is in the address and not in the data.
    assert!(row.get::<_, bool>(7));
    assert_eq!(row.get::<_, i32>(8), 32);
    // Reading shows an unguessable subscription that asks for one event; writing is not tried without permission.
    let served = relay.served();
    assert!(served.requests.iter().all(|request| request.contains(r#""limit":1"#)), "{:?}", served.requests);
    assert_eq!(served.publishes, 0);
    assert!(served.user_agents.iter().all(|agent| agent.starts_with("bigbrotr/")));
    assert!(served.open_peak <= 2);
    assert_eq!(errors(&client).await, 0);
}

#[tokio::test]
async fn an_unchanged_document_extends_its_row_and_a_changed_one_adds_a_row() {
    let (cluster, client) = cluster("monitor", &[]).await;
    let relay = Relay::start(RelayOptions::default());
    add(&client, &relay.url()).await;
    let checks = |n: i32| format!("SELECT count(*) >= {n} FROM bigbrotr.relay_check WHERE ok");
    cluster.wait_for(&client, &checks(3), SOON, "three checks").await;
    let extended = "SELECT count(*) = 1 AND bool_and(last_seen_at > first_seen_at) FROM bigbrotr.relay_metadata";
    assert!(one::<bool>(&client, extended).await);
    assert!(one::<bool>(&client, "SELECT id = bigbrotr.content_hash(data) FROM bigbrotr.metadata").await);
    // The same in other words is the same document.
    let same = r#" { "supported_nips" : [1,11.0,42,45,67], "version":"0.1.0", "software":"bigbrotr-tests", "name":"test relay", "description":"a relay for te\u0073ts"}"#;
    relay.update(|options| options.nip11 = Some(Document::nip11(same)));
    cluster.wait_for(&client, &checks(5), SOON, "two more checks").await;
    assert!(one::<bool>(&client, extended).await);
    relay.update(|options| options.nip11 = Some(Document::nip11(r#"{"name":"changed"}"#)));
    let name = "SELECT name = 'changed' FROM bigbrotr.relay_status";
    cluster.wait_for(&client, name, SOON, "the new document").await;
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM bigbrotr.relay_metadata").await, 2);
    // Back to an older one: a third run, no third document.
    relay.update(|options| options.nip11 = Some(Document::default()));
    let back = "SELECT name = 'test relay' FROM bigbrotr.relay_status";
    cluster.wait_for(&client, back, SOON, "the old document").await;
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM bigbrotr.relay_metadata").await, 3);
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM bigbrotr.metadata").await, 2);
}

#[tokio::test]
async fn failures_are_recorded_with_their_class() {
    let (cluster, client) = cluster("monitor", &[]).await;
    let gone = Relay::start(RelayOptions::default());
    gone.stop();
    let silent = Relay::start(RelayOptions { mode: Mode::SilentTcp, ..RelayOptions::default() });
    let page = Mode::Http(Document::html(200, "<html>a page</html>"));
    let page = Relay::start(RelayOptions { mode: page, ..RelayOptions::default() });
    let mute = Relay::start(RelayOptions { mode: Mode::Silent, ..RelayOptions::default() });
    let echo = Relay::start(RelayOptions { mode: Mode::Echo, ..RelayOptions::default() });
    let overlay = "ws://a234567a234567a234567a234567a234567a234567a234567a234567.onion";
    let expected = [
        (gone.url(), "tcp"),
        (silent.url(), "silence"),
        (page.url(), "http"),
        (mute.url(), "silence"),
        (echo.url(), "silence"),
        ("wss://no-such-host.invalid".to_owned(), "dns"),
        ("nonsense".to_owned(), "url"),
    ];
    for (url, _) in &expected {
        add(&client, url).await;
    }
    client
        .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'tor')", &[&overlay])
        .await
        .expect("an overlay relay");
    let all = "SELECT count(DISTINCT relay_id) = 7 FROM bigbrotr.relay_check";
    cluster.wait_for(&client, all, SOON, "all checks").await;
    for (url, class) in &expected {
        let sql = "SELECT c.ok, c.error_class, c.error IS NOT NULL, s.online, s.last_error LIKE c.error_class || ': %'
                   FROM bigbrotr.relay AS r JOIN bigbrotr.relay_check AS c ON c.relay_id = r.id
                   JOIN bigbrotr.relay_status AS s ON s.url = r.url WHERE r.url = $1 ORDER BY c.checked_at LIMIT 1";
        let row = client.query_one(sql, &[url]).await.expect("a check");
        assert_eq!((row.get::<_, bool>(0), row.get::<_, &str>(1)), (false, *class), "{url}");
        assert!(row.get::<_, bool>(2) && !row.get::<_, bool>(3) && row.get::<_, bool>(4), "{url}");
    }
    let lone = "SELECT count(*) FROM bigbrotr.relay_check AS c JOIN bigbrotr.relay AS r ON r.id = c.relay_id WHERE r.network = 'tor'";
    assert_eq!(one::<i64>(&client, lone).await, 0, "an overlay without a proxy is off, not dead");
    assert_eq!(errors(&client).await, 0);
    assert!(one::<bool>(&client, "SELECT bool_and(state = 'active') FROM bigbrotr.relay").await);
}

#[tokio::test]
async fn whoever_refuses_to_be_read_is_still_there() {
    let (cluster, client) = cluster("monitor", &[]).await;
    let refusal = |text: &str, notice| {
        let refuse = Some(Refusal { every: 1, text: text.to_owned(), notice });
        Relay::start(RelayOptions { refuse, ..RelayOptions::default() })
    };
    let auth = |auth| Relay::start(RelayOptions { auth, ..RelayOptions::default() });
    let relays = [
        (auth(Auth::Required), "CLOSED auth-required%", true),
        (refusal("restricted: members only", false), "CLOSED restricted: members only", true),
        (refusal("rate-limited: slow down", false), "CLOSED rate-limited%", true),
        (refusal("ERROR: too many REQs", true), "NOTICE ERROR: too many REQs", false),
        (auth(Auth::Silent), "AUTH%", false),
    ];
    for (relay, ..) in &relays {
        add(&client, &relay.url()).await;
    }
    let all = "SELECT count(DISTINCT relay_id) = 5 FROM bigbrotr.relay_check";
    cluster.wait_for(&client, all, SOON, "all checks").await;
    for (relay, error, was_read) in &relays {
        let sql = "SELECT c.ok, c.read_ms IS NOT NULL, c.error LIKE $2, c.error_class IS NULL, c.error
                   FROM bigbrotr.relay_check AS c JOIN bigbrotr.relay AS r ON r.id = c.relay_id
                   WHERE r.url = $1 ORDER BY c.checked_at LIMIT 1";
        let row = client.query_one(sql, &[&relay.url(), error]).await.expect("a check");
        let (ok, read, like, no_class) = (row.get::<_, bool>(0), row.get(1), row.get(2), row.get(3));
        assert_eq!((ok, read, like, no_class), (true, *was_read, true, true), "{:?}", row.get::<_, Option<&str>>(4));
    }
}

#[tokio::test]
async fn no_document_stops_the_monitor() {
    let (cluster, client) = cluster("monitor", &[]).await;
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(9000), "]".repeat(9000));
    let bom = "\u{FEFF}{\"name\":\"bom\"}";
    let html = |text: &str| Document::html(200, text);
    let gzip = Document { body: b"\x1f\x8b\x08\x00\x00\x00".to_vec(), ..Document::nip11("") };
    let redirect = |location: &str| Document {
        status: 302,
        headers: vec![("Location".into(), location.into())],
        ..Document::nip11("")
    };
    // The document, whether it is stored, and why it goes to quarantine.
    let cases: Vec<(Option<Document>, bool, Option<&str>)> = vec![
        (Some(Document::nip11("{}")), true, None),
        (Some(Document::nip11(bom)), true, None),
        (Some(html(r#"{"name":"typed as html"}"#)), true, None),
        (Some(Document::nip11(r#"{"name":{"a":1},"supported_nips":"1","version":7,"limitation":[null]}"#)), true, None),
        (
            Some(Document::nip11(r#"{"a\u0000":"\u0000","supported_nips":[1e300,-1,"x",{"a":[]},99999999999999]}"#)),
            true,
            None,
        ),
        (Some(Document::nip11(r#"{"x":1e400}"#)), true, None),
        (Some(Document::huge(200 << 10)), true, None),
        (Some(Document::huge(300 << 10)), false, None),
        (Some(html("<html>welcome</html>")), false, Some("nip11_not_json")),
        (Some(Document::nip11("[1]")), false, Some("nip11_not_json")),
        (Some(Document::nip11("{\"name\":")), false, Some("nip11_not_json")),
        (Some(Document::nip11(r#"{"name":"\ud800"}"#)), true, Some("nip11_repaired")),
        (Some(Document::nip11(&b"{\"name\":\"\xff\"}"[..])), true, Some("nip11_repaired")),
        (Some(Document::nip11("{\"description\":\"two\nlines\"}")), true, Some("nip11_repaired")),
        (Some(gzip), false, Some("nip11_compressed")),
        (Some(Document::nip11(deep)), false, Some("nip11_excessive")),
        (Some(Document::nip11(r#"{"x":1e999999999}"#)), false, Some("nip11_excessive")),
        (Some(Document::nip11(format!(r#"{{"x":{}}}"#, "9".repeat(200_000)))), false, Some("nip11_excessive")),
        (Some(Document::html(404, "<html>nothing</html>")), false, None),
        (Some(Document::html(503, r#"{"name":"busy"}"#)), false, None),
        (Some(Document::nip11("")), false, None),
        (Some(redirect("http://169.254.169.254/latest")), false, None),
        (Some(Document { delay: Duration::from_secs(5), ..Document::default() }), false, None),
        (None, false, None),
    ];
    let count = cases.len();
    let mut relays = Vec::new();
    for (document, stored, reason) in cases {
        let relay = Relay::start(RelayOptions { nip11: document.clone(), ..RelayOptions::default() });
        let id = add(&client, &relay.url()).await;
        relays.push((relay, id, document, stored, reason));
    }
    let all = format!(
        "SELECT count(*) = {count} FROM (SELECT relay_id FROM bigbrotr.relay_check GROUP BY 1 HAVING count(*) >= 2) AS c"
    );
    cluster.wait_for(&client, &all, SOON, "two checks of each").await;
    for (_, id, document, stored, reason) in &relays {
        let sql = "SELECT EXISTS (SELECT FROM bigbrotr.relay_metadata WHERE relay_id = $1),
                          (SELECT string_agg(reason, ',') FROM bigbrotr.quarantine WHERE relay_id = $1),
                          (SELECT bool_and(ok) FROM bigbrotr.relay_check WHERE relay_id = $1)";
        let row = client.query_one(sql, &[id]).await.expect("a row");
        let text = document.as_ref().map(|d| String::from_utf8_lossy(&d.body).chars().take(80).collect::<String>());
        assert_eq!((row.get::<_, bool>(0), row.get::<_, Option<&str>>(1)), (*stored, *reason), "{text:?}");
        assert!(row.get::<_, bool>(2), "the relay answers whatever its document is: {text:?}");
    }
    assert_eq!(
        one::<i64>(&client, "SELECT count(*) FROM bigbrotr.relay_status WHERE url IS NOT NULL").await,
        count as i64
    );
    assert_eq!(one::<String>(&client, "SELECT name FROM bigbrotr.relay_status WHERE name LIKE 'b%'").await, "bom");
    assert_eq!(errors(&client).await, 0);
    let unrecorded = "SELECT sum((detail ->> 'unrecorded')::int) FROM bigbrotr.stat_cycles";
    assert_eq!(one::<i64>(&client, unrecorded).await, 0);
}

#[tokio::test]
async fn what_becomes_different_is_told() {
    let (cluster, client) = cluster("monitor", &[]).await;
    let relay = Relay::start(RelayOptions::default());
    add(&client, &relay.url()).await;
    cluster.wait_for(&client, "SELECT online FROM bigbrotr.relay_status", SOON, "the first check").await;
    relay.update(|options| options.nip11 = Some(Document::nip11(r#"{"name":"test relay","supported_nips":[1,"7D"]}"#)));
    let told = "SELECT count(*) = 2 FROM bigbrotr.relay_changelog WHERE what IN ('nips', 'software')";
    cluster.wait_for(&client, told, SOON, "the changes").await;
    let nips = "SELECT new FROM bigbrotr.relay_changelog WHERE what = 'nips'";
    assert_eq!(one::<String>(&client, nips).await, r#"["1", "7D"]"#);
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM bigbrotr.relay_changelog WHERE what = 'name'").await, 0);
    let page = Mode::Http(Document::html(503, "<html>busy</html>"));
    relay.update(|options| options.mode = page.clone());
    let down = "SELECT count(*) = 1 FROM bigbrotr.relay_outage WHERE up_at IS NULL AND error_class = 'http'";
    cluster.wait_for(&client, down, SOON, "the outage").await;
    relay.update(|options| options.mode = Mode::Nostr);
    // It is looked at again a minute later, or when somebody asks.
    let up =
        "SELECT bigbrotr.check_now() IS NOT NULL AND count(*) = 1 FROM bigbrotr.relay_outage WHERE up_at > down_at";
    cluster.wait_for(&client, up, SOON, "its end").await;
    let flips = "SELECT string_agg(what, ' ' ORDER BY id) FROM bigbrotr.relay_changelog WHERE what IN ('up', 'down')";
    assert_eq!(one::<String>(&client, flips).await, "down up");
    let uptime = "SELECT uptime_1d > 0 AND uptime_1d < 1 FROM bigbrotr.relay_uptime";
    assert!(one::<bool>(&client, uptime).await);
    assert_eq!(errors(&client).await, 0);
}

#[tokio::test]
async fn leases_of_a_crashed_monitor_are_nobodys() {
    let (mut cluster, client) = cluster("monitor", &[("bigbrotr.monitor_interval", "3600")]).await;
    let relay = Relay::start(RelayOptions::default());
    let id = add(&client, &relay.url()).await;
    cluster.wait_for(&client, "SELECT count(*) = 1 FROM bigbrotr.relay_check", SOON, "the first check").await;
    let claim = "UPDATE bigbrotr.relay_monitor SET next_check_at = now(), last_ok_at = NULL, leased_until = now() + interval '1 day'";
    client.batch_execute(claim).await.expect("claimed");
    cluster.restart(Stop::Immediate);
    let client = cluster.connect(DATABASE).await;
    let again = format!("SELECT count(*) = 2 FROM bigbrotr.relay_check WHERE relay_id = {id}");
    cluster.wait_for(&client, &again, SOON, "the check of the successor").await;
    let state = "SELECT bool_and(leased_until IS NULL) FROM bigbrotr.relay_monitor";
    cluster.wait_for(&client, state, SOON, "the lease to end").await;
}

#[tokio::test]
async fn a_relay_is_checked_at_its_age_and_when_somebody_asks() {
    let (cluster, client) = cluster("monitor", &[("bigbrotr.monitor_interval", "3600")]).await;
    let relay = Relay::start(RelayOptions::default());
    add(&client, &relay.url()).await;
    cluster.wait_for(&client, "SELECT count(*) = 1 FROM bigbrotr.relay_check", SOON, "the first check").await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(relay.served().websockets, 1, "an hour has not passed");
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM bigbrotr.stat_cycles").await, 1, "idle looks leave no row");
    assert!(one::<bool>(&client, "SELECT bigbrotr.run_service('monitor')").await);
    cluster.wait_for(&client, "SELECT count(*) = 2 FROM bigbrotr.relay_check", SOON, "the check asked for").await;
    let next = "SELECT next_check_at - now() BETWEEN interval '50 minutes' AND interval '70 minutes' FROM bigbrotr.relay_monitor";
    assert!(one::<bool>(&client, next).await);
}

#[tokio::test]
async fn blocked_relays_are_left_alone() {
    let (cluster, client) = cluster("monitor", &[]).await;
    client.batch_execute("INSERT INTO bigbrotr.block (pattern) VALUES ('%127.0.0.1%')").await.expect("blocked");
    let relay = Relay::start(RelayOptions::default());
    add(&client, &relay.url()).await;
    let gone = Relay::start(RelayOptions::default());
    add(&client, &gone.url().replace("127.0.0.1", "localhost")).await;
    cluster.wait_for(&client, "SELECT count(*) >= 1 FROM bigbrotr.relay_check", SOON, "the other one's check").await;
    assert_eq!(relay.served().connections, 0);
}

#[tokio::test]
async fn history_and_quarantine_are_kept_for_their_time() {
    let settings = [("bigbrotr.history_retention", "3600"), ("bigbrotr.quarantine_retention", "7200")];
    let (cluster, client) = cluster("refresher", &settings).await;
    let setup = "
        INSERT INTO bigbrotr.relay (id, url, network) OVERRIDING SYSTEM VALUE VALUES (100, 'wss://relay-a.com', 'clearnet');
        INSERT INTO bigbrotr.stat_cycles (service, started_at, finished_at, ok, items)
          SELECT 'finder', now() - h * interval '1 hour', now() - h * interval '1 hour', true, 7 FROM generate_series(0, 12000) AS h;
        INSERT INTO bigbrotr.relay_check (relay_id, checked_at, ok)
          SELECT 100, now() - h * interval '40 minutes', true FROM generate_series(0, 12000) AS h;
        INSERT INTO bigbrotr.quarantine (seen_at, reason, bytes, size, hash)
          SELECT now() - h * interval '90 minutes', 'test', '', 0, h::text::bytea FROM generate_series(0, 12000) AS h;
        INSERT INTO bigbrotr.metadata (id, type, data) VALUES ('\\x01', 'nip11_info', '{}'), ('\\x02', 'nip11_info', '{}'),
          ('\\x03', 'nip11_info', '{}');
        INSERT INTO bigbrotr.relay_metadata (relay_id, type, metadata_id, first_seen_at, last_seen_at) VALUES
          (100, 'nip11_info', '\\x01', now() - interval '9 days', now() - interval '8 days'),
          (100, 'nip11_info', '\\x02', now() - interval '7 days', now() - interval '6 days');
    ";
    client.batch_execute(setup).await.expect("history");
    let done = "SELECT (SELECT count(*) FROM bigbrotr.stat_cycles WHERE service = 'finder') = 1
                   AND (SELECT count(*) FROM bigbrotr.relay_check) = 2
                   AND (SELECT count(*) FROM bigbrotr.quarantine) = 2
                   -- What relays said stays, however old; a document nobody has goes.
                   AND (SELECT count(*) FROM bigbrotr.relay_metadata) = 2
                   AND (SELECT count(*) FROM bigbrotr.metadata) = 2";
    cluster.wait_for(&client, done, SOON, "old history to go").await;
    let counted = "SELECT sum((detail ->> 'quarantine')::int) FROM bigbrotr.stat_cycles WHERE service = 'refresher'";
    cluster.wait_for(&client, &format!("SELECT ({counted}) = 11999"), SOON, "the counts").await;
    assert_eq!(errors(&client).await, 0);
}

#[tokio::test]
async fn blocks_are_applied_and_taken_back() {
    let (cluster, client) = cluster("refresher", &[]).await;
    let setup = "
        INSERT INTO bigbrotr.relay (url, network) VALUES ('wss://a.bad.example', 'clearnet'), ('wss://good.example', 'clearnet');
        INSERT INTO bigbrotr.candidate (url, network, source) VALUES ('wss://b.bad.example', 'clearnet', 'operator');
        INSERT INTO bigbrotr.block (pattern) VALUES ('wss://%.bad.example');
    ";
    client.batch_execute(setup).await.expect("set up");
    let blocked =
        "SELECT (SELECT array_agg(url) FROM bigbrotr.relay WHERE state = 'blocked') = ARRAY['wss://a.bad.example']
                      AND (SELECT last_error IS NULL FROM bigbrotr.candidate)";
    cluster.wait_for(&client, blocked, SOON, "the block to be applied").await;
    let put_off = "SELECT FROM bigbrotr.claim_candidates(10, 60, '{clearnet}')";
    client.batch_execute(put_off).await.expect("its turn comes");
    let kept = "SELECT last_error ~ '^blocked: ' AND next_attempt_at > now() FROM bigbrotr.candidate";
    assert!(one::<bool>(&client, kept).await, "a pattern may be a mistake: nobody is forgotten over it");
    client.batch_execute("DELETE FROM bigbrotr.block").await.expect("taken back");
    let free = "SELECT bool_and(state = 'active') AND (SELECT last_error IS NULL AND next_attempt_at <= now() FROM bigbrotr.candidate) FROM bigbrotr.relay";
    cluster.wait_for(&client, free, SOON, "the block to be taken back").await;
}

#[tokio::test]
async fn a_table_that_changed_is_analyzed() {
    let (cluster, client) = cluster("refresher", &[("autovacuum", "off")]).await;
    let fill = "INSERT INTO bigbrotr.candidate (url, network, source)
                SELECT 'wss://r' || n || '.example', 'clearnet', 'seed' FROM generate_series(1, 3000) AS n";
    client.batch_execute(fill).await.expect("filled");
    let analyzed = "SELECT count(*) = 1 FROM pg_stat_user_tables WHERE relname = 'candidate' AND analyze_count = 1";
    cluster.wait_for(&client, analyzed, SOON, "the analysis").await;
    let told = "SELECT EXISTS (SELECT FROM bigbrotr.stat_cycles WHERE detail -> 'analyzed' ? 'bigbrotr.candidate')";
    cluster.wait_for(&client, told, SOON, "the report of it").await;
}

#[tokio::test]
async fn events_beyond_their_retention_leave_with_their_sightings() {
    let (mut cluster, client) = cluster("refresher", &[]).await;
    let mut generator = Generator::new(1);
    // One clock reading: a tick in between would make two of them the same event.
    let start = now();
    let old: Vec<String> = (0..2500).map(|n| generator.event(1, start - 100_000 - n, &[], "old")).collect();
    let young: Vec<String> = (0..20).map(|n| generator.event(1, start - 100 - n, &[], "young")).collect();
    for (events, relay) in [(&old, "wss://relay-a.com"), (&young, "wss://relay-a.com"), (&old, "wss://relay-b.com")] {
        client.execute("SELECT bigbrotr.event_insert($1, $2)", &[events, &relay]).await.expect("archived");
    }
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM bigbrotr.event").await, 2520);
    cluster.set(&[("bigbrotr.event_retention", "50000")]).await;
    let gone = "SELECT count(*) = 20 AND bool_and(content = 'young') FROM bigbrotr.event";
    cluster.wait_for(&client, gone, SOON, "old events to go").await;
    assert_eq!(one::<i64>(&client, "SELECT coalesce(sum(n), 0) FROM bigbrotr.sighting").await, 20);
    let stray = "SELECT count(*) FROM bigbrotr.sighting AS s, unnest(bigbrotr.sighting_members(s.members)) AS m (seq)
                 WHERE NOT EXISTS (SELECT FROM bigbrotr.event AS e WHERE e.seq = m.seq)";
    assert_eq!(one::<i64>(&client, stray).await, 0);
    let told = "SELECT sum((detail ->> 'expired')::int) = 2500 FROM bigbrotr.stat_cycles";
    cluster.wait_for(&client, told, SOON, "the counts").await;
    assert_eq!(errors(&client).await, 0);
}

#[tokio::test]
async fn what_vanished_authors_wrote_is_removed_but_not_their_request() {
    let (mut cluster, client) = cluster("refresher", &[("bigbrotr.vanish_enabled", "on")]).await;
    cluster.set(&[("bigbrotr.refresher_enabled", "off")]).await;
    let mut generator = Generator::new(2);
    let at = now() - 1000;
    let tag = |parts: &[&str]| vec![parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>()];
    let gone = hex(&generator.author(0).x_only_public_key().0.serialize());
    let mut events: Vec<String> = (0..30).map(|n| generator.event_by(0, 1, at - 10 - n, &[], "mine")).collect();
    events.push(generator.event_by(0, 5, at - 5, &tag(&["e", &"0".repeat(64)]), "my deletion"));
    events.push(generator.event_by(0, 1, at + 5, &[], "kept: after the request"));
    events.push(generator.event_by(1, 1059, at - 3, &tag(&["p", &gone]), "wrap"));
    events.push(generator.event_by(1, 1059, at + 3, &tag(&["p", &gone]), "kept: later wrap"));
    events.push(generator.event_by(1, 1059, at - 3, &tag(&["p", &"a".repeat(64), &gone]), "kept: another's wrap"));
    events.push(generator.event_by(1, 1, at - 3, &tag(&["p", &gone]), "kept: mention"));
    events.push(generator.event_by(0, 62, at, &tag(&["relay", "ALL_RELAYS"]), "kept: request"));
    client.execute("SELECT bigbrotr.event_insert($1, 'wss://relay-a.com')", &[&events]).await.expect("archived");
    let late = vec![generator.event_by(2, 1059, at - 1, &tag(&["p", &gone]), "late wrap")];
    cluster.set(&[("bigbrotr.refresher_enabled", "on")]).await;
    let kept = "SELECT count(*) = 5 AND bool_and(content LIKE 'kept%') FROM bigbrotr.event";
    cluster.wait_for(&client, kept, SOON, "the author's events to go").await;
    client.execute("SELECT bigbrotr.event_insert($1, 'wss://relay-a.com')", &[&late]).await.expect("archived");
    cluster.wait_for(&client, kept, SOON, "a wrap that came later to go").await;
    assert_eq!(one::<i64>(&client, "SELECT sum(n) FROM bigbrotr.sighting").await, 5);
    assert_eq!(one::<i64>(&client, "SELECT count(*) FROM bigbrotr.vanish").await, 1);
    assert_eq!(errors(&client).await, 0);
}
