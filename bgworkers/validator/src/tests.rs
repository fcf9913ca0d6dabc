//! Cycles against servers on loopback and tables in memory.
#![allow(clippy::unwrap_used)]

mod overlay;
mod servers;
mod store;

use std::sync::Arc;

use bigbrotr_core::log::Log;
use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_core::progress::Progress;
use bigbrotr_models::{AddressPolicy, Network};
use tokio::sync::{Notify, watch};

use self::servers::{Manner, Server, dead_port};
use self::store::Memory;
use super::*;

const REQUEST_TIMEOUT: Duration = Duration::from_millis(400);

fn config() -> Config {
    Config {
        address_policy: AddressPolicy { allow_private: true },
        request_timeout: REQUEST_TIMEOUT,
        connect_timeout: Duration::from_millis(800),
        max_message_size: 1 << 20,
        ..Config::default()
    }
}

struct World {
    context: Context,
    store: Arc<Memory>,
    stop: watch::Sender<bool>,
}

fn world(urls: impl IntoIterator<Item = String>, config: Config) -> World {
    let store = Arc::new(Memory::with(urls));
    let (stop, shutdown) = watch::channel(false);
    let context = Context {
        store: store.clone(),
        config: watch::channel(Arc::new(config)).1,
        progress: Arc::new(Progress::default()),
        wake: Arc::new(Notify::new()),
        asked: Arc::default(),
        shutdown,
        memory: MemoryBudget::unlimited(),
        log: Log::channel(16).0,
    };
    World { context, store, stop }
}

#[tokio::test]
async fn what_answers_our_request_or_asks_for_auth_becomes_a_relay() {
    let manners = [
        Manner::Eose,
        Manner::Closed,
        Manner::Event,
        Manner::Auth,
        // Odd, and relays all the same.
        Manner::JunkFirst,
        Manner::Subprotocol,
        // Larger than what hundreds may send at a time.
        Manner::Large,
    ];
    let mut relays = Vec::new();
    for manner in manners {
        relays.push(Server::start(manner).await);
    }
    let mut urls: Vec<String> = relays.iter().map(Server::url).collect();
    let world = world(urls.clone(), config());
    let report = Validator::default().cycle(&world.context).await.unwrap();
    urls.sort();
    assert_eq!(world.store.relays(), urls);
    assert_eq!((report.items, report.record), (7, true));
    assert_eq!(report.detail["promoted"], 7);
    assert_eq!(world.context.progress.snapshot().items, 7);
    assert!(matches!(report.next, Next::After(pause) if pause <= LOOK));
    assert!(world.store.0.lock().unwrap().candidates.is_empty());
}

#[tokio::test]
async fn what_gives_no_proof_stays_a_candidate_with_a_classified_reason() {
    for (manner, reason) in [
        (Manner::Echo, "protocol: sends back what it gets"),
        (Manner::Silent, "silence: no message within 400 ms"),
        (Manner::Notice, "protocol: only a NOTICE: welcome"),
        (Manner::Garbage, "protocol: 3 messages, no answer"),
        (Manner::ForeignEvents, "protocol: 2000 messages, no answer"),
        (Manner::Flood, "protocol: 11 messages, no answer"),
        (Manner::Huge, "oversize: larger than 1048576 bytes"),
        (Manner::Bye, "ws: closed with code 1005; no message"),
        (Manner::Refusal, "ws: closed with code 4001 go away; no message"),
        (Manner::OtherSub, "protocol: 3 messages, no answer to the request within 400 ms"),
        (Manner::JsonRpc, "protocol: one message, no answer to the request within 400 ms"),
        (Manner::SlowUpgrade, "silence: timeout after 800 ms in the WebSocket upgrade"),
        (Manner::Html, "http: HTTP 200 (text/html) instead of a WebSocket"),
        (Manner::SilentTcp, "silence: timeout after 800 ms in the WebSocket upgrade"),
    ] {
        let server = Server::start(manner).await;
        let world = world([server.url()], config());
        let report = Validator::default().cycle(&world.context).await.unwrap();
        let error = world.store.error_of(&server.url());
        assert!(error.starts_with(reason), "{manner:?}: {error}");
        assert_eq!((report.items, world.store.relays().len()), (1, 0), "{manner:?}");
    }
}

