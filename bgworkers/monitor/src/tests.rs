use std::sync::atomic::Ordering;

use bigbrotr_core::Value;

use super::*;
use crate::testing::{Answers, Memory, Relay, World, config, lock, world};

async fn cycle(monitor: &Monitor, world: &World) -> CycleReport {
    let cycle = tokio::time::timeout(Duration::from_secs(20), monitor.cycle(&world.context));
    cycle.await.expect("it ends").expect("no error")
}

#[tokio::test]
async fn a_good_relay_is_recorded_with_its_times_and_its_document() {
    let relay = Relay::start(Answers::document(200, "\u{FEFF} {\"name\":\"a\\u0000\"}\n")).await;
    let store = Memory::with([relay.url()]);
    let world = world(store.clone(), config());
    let report = cycle(&Monitor::default(), &world).await;
    assert_eq!((report.items, report.record, report.next), (1, true, Next::After(LONGEST_PAUSE)));
    let check = store.check(1);
    assert!(check.ok && check.open.is_some() && check.read.is_some(), "{check:?}");
    assert_eq!((check.class, check.error), (None, None));
    assert_eq!(store.documents("nip11_info"), [serde_json::json!({ "name": "a\u{FFFD}" })]);
    assert_eq!(report.detail["documents"], 1);
    let request = lock(&relay.requests).join("\n");
    assert!(request.contains("accept: application/nostr+json"), "{request}");
    assert_eq!(store.args("release_checks").len(), 1);
}

#[tokio::test]
async fn each_relay_has_its_own_failure_and_none_is_the_cycles() {
    let refused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("ws://{}", listener.local_addr().expect("bound"))
    };
    let silent = Relay::start(Answers { delay: Duration::from_secs(60), ..Answers::default() }).await;
    let short = Config { connect_timeout: Duration::from_millis(300), ..config() };
    let urls = [refused, "ws://no-such-host.invalid".to_owned(), "not a url".to_owned(), silent.url()];
    let store = Memory::with(urls);
    let world = world(store.clone(), short);
    let report = cycle(&Monitor::default(), &world).await;
    assert_eq!(report.items, 4);
    let classes: Vec<_> = (1..=4).map(|id| store.check(id).class.unwrap_or_default()).collect();
    assert_eq!(classes, ["tcp", "dns", "url", "silence"]);
    assert_eq!(report.detail["failed"]["dns"], 1);
    assert_eq!(world.context.progress.snapshot().errors, 0);
}

#[tokio::test]
async fn only_bodies_of_a_good_status_go_to_quarantine_and_not_each_time() {
    let page = Relay::start(Answers::document(200, "<html>relay</html>")).await;
    let missing = Relay::start(Answers::document(404, "<html>nothing</html>")).await;
    let empty = Relay::start(Answers::document(200, "\r\n")).await;
    let store = Memory::with([page.url(), missing.url(), empty.url()]);
    let world = world(store.clone(), config());
    let monitor = Monitor::default();
    let report = cycle(&monitor, &world).await;
    assert_eq!(report.detail["no_document"], 2);
    lock(&store.due).push_back((1, page.url()));
    cycle(&monitor, &world).await;
    let refused = store.args("quarantine");
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0][0], Value::Int(1));
    assert_eq!(refused[0][1], Value::from("nip11_not_json"));
    assert_eq!(store.args("record_check").len(), 4);
}

