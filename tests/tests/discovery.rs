//! Seeder, validator and finder in a real server: from a seed file and from an archived event to rows of `relay`.

use std::{collections::BTreeSet, fs, io::Write, net::TcpListener, os::unix::fs::PermissionsExt, time::Duration};

use bigbrotr_tests::{
    Cluster, ClusterOptions, Relay, RelayHandle, RelayOptions,
    relay::{Auth, Document, Mode, Refusal},
    signed,
};
use secp256k1::{Keypair, SECP256K1};
use tempfile::NamedTempFile;
use tokio_postgres::Client;

const SOON: Duration = Duration::from_secs(20);

/// A seed file the server's user can read.
fn seed_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).expect("ours");
    file
}

fn options(services: &[&str]) -> ClusterOptions {
    let mut options = ClusterOptions::preloaded()
        .with("bigbrotr.databases", "postgres")
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.validator_interval", "1")
        .with("bigbrotr.finder_interval", "1")
        .with("bigbrotr.connect_timeout", "2s")
        .with("bigbrotr.request_timeout", "1s")
        .with("max_worker_processes", "16");
    for service in ["seeder", "finder", "validator", "monitor", "synchronizer", "refresher"] {
        let enabled = if services.contains(&service) { "on" } else { "off" };
        options = options.with(&format!("bigbrotr.{service}_enabled"), enabled);
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

fn relay(options: RelayOptions) -> RelayHandle {
    Relay::start(options)
}

fn mode(mode: Mode) -> RelayHandle {
    relay(RelayOptions { mode, ..RelayOptions::default() })
}

/// URLs of ports nobody listens on.
fn dead_urls<const N: usize>() -> [String; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| format!("ws://{}", listener.local_addr().expect("an address")))
}

#[tokio::test]
async fn seeds_that_answer_as_relays_become_relays_and_nothing_else_does() {
    let relays = [
        relay(RelayOptions::default()),
        relay(RelayOptions::default()),
        relay(RelayOptions { auth: Auth::Required, ..RelayOptions::default() }),
        relay(RelayOptions { refuse: Some(Refusal::rate_limited(1)), ..RelayOptions::default() }),
    ];
    let others = [
        mode(Mode::Echo),
        mode(Mode::Silent),
        mode(Mode::SilentTcp),
        mode(Mode::Http(Document::html(200, "<html>hello</html>"))),
    ];
    let dead = dead_urls::<2>();
    let live: BTreeSet<String> = relays.iter().map(RelayHandle::url).collect();
    let mut lines: Vec<String> = live.iter().cloned().chain(others.iter().map(RelayHandle::url)).collect();
    lines.extend(dead.iter().cloned());
    let seeds = seed_file(&format!("\u{feff}# seeds\r\n{}\r\nno relay at all\r\n", lines.join("\r\n")));

    let options = options(&["seeder", "validator"]).with("bigbrotr.seed_file", &seeds.path().to_string_lossy());
    let cluster = Cluster::start(options);
    let client = installed(&cluster).await;
    let tried = "SELECT count(*) = 4 FROM bigbrotr.relay";
    cluster.wait_for(&client, tried, SOON, "the live relays").await;
    let failed = "SELECT count(*) = 6 AND bool_and(failures > 0) FROM bigbrotr.candidate";
    cluster.wait_for(&client, failed, SOON, "the failures of the others").await;

    assert_eq!(column(&client, "SELECT url FROM bigbrotr.relay").await, live);
    let rest: BTreeSet<String> = others.iter().map(RelayHandle::url).chain(dead).collect();
    assert_eq!(column(&client, "SELECT url FROM bigbrotr.candidate WHERE source = 'seed'").await, rest);
    let classes = "SELECT split_part(last_error, ':', 1) FROM bigbrotr.candidate";
    let classes = column(&client, classes).await;
    assert_eq!(classes, ["http", "protocol", "silence", "tcp"].map(String::from).into());
    let leases = "SELECT count(*)::text FROM bigbrotr.candidate WHERE leased_until IS NOT NULL";
    assert_eq!(text(&client, leases).await, "0");

    let seeded = "SELECT detail ->> 'refused' || ' of ' || (detail ->> 'lines') FROM bigbrotr.stat_cycles WHERE service = 'seeder'";
    assert_eq!(text(&client, seeded).await, "1 of 11");
    let finished = "SELECT state = 'finished' FROM bigbrotr.stat_workers WHERE service = 'seeder'";
    cluster.wait_for(&client, finished, SOON, "the seeder to be finished").await;
    let idle = "SELECT state = 'idle' AND items >= 10 FROM bigbrotr.stat_workers WHERE service = 'validator'";
    cluster.wait_for(&client, idle, SOON, "the validator to be idle").await;
}

#[tokio::test]
async fn relays_named_in_archived_events_become_candidates_and_those_alive_relays() {
    let live = relay(RelayOptions::default());
    let [dead] = dead_urls();
    let cluster = Cluster::start(options(&["finder", "validator"]));
    let client = installed(&cluster).await;

    let keys = Keypair::from_seckey_slice(SECP256K1, &[7; 32]).expect("a secret key");
    let tags = [vec!["e".into(), "0".repeat(64), live.url()], vec!["p".into(), "1".repeat(64), format!("{dead}/")]];
    let event = signed::event(&keys, 1, 1_700_000_000, &tags, "hello");
    let content = format!(r#"{{"{dead}/other":{{"read":true}}}}"#);
    let list = signed::event(&keys, 3, 1_700_000_001, &[], &content);
    let insert = "SELECT bigbrotr.event_insert($1, 'ws://127.0.0.1:1')";
    let inserted: i32 = client.query_one(insert, &[&vec![event, list]]).await.expect("inserted").get(0);
    assert_eq!(inserted, 2);

    let found = format!("SELECT count(*) = 1 FROM bigbrotr.relay WHERE url = '{}'", live.url());
    cluster.wait_for(&client, &found, SOON, "the relay the event names").await;
    let failed = "SELECT count(*) = 2 AND bool_and(failures > 0) FROM bigbrotr.candidate WHERE source = 'event'";
    cluster.wait_for(&client, failed, SOON, "the dead ones it names").await;
    let expected = BTreeSet::from([dead.clone(), format!("{dead}/other")]);
    assert_eq!(column(&client, "SELECT url FROM bigbrotr.candidate").await, expected);
    let watermark = "SELECT s.state ->> 'seq' = (SELECT max(seq)::text FROM bigbrotr.event) FROM bigbrotr.service_state AS s WHERE service = 'finder'";
    cluster.wait_for(&client, watermark, SOON, "the finder's watermark").await;
}

#[tokio::test]
async fn a_killed_validator_leaves_no_lease_to_wait_for() {
    let live = relay(RelayOptions::default());
    let silent = mode(Mode::SilentTcp);
    let mut cluster = Cluster::start(options(&["validator"]).with("bigbrotr.connect_timeout", "60s"));
    let client = installed(&cluster).await;
    client.execute("SELECT bigbrotr.seed(ARRAY[$1])", &[&silent.url()]).await.expect("seeded");
    let leased = "SELECT count(*) = 1 FROM bigbrotr.candidate WHERE leased_until > now()";
    cluster.wait_for(&client, leased, SOON, "a lease").await;
    cluster.kill9();
    silent.set_options(live.options());
    cluster.start_server();
    let client = cluster.connect("postgres").await;
    let promoted = "SELECT count(*) = 1 FROM bigbrotr.relay";
    cluster.wait_for(&client, promoted, SOON, "the candidate to be tried again").await;
}

#[tokio::test]
async fn apis_are_read_by_their_path_and_errors_are_written_to_their_row() {
    let document = r#"{"relays":[{"url":"wss://not-tried.nos.lol/"},{"url":"nonsense"},{"name":"x"}]}"#;
    let api = mode(Mode::Http(Document { content_type: "application/json".into(), ..Document::nip11(document) }));
    let cluster = Cluster::start(options(&["finder"]));
    let client = installed(&cluster).await;
    let address = api.address();
    let insert = format!(
        "INSERT INTO bigbrotr.api_source (url, path) VALUES
         ('http://{address}/good', '$.relays[*].url'), ('http://{address}/empty', 'strict $.nothing'), ('http://127.0.0.1:1/', '$[*]')"
    );
    client.batch_execute(&insert).await.expect("inserted");
    let added = "SELECT count(*) = 1 FROM bigbrotr.candidate WHERE url = 'wss://not-tried.nos.lol' AND source = 'api'";
    cluster.wait_for(&client, added, SOON, "the URL the API lists").await;
    let done = "SELECT bool_and(CASE WHEN url LIKE '%:1/' THEN last_error ~ '^tcp: ' ELSE last_error IS NULL AND url_count IS NOT NULL END) FROM bigbrotr.api_source";
    cluster.wait_for(&client, done, SOON, "the outcomes").await;
}

#[tokio::test]
async fn claims_promotions_and_postponements_do_what_the_validator_expects() {
    let cluster = Cluster::start(options(&[]));
    let client = installed(&cluster).await;
    let seeds =
        "SELECT bigbrotr.seed('{ws://a.nos.lol,wss://a.nos.lol,ws://b.nos.lol,wss://c.nos.lol,wss://d.nos.lol}')";
    client.batch_execute(seeds).await.expect("seeded");
    client
        .batch_execute("INSERT INTO bigbrotr.block VALUES ('wss://b.nos.lol%'), ('wss://d.%')")
        .await
        .expect("blocked");
    client.batch_execute("SELECT bigbrotr.fail_candidate('wss://c.nos.lol', 'tcp: x')").await.expect("failed");
    client
        .batch_execute("UPDATE bigbrotr.candidate SET next_attempt_at = now() WHERE failures > 0")
        .await
        .expect("due");

    let claim = "SELECT url || ' ' || may_try_tls FROM bigbrotr.claim_candidates(10, 60, '{clearnet}', true)";
    let untried = ["ws://a.nos.lol true", "ws://b.nos.lol false", "wss://a.nos.lol true"];
    assert_eq!(column(&client, claim).await, untried.map(String::from).into());
    let claim_all = "SELECT url FROM bigbrotr.claim_candidates(10, 60, '{clearnet}')";
    assert_eq!(column(&client, claim_all).await, ["wss://c.nos.lol".to_owned()].into());
    assert_eq!(text(&client, "SELECT bigbrotr.release_candidates()::text").await, "4");

    // Twice: a repeated answer changes nothing.
    for _ in 0..2 {
        let promote = "SELECT bigbrotr.promote_candidate('wss://a.nos.lol', 'ws://a.nos.lol')";
        client.batch_execute(promote).await.expect("promoted");
        assert_eq!(column(&client, "SELECT url FROM bigbrotr.relay").await, ["wss://a.nos.lol".to_owned()].into());
        let alias = "SELECT a.url || ' is ' || r.url FROM bigbrotr.relay_alias AS a JOIN bigbrotr.relay AS r ON r.id = a.relay_id";
        assert_eq!(column(&client, alias).await, ["ws://a.nos.lol is wss://a.nos.lol".to_owned()].into());
        let gone = "SELECT count(*)::text FROM bigbrotr.candidate WHERE url LIKE '%a.nos.lol'";
        assert_eq!(text(&client, gone).await, "0");
    }
    assert_eq!(text(&client, "SELECT bigbrotr.add_candidates('{ws://a.nos.lol}', 'event')::text").await, "0");

    client.batch_execute("SELECT bigbrotr.defer_candidates('{ws://b.nos.lol}', 60)").await.expect("put off");
    let put_off = "SELECT (failures = 0 AND next_attempt_at > now() + interval '40 seconds')::text FROM bigbrotr.candidate WHERE url = 'ws://b.nos.lol'";
    assert_eq!(text(&client, put_off).await, "true");
}
