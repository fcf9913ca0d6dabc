//! Tor, I2P and Lokinet through a SOCKS5 proxy that stands in for them, with the real workers; and addresses that no worker connects to.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use bigbrotr_tests::{
    Cluster, ClusterOptions, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, generate,
    socks::{SocksProxy, Unknown},
};
use tokio_postgres::Client;

const ONION: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
const SOON: Duration = Duration::from_secs(60);

fn options(services: &[&str]) -> ClusterOptions {
    let mut options = ClusterOptions::preloaded()
        .with("max_worker_processes", "16")
        .with("bigbrotr.databases", "postgres")
        .with("bigbrotr.validator_interval", "1")
        .with("bigbrotr.monitor_interval", "1")
        .with("bigbrotr.synchronizer_interval", "1")
        .with("bigbrotr.finder_interval", "1")
        .with("bigbrotr.connect_timeout", "2s")
        .with("bigbrotr.request_timeout", "2s");
    for service in ["seeder", "finder", "validator", "monitor", "synchronizer", "refresher"] {
        let enabled = if services.contains(&service) { "on" } else { "off" };
        options = options.with(&format!("bigbrotr.{service}_enabled"), enabled);
    }
    options
}

fn overlays(options: ClusterOptions, proxy: &str) -> ClusterOptions {
    ["tor", "i2p", "loki"]
        .iter()
        .fold(options.with("bigbrotr.networks", "clearnet,tor,i2p,loki"), |options, network| {
            options.with(&format!("bigbrotr.{network}_proxy"), proxy)
        })
}

async fn installed(options: ClusterOptions) -> (Cluster, Client) {
    let cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("the extension can be created");
    (cluster, client)
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

fn relay(seed: u64) -> RelayHandle {
    let now = generate::now();
    let spec = Spec { authors: 5, created_at: now - 30 * 86_400..now - 100, ..Spec::default() };
    Relay::start(RelayOptions { events: Store::new(Generator::new(seed).corpus(30, &spec)), ..RelayOptions::default() })
}

fn address(relay: &RelayHandle) -> SocketAddr {
    relay.address()
}

#[tokio::test]
async fn relays_of_overlays_are_found_watched_and_archived_through_their_proxy() {
    let relays = [relay(1), relay(2), relay(3)];
    let hosts = [ONION, "relay.i2p", "relay.loki"];
    let names = hosts.iter().map(|host| (*host).to_owned()).zip(relays.iter().map(address)).collect();
    let proxy = SocksProxy::start(names, Unknown::Refuse).await;
    // Private addresses stay refused: that the proxy leads to loopback is its own affair.
    let options = overlays(options(&["validator", "monitor", "synchronizer"]), &proxy.url());
    let (cluster, client) = installed(options).await;
    let seeds: Vec<String> = hosts.iter().map(|host| format!("ws://{}", host.to_uppercase())).collect();
    client.execute("SELECT bigbrotr.seed($1)", &[&seeds]).await.expect("seeded");

    let found = "SELECT array_agg(network::text ORDER BY network) = '{tor,i2p,loki}' FROM bigbrotr.relay WHERE state = 'active'";
    cluster.wait_for(&client, found, SOON, "a relay in each network").await;
    let checked = "SELECT count(*) = 3 FROM bigbrotr.relay_status WHERE online AND rtt_open_ms > 0 AND rtt_read_ms > 0";
    cluster.wait_for(&client, checked, SOON, "their checks").await;
    let documents =
        "SELECT count(DISTINCT relay_url) = 3 FROM bigbrotr.relay_metadata_latest WHERE metadata_type = 'nip11_info'";
    cluster.wait_for(&client, documents, SOON, "their documents").await;
    let archived = "SELECT count(*) = 90 FROM bigbrotr.event";
    cluster.wait_for(&client, archived, SOON, "their events").await;
    assert!(proxy.asked().iter().all(|host| hosts.contains(&host.as_str())), "{:?}", proxy.asked());
}

#[tokio::test]
async fn a_proxy_that_is_down_counts_against_no_relay() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let options = overlays(options(&["validator", "monitor", "synchronizer"]), &format!("socks5://{closed}"));
    let (cluster, client) = installed(options).await;
    let old = format!(
        "INSERT INTO bigbrotr.relay (url, network, discovered_at) VALUES ('ws://{ONION}', 'tor', now() - interval '1 year');
         SELECT bigbrotr.seed('{{ws://other.i2p}}')"
    );
    client.batch_execute(&old).await.expect("inserted");
    let seen = "SELECT count(*) > 0 FROM bigbrotr.relay_check WHERE error_class = 'proxy'";
    cluster.wait_for(&client, seen, SOON, "the reason at the relay").await;
    let said = "SELECT count(*) = 1 FROM bigbrotr.candidate WHERE last_error LIKE 'proxy:%'";
    cluster.wait_for(&client, said, SOON, "the reason at the candidate").await;
    let told = "SELECT count(*) = 1 FROM bigbrotr.relay_sync WHERE last_error LIKE 'proxy:%'";
    cluster.wait_for(&client, told, SOON, "the reason at the synchronizer").await;
    for _ in 0..6 {
        client.batch_execute("UPDATE bigbrotr.relay_monitor SET next_check_at = now()").await.expect("due");
        let before = text(&client, "SELECT count(*)::text FROM bigbrotr.relay_check").await;
        let again = format!("SELECT count(*) > {before} FROM bigbrotr.relay_check");
        cluster.wait_for(&client, &again, SOON, "another check").await;
    }
    let state = "SELECT r.state || ' ' || m.failures || ' ' || c.failures
                 FROM bigbrotr.relay AS r JOIN bigbrotr.relay_monitor AS m ON m.relay_id = r.id, bigbrotr.candidate AS c";
    assert_eq!(text(&client, state).await, "active 0 0");
}