#[tokio::test]
async fn dead_ports_and_rows_that_are_no_urls_are_failures_of_their_own() {
    let dead = format!("ws://127.0.0.1:{}", dead_port().await);
    let world = world([dead.clone(), "no url".into()], config());
    let report = Validator::default().cycle(&world.context).await.unwrap();
    assert!(world.store.error_of(&dead).starts_with("tcp: "), "{}", world.store.error_of(&dead));
    assert!(world.store.error_of("no url").starts_with("url: "));
    assert_eq!(report.detail["failures"]["tcp"], 1);
}

#[tokio::test]
async fn who_serves_what_a_known_relay_serves_is_that_relay_and_who_does_not_is_another() {
    let server = Server::start(Manner::ByPath).await;
    let known = format!("{}/a", server.url());
    // By the first letter of the path.
    let (same, other) = (format!("{}/again", server.url()), format!("{}/b", server.url()));
    let world = world([same.clone(), other.clone()], config());
    world.store.0.lock().unwrap().suspect = Some(known.clone());
    let report = Validator::default().cycle(&world.context).await.unwrap();
    assert_eq!(world.store.relays(), [other]);
    let tables = world.store.0.lock().unwrap();
    let reason = format!("the same relay as {known}: no NIP-11 document, same 10 newest events");
    assert_eq!(tables.aliases, [(same, reason)].into());
    assert!(tables.candidates.is_empty());
    assert_eq!((report.items, &report.detail["promoted"], &report.detail["known"]), (2, &json!(1), &json!(1)));
}

#[tokio::test]
async fn a_suspect_that_does_not_answer_is_no_reason_to_wait() {
    let server = Server::start(Manner::ByPath).await;
    let silent = Server::start(Manner::SilentTcp).await;
    let world = world([server.url()], config());
    world.store.0.lock().unwrap().suspect = Some(silent.url());
    Validator::default().cycle(&world.context).await.unwrap();
    assert_eq!(world.store.relays(), [server.url()]);
}

