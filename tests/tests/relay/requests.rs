//! What is refused, published and counted.

use super::*;

#[tokio::test]
async fn every_nth_request_is_refused() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.refuse = Some(Refusal::rate_limited(2)));
    assert_eq!(client.ask(json!({"limit": 1})).await.1, eose());
    assert_eq!(client.ask(json!({"limit": 1})).await, (vec![], json!(["CLOSED", "s", "rate-limited: slow down"])));
    assert_eq!(client.ask(json!({"limit": 1})).await.1, eose());
    relay.update(|options| options.refuse = Some(Refusal { every: 1, text: "too fast".into(), notice: true }));
    assert_eq!(client.ask(json!({"limit": 1})).await.1, json!(["NOTICE", "too fast"]));
    let served = relay.served();
    assert_eq!((served.reqs, served.refused, served.eoses), (4, 2, 2));
    assert_eq!(served.requests.len(), 4);
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let (relay, mut client) = well_behaved().await;
    assert_eq!(client.ask(json!({"ids": "x"})).await.1[0], "CLOSED");
    assert_eq!(client.ask(json!({"limit": -1})).await.1[0], "CLOSED");
    assert_eq!(client.ask(json!([])).await.1[0], "CLOSED");
    client.send(json!(["REQ", "", {}])).await;
    assert_eq!(client.json().await[0], "CLOSED");
    client.send(json!(["REQ", "s"])).await;
    assert_eq!(client.json().await[0], "CLOSED");
    relay.update(|options| options.notice_instead_of_closed = true);
    assert_eq!(client.ask(json!({"kinds": ["1"]})).await.1[0], "NOTICE");
    for odd in [json!(["NEG-OPEN", "s", {}, "6100000200"]), json!({}), json!(["EVENT"])] {
        client.send(odd).await;
        assert_eq!(client.json().await[0], "NOTICE");
    }
}

#[tokio::test]
async fn subscriptions_are_limited_for_each_connection() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.max_subscriptions = Some(2));
    for sub in ["a", "b", "b", "c"] {
        client.send(json!(["REQ", sub, {"limit": 0}])).await;
        let expected = if sub == "c" { "CLOSED" } else { "EOSE" };
        assert_eq!(client.json().await[0], expected, "{sub}");
    }
    client.send(json!(["CLOSE", "a"])).await;
    client.send(json!(["REQ", "c", {"limit": 0}])).await;
    assert_eq!(client.json().await, json!(["EOSE", "c"]));
}

#[tokio::test]
async fn published_events_are_stored_refused_or_ignored() {
    let (relay, mut client) = well_behaved().await;
    let raw = Generator::new(8).event(1, 20, &[], "published }");
    let event: Value = serde_json::from_str(&raw).expect("JSON");
    let id = &event["id"];
    let publish = || Message::text(format!("[\"EVENT\", {raw} ]"));
    client.ask(json!({"since": 20})).await;
    client.0.send(publish()).await.expect("sends");
    // NIP-01 does not say which comes first.
    let mut both = [client.json().await, client.json().await];
    both.sort_by_key(|message| message[0].to_string());
    assert_eq!(both, [json!(["EVENT", "s", event]), json!(["OK", id, true, ""])]);
    assert_eq!(*relay.held_events()[0], *raw);
    client.0.send(publish()).await.expect("sends");
    assert_eq!(client.json().await, json!(["OK", id, true, "duplicate: already held"]));
    let mut bad = event.clone();
    bad["content"] = json!("changed");
    client.send(json!(["EVENT", bad])).await;
    assert_eq!(client.json().await, json!(["OK", id, false, "invalid: id does not match"]));
    relay.update(|options| options.write = Write::Refuse("blocked: no".into()));
    client.0.send(publish()).await.expect("sends");
    assert_eq!(client.json().await, json!(["OK", id, false, "blocked: no"]));
    relay.update(|options| options.write = Write::Silent);
    client.0.send(publish()).await.expect("sends");
    assert!(client.is_silent().await);
    assert_eq!((relay.served().publishes, relay.held().len()), (5, 11));
}

#[tokio::test]
async fn count_is_exact_wrong_refused_or_missing() {
    let (relay, mut client) = well_behaved().await;
    let ask = json!(["COUNT", "c", {"until": 4, "limit": 1}]);
    relay.update(|options| options.cap = Some(2));
    client.send(ask.clone()).await;
    assert_eq!(client.json().await, json!(["COUNT", "c", {"count": 4}]));
    relay.update(|options| options.count = Count::Fixed(7));
    client.send(ask.clone()).await;
    assert_eq!(client.json().await, json!(["COUNT", "c", {"count": 7}]));
    relay.update(|options| options.count = Count::Refuse("unsupported: no".into()));
    client.send(ask.clone()).await;
    assert_eq!(client.json().await, json!(["CLOSED", "c", "unsupported: no"]));
    relay.update(|options| options.count = Count::Silent);
    client.send(ask).await;
    assert!(client.is_silent().await);
    assert_eq!(relay.served().counts, 4);
}