#[tokio::test]
async fn a_document_that_sql_refuses_takes_nothing_else_with_it() {
    let bad = Relay::start(Answers::document(200, r#"{"name":"poison"}"#)).await;
    let good = Relay::start(Answers::document(200, r#"{"name":"fine"}"#)).await;
    let store = Memory::with([bad.url(), good.url()]);
    *lock(&store.poison) = Some("poison".to_owned());
    let world = world(store.clone(), config());
    let report = cycle(&Monitor::default(), &world).await;
    assert!(store.check(1).ok && store.check(2).ok);
    assert_eq!(store.documents("nip11_info").len(), 1);
    assert_eq!((report.items, &report.detail["unrecorded"]), (2, &serde_json::json!(1)));
}

#[tokio::test]
async fn a_host_has_two_connections_and_waiting_for_it_holds_nobody_up() {
    let slow = Relay::start(Answers { delay: Duration::from_millis(300), ..Answers::document(200, "{}") }).await;
    let quick = Relay::start(Answers::document(200, "{}")).await;
    let urls = (0..30).map(|n| format!("{}/{n}", slow.url())).chain([quick.url()]);
    let store = Memory::with(urls);
    // The slow host alone could fill the slots.
    let world = world(store.clone(), Config { monitor_concurrency: 16, ..config() });
    let monitor = Monitor::default();
    let cycle = tokio::spawn(async move { cycle(&monitor, &world).await });
    let started = std::time::Instant::now();
    while !store.args("record_check").iter().any(|args| args[0] == Value::Int(31)) {
        assert!(started.elapsed() < Duration::from_secs(10), "the quick relay waits for the slow ones");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(store.args("record_check").len() < 9, "the quick relay came last");
    let report = cycle.await.expect("no panic");
    assert!(slow.peak.load(Ordering::SeqCst) <= 2);
    assert_eq!(report.items + report.detail["deferred"].as_u64().unwrap_or(0), 31, "{report:?}");
    assert!(report.detail["deferred"].as_u64() >= Some(20), "{report:?}");
}

#[tokio::test]
async fn nothing_due_is_an_idle_look() {
    let store = Memory::with([]);
    let world = world(store.clone(), Config { monitor_interval: Duration::from_secs(2), ..config() });
    let monitor = Monitor::default();
    let report = cycle(&monitor, &world).await;
    assert_eq!((report.items, report.record, report.next), (0, false, Next::After(Duration::from_secs(2))));
    cycle(&monitor, &world).await;
    assert_eq!(store.args("release_checks").len(), 1, "leases are released once a process");
}

#[tokio::test]
async fn whoever_asks_for_a_cycle_gets_every_relay_checked() {
    let store = Memory::with([]);
    let world = world(store.clone(), config());
    let monitor = Monitor::default();
    cycle(&monitor, &world).await;
    assert!(store.args("check_now").is_empty());
    world.context.asked.store(true, Ordering::Relaxed);
    cycle(&monitor, &world).await;
    cycle(&monitor, &world).await;
    assert_eq!(store.args("check_now").len(), 1);
}

#[tokio::test]
async fn no_known_check_means_no_traffic() {
    let relay = Relay::start(Answers::document(200, "{}")).await;
    let store = Memory::with([relay.url()]);
    let world = world(store.clone(), Config { monitor_checks: Vec::new(), ..config() });
    assert!(!cycle(&Monitor::default(), &world).await.record);
    assert!(store.args("claim_checks").is_empty());
    assert!(lock(&relay.requests).is_empty());
}

#[tokio::test]
async fn each_check_can_be_had_alone() {
    let relay = Relay::start(Answers::document(200, "{}")).await;
    for (check, documents, read) in [("rtt", 0, true), ("nip11", 1, false)] {
        let store = Memory::with([relay.url()]);
        let world = world(store.clone(), Config { monitor_checks: vec![check.to_owned()], ..config() });
        cycle(&Monitor::default(), &world).await;
        assert_eq!(store.documents("nip11_info").len(), documents, "{check}");
        assert_eq!((store.check(1).ok, store.check(1).read.is_some()), (true, read), "{check}");
    }
}

#[tokio::test]
async fn an_overlay_without_a_proxy_is_not_asked_for() {
    let store = Memory::with([]);
    let networks = vec![bigbrotr_models::Network::Clearnet, bigbrotr_models::Network::Tor];
    let world = world(store.clone(), Config { networks: networks.clone(), ..config() });
    let monitor = Monitor::default();
    cycle(&monitor, &world).await;
    let claimed = |at: usize| store.args("claim_checks")[at][3].clone();
    assert_eq!(claimed(0), Value::TextArray(vec![Some("clearnet".into())]));
    let tor_proxy = Some("127.0.0.1:9050".to_owned());
    world.config.send_replace(Arc::new(Config { networks, tor_proxy, ..config() }));
    cycle(&monitor, &world).await;
    assert_eq!(claimed(1), Value::TextArray(vec![Some("clearnet".into()), Some("tor".into())]));
}

#[tokio::test]
async fn the_pool_leaves_at_once_when_asked_and_goes_on_over_a_change_of_settings() {
    let slow = Relay::start(Answers { delay: Duration::from_millis(500), ..Answers::document(200, "{}") }).await;
    let store = Memory::with([slow.url()]);
    let world = world(store.clone(), config());
    let monitor = Arc::new(Monitor::default());
    let (first, context) = (monitor.clone(), world.context.clone());
    let running = tokio::spawn(async move { first.cycle(&context).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.config.send_replace(Arc::new(Config { monitor_concurrency: 7, ..config() }));
    let report = tokio::time::timeout(Duration::from_millis(300), running).await;
    let report = report.expect("it ends").expect("no panic").expect("no error");
    assert_eq!((report.next, report.record), (Next::Now, false));
    let report = cycle(&monitor, &world).await;
    assert_eq!(report.items, 1, "the check went on between the cycles");

    lock(&store.due).push_back((2, slow.url()));
    let (second, context) = (monitor.clone(), world.context.clone());
    let running = tokio::spawn(async move { second.cycle(&context).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.shutdown.send_replace(true);
    let left = tokio::time::timeout(Duration::from_millis(300), running).await;
    assert!(left.is_ok());
}

#[tokio::test]
async fn many_checks_share_a_transaction() {
    let relay = Relay::start(Answers::document(200, "{}")).await;
    let mut relays = vec![relay];
    for _ in 0..39 {
        relays.push(Relay::start(Answers::document(200, "{}")).await);
    }
    let store = Memory::with(relays.iter().map(Relay::url));
    let world = world(store.clone(), config());
    let report = cycle(&Monitor::default(), &world).await;
    assert_eq!(report.items, 40);
    assert_eq!(store.documents("nip11_info").len(), 40);
    assert!(store.transactions.load(Ordering::Relaxed) < 20);
}