#[tokio::test]
async fn private_addresses_are_not_dialled_unless_allowed() {
    let server = Server::start(Manner::Eose).await;
    let world = world([server.url()], Config { address_policy: AddressPolicy::default(), ..config() });
    Validator::default().cycle(&world.context).await.unwrap();
    assert!(world.store.error_of(&server.url()).starts_with("refused_address: "));
    assert_eq!(server.accepted.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn silent_hosts_cost_their_own_slots_only() {
    let (mut silent, mut live) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        silent.push(Server::start(Manner::Silent).await);
    }
    for _ in 0..30 {
        live.push(Server::start(Manner::Eose).await);
    }
    let config = Config { validator_concurrency: 4, request_timeout: Duration::from_secs(20), ..config() };
    let world = world(silent.iter().chain(&live).map(Server::url), config);
    let context = world.context.clone();
    let task = tokio::spawn(async move { Validator::default().cycle(&context).await });
    let all_live = async {
        while world.store.relays().len() < live.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all_live)
        .await
        .expect("the live ones do not wait for the silent ones");
    assert!(!task.is_finished());
    world.stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(1), task)
        .await
        .expect("a cycle ends soon when the worker leaves")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_host_gets_two_connections_and_the_rest_of_its_urls_wait_or_are_put_off() {
    let server = Server::start(Manner::Eose).await;
    let other = Server::start(Manner::Eose).await;
    let mut urls: Vec<String> = (0..1_100).map(|n| format!("{}/p{n}", server.url())).collect();
    urls.push(other.url());
    let world = world(urls, config());
    let report = Validator::default().cycle(&world.context).await.unwrap();
    assert!(server.most.load(Ordering::Relaxed) <= 2, "{:?}", server.most);
    assert!(world.store.relays().contains(&other.url()));
    let tables = world.store.0.lock().unwrap();
    assert_eq!(tables.relays.len() + tables.deferred.len(), 1_101);
    assert!((1..=98).contains(&tables.deferred.len()), "{}", tables.deferred.len());
    assert!(tables.candidates.values().all(|row| row.failures == 0 && !row.leased));
    assert_eq!(report.detail["deferred"], tables.deferred.len());
}

#[tokio::test]
async fn nobody_waits_for_a_host_that_is_free() {
    let port = dead_port().await;
    let urls: Vec<String> = (0..2_000).map(|n| format!("ws://127.1.{}.{}:{port}", n / 200, 1 + n % 200)).collect();
    let world = world(urls, config());
    let report = tokio::time::timeout(Duration::from_secs(30), Validator::default().cycle(&world.context))
        .await
        .expect("nothing is left to wait for")
        .unwrap();
    assert_eq!(report.detail["failures"]["tcp"], 2_000);
    assert_eq!(report.detail["deferred"], 0);
}

#[tokio::test]
async fn leases_of_a_predecessor_are_released_once_a_process() {
    let server = Server::start(Manner::Eose).await;
    let world = world([server.url()], config());
    world.store.0.lock().unwrap().candidates.get_mut(&server.url()).unwrap().leased = true;
    let validator = Validator::default();
    validator.cycle(&world.context).await.unwrap();
    assert_eq!(world.store.relays(), [server.url()]);
    let report = validator.cycle(&world.context).await.unwrap();
    assert_eq!(world.store.0.lock().unwrap().releases, 1);
    assert!(!report.record, "an idle look is not worth a row");
}

#[tokio::test]
async fn one_row_that_cannot_be_written_does_not_hold_up_the_others() {
    let (good, bad) = (Server::start(Manner::Eose).await, Server::start(Manner::Eose).await);
    let world = world([good.url(), bad.url()], config());
    world.store.0.lock().unwrap().poisoned.insert(bad.url());
    let validator = Validator::default();
    // Written together or apart: only where nothing at all can be written is it the cycle's error.
    let _ = validator.cycle(&world.context).await;
    world.store.0.lock().unwrap().poisoned.clear();
    validator.cycle(&world.context).await.unwrap();
    let mut both = [good.url(), bad.url()];
    both.sort();
    assert_eq!(world.store.relays(), both);
    assert_eq!(world.store.0.lock().unwrap().releases, 2, "its lease was given back");
}

#[tokio::test]
async fn only_networks_that_can_be_reached_are_asked_for() {
    let config = Config { networks: Network::ALL.to_vec(), tor_proxy: Some("127.0.0.1:1".into()), ..config() };
    let world = world([], config);
    Validator::default().cycle(&world.context).await.unwrap();
    assert_eq!(world.store.0.lock().unwrap().networks, ["clearnet", "tor"]);
}

#[tokio::test]
async fn retries_wait_for_the_interval_unless_somebody_asks() {
    let server = Server::start(Manner::Eose).await;
    let world = world([server.url()], config());
    let validator = Validator::default();
    let failed_before = |world: &World| {
        let entry = store::Entry { failures: 1, ..store::Entry::default() };
        world.store.0.lock().unwrap().candidates.insert(format!("{}/again", server.url()), entry);
    };
    validator.cycle(&world.context).await.unwrap();
    failed_before(&world);
    assert_eq!(validator.cycle(&world.context).await.unwrap().items, 0);
    world.context.asked.store(true, Ordering::Relaxed);
    assert_eq!(validator.cycle(&world.context).await.unwrap().items, 1);
}

#[test]
fn full_cycles_are_an_interval_apart_with_cheap_looks_between() {
    let interval = Duration::from_secs(60);
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    assert!(schedule.is_full(now));
    assert_eq!(schedule.pause(now, true, interval), LOOK);
    assert!(!schedule.is_full(now + LOOK));
    assert_eq!(schedule.pause(now + Duration::from_secs(57), false, interval), Duration::from_secs(3));
    assert!(schedule.is_full(now + interval));
    assert_eq!(schedule.pause(now, true, Duration::from_secs(1)), Duration::from_secs(1));
    schedule.pause(now, true, interval);
    assert_eq!(schedule.pause(now, false, Duration::from_secs(2)), Duration::from_secs(2));
    assert!(schedule.is_full(now + Duration::from_secs(2)));
    schedule.again(true);
    assert!(schedule.is_full(now));
}