#[tokio::test]
async fn filters_beyond_what_the_relay_takes_are_refused() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| {
        options.accepts = Accepts { list: Some(3), limit: Some(100), filters: Some(1), ..Accepts::default() };
    });
    for (filter, taken) in [
        (json!({"kinds": [1, 2, 3]}), true),
        (json!({"kinds": [1, 2, 3, 4]}), false),
        (json!({"#t": ["a", "b", "c", "d"]}), false),
        (json!({"limit": 100}), true),
        (json!({"limit": 101}), false),
    ] {
        let end = client.ask(filter.clone()).await.1;
        assert_eq!(end[0], if taken { "EOSE" } else { "CLOSED" }, "{filter}");
    }
    client.send(json!(["REQ", "s", {}, {}])).await;
    assert_eq!(client.json().await[0], "CLOSED");
    relay.update(|options| options.notice_instead_of_closed = true);
    assert_eq!(client.ask(json!({"limit": 101})).await.1[0], "NOTICE");
}

#[tokio::test]
async fn a_limit_of_zero_or_none_is_a_matter_of_taste() {
    let (relay, mut client) = well_behaved().await;
    let accepts = |relay: &RelayHandle, limit_zero, missing_limit| {
        relay.update(|options| options.accepts = Accepts { limit_zero, missing_limit, ..Accepts::default() });
    };
    accepts(&relay, LimitZero::Ignored, MissingLimit::Empty);
    relay.update(|options| options.default_limit = Some(4));
    assert_eq!(client.times(json!({"limit": 0})).await.len(), 4);
    assert_eq!(client.times(json!({})).await.len(), 0);
    accepts(&relay, LimitZero::Refused, MissingLimit::Silent);
    assert_eq!(client.ask(json!({"limit": 0})).await.1[0], "CLOSED");
    client.send(json!(["REQ", "s", {}])).await;
    assert!(client.is_silent().await);
    assert_eq!(client.times(json!({"limit": 3})).await.len(), 3);
}

#[tokio::test]
async fn filters_without_a_condition_can_match_nothing() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.accepts.only_with_condition = true);
    assert_eq!(client.times(json!({"limit": 5})).await.len(), 0);
    assert_eq!(client.times(json!({"limit": 5, "since": 0})).await.len(), 5);
}

#[tokio::test]
async fn requests_are_counted_by_the_second() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.accepts.requests_per_second = Some(3));
    let mut ends = Vec::new();
    for _ in 0..5 {
        ends.push(client.ask(json!({"limit": 1})).await.1[0].take());
    }
    assert_eq!(ends, ["EOSE", "EOSE", "EOSE", "CLOSED", "CLOSED"]);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(client.ask(json!({"limit": 1})).await.1[0], "EOSE");
}

#[tokio::test]
async fn old_windows_make_trouble() {
    let start = now() - 1_000;
    let mut generator = Generator::new(1);
    let events: Vec<_> = (0..10).map(|n| generator.event(1, start + n * 100, &[], "")).collect();
    let relay = Relay::start(RelayOptions { events: Store::new(events), ..Default::default() });
    let mut client = Client::connect(&relay).await;
    let deep = |fault| Some(Deep { age: 500, unbounded_only: true, fault });
    let (old, bounded) = (json!({"until": start + 300}), json!({"until": start + 300, "since": start}));
    for fault in [
        DeepFault::Empty,
        DeepFault::Slow(Duration::from_millis(200)),
        DeepFault::Closed("error: too old".into()),
        DeepFault::Silent,
    ] {
        relay.update(|options| options.deep = deep(fault.clone()));
        assert_eq!(client.times(json!({"until": start + 900})).await.len(), 10);
        assert_eq!(client.times(bounded.clone()).await.len(), 4);
        let asked = Instant::now();
        match fault {
            DeepFault::Empty => assert_eq!(client.times(old.clone()).await.len(), 0),
            DeepFault::Slow(pause) => {
                assert_eq!(client.times(old.clone()).await.len(), 4);
                assert!(asked.elapsed() >= pause);
            }
            DeepFault::Closed(text) => assert_eq!(client.ask(old.clone()).await.1, json!(["CLOSED", "s", text])),
            DeepFault::Silent => {
                client.send(json!(["REQ", "s", old])).await;
                assert!(client.is_silent().await);
            }
        }
    }
    relay.update(|options| (options.deep, options.retention) = (None, Some(450)));
    assert_eq!(client.times(json!({})).await.len(), 4);
    assert_eq!(client.times(bounded).await.len(), 0);
    assert_eq!(relay.held().len(), 10);
}