#[tokio::test]
async fn a_network_that_hangs_does_not_hold_up_the_clearnet() {
    let live = relay(7);
    let proxy = SocksProxy::start(HashMap::new(), Unknown::Hang).await;
    let options = overlays(options(&["validator"]), &proxy.url())
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.validator_concurrency", "4")
        .with("bigbrotr.overlay_concurrency", "2")
        .with("bigbrotr.overlay_connect_timeout", "5min");
    let (cluster, client) = installed(options).await;
    let seeds = "SELECT bigbrotr.seed(array_agg('ws://n' || n || '.i2p')) FROM generate_series(1, 40) AS n";
    client.batch_execute(seeds).await.expect("seeded");
    let busy = "SELECT count(*) = 40 FROM bigbrotr.candidate WHERE leased_until > now() OR next_attempt_at > now()";
    cluster.wait_for(&client, busy, SOON, "the validator to be at them").await;
    client.execute("SELECT bigbrotr.seed(ARRAY[$1])", &[&live.url()]).await.expect("seeded");
    cluster.wait_for(&client, "SELECT count(*) = 1 FROM bigbrotr.relay", SOON, "the clearnet relay").await;
    let errors = "SELECT coalesce(string_agg(DISTINCT last_error, '; '), 'none') FROM bigbrotr.candidate";
    let errors = text(&client, errors).await;
    assert!((1..=2).contains(&proxy.asked().len()), "{errors}; asked {:?}", proxy.asked());
    assert_eq!(text(&client, "SELECT max(failures)::text FROM bigbrotr.candidate").await, "0");
}

/// A listener nobody may connect to, and how many did.
struct Forbidden {
    listener: std::net::TcpListener,
    port: u16,
}

impl Forbidden {
    fn start() -> Self {
        // All addresses of this machine, loopback included.
        let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
        listener.set_nonblocking(true).expect("it can be asked");
        let port = listener.local_addr().expect("an address").port();
        Self { listener, port }
    }

    fn assert_untouched(&self) {
        if let Ok((_, from)) = self.listener.accept() {
            panic!("a connection from {from}");
        }
    }
}

#[tokio::test]
async fn no_worker_connects_to_this_machine_whatever_a_row_says() {
    let forbidden = Forbidden::start();
    let port = forbidden.port;
    let (cluster, client) = installed(options(&["finder", "validator", "monitor", "synchronizer"])).await;
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "169.254.169.254",
        "metadata.google.internal",
        "10.0.0.1",
        "db",
        "nas.local",
    ];
    let urls: Vec<String> = hosts.iter().map(|host| format!("ws://{host}:{port}")).collect();
    let seeded: i32 = client.query_one("SELECT bigbrotr.seed($1)", &[&urls]).await.expect("seeded").get(0);
    assert_eq!(seeded, 0, "no such URL becomes a candidate");
    // Rows written by hand, or left from a time when private addresses were admitted.
    client
        .execute("INSERT INTO bigbrotr.candidate (url, network, source) SELECT u, 'clearnet', 'operator' FROM unnest($1::text[]) AS u", &[&urls])
        .await
        .expect("inserted");
    client
        .execute(
            "INSERT INTO bigbrotr.relay (url, network) SELECT u, 'clearnet' FROM unnest($1::text[]) AS u",
            &[&urls],
        )
        .await
        .expect("inserted");
    client
        .execute(
            "INSERT INTO bigbrotr.api_source (url) SELECT replace(u, 'ws:', 'http:') FROM unnest($1::text[]) AS u",
            &[&urls],
        )
        .await
        .expect("inserted");
    for (sql, what) in [
        ("SELECT bool_and(last_error IS NOT NULL) FROM bigbrotr.candidate", "a reason at each candidate"),
        ("SELECT bool_and(last_error IS NOT NULL) FROM bigbrotr.api_source", "a reason at each API"),
        (
            "SELECT count(DISTINCT relay_id) = (SELECT count(*) FROM bigbrotr.relay) FROM bigbrotr.relay_check WHERE NOT ok",
            "a failed check of each",
        ),
        (
            "SELECT bool_and(last_error IS NOT NULL) AND count(*) = (SELECT count(*) FROM bigbrotr.relay) FROM bigbrotr.relay_sync",
            "a reason at each relay",
        ),
    ] {
        cluster.wait_for(&client, sql, SOON * 2, what).await;
    }
    forbidden.assert_untouched();
    let others = "SELECT coalesce(string_agg(r.url || ': ' || c.error_class || ' ' || c.error, '; '), '')
      FROM bigbrotr.relay_check AS c JOIN bigbrotr.relay AS r ON r.id = c.relay_id
      WHERE c.error_class IS NULL OR c.error_class <> ALL ('{refused_address,url}')";
    assert_eq!(text(&client, others).await, "");
}

#[tokio::test]
async fn a_relay_that_is_blocked_while_we_listen_to_it_is_left() {
    let relay = relay(9);
    let (cluster, client) = installed(options(&["synchronizer"]).with("bigbrotr.allow_private_addresses", "on")).await;
    client
        .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&relay.url()])
        .await
        .expect("inserted");
    let live = "SELECT count(*) = 1 FROM bigbrotr.relay_sync WHERE live_since IS NOT NULL";
    cluster.wait_for(&client, live, SOON, "a live session").await;
    assert!(relay.served().open > 0);
    client
        .execute(
            "INSERT INTO bigbrotr.block (pattern, reason) VALUES (replace($1, 'ws://', '%://') || '%', 'asked')",
            &[&relay.url()],
        )
        .await
        .expect("inserted");
    let began = std::time::Instant::now();
    while relay.served().open > 0 {
        assert!(began.elapsed() < SOON, "still connected after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = relay.served().connections;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(relay.served().connections, before, "and it stays so");
}
