//! What an answer holds, in which order, and how it ends.

use super::*;

#[tokio::test]
async fn answers_newest_first_with_inclusive_bounds_and_a_limit() {
    let (_relay, mut client) = well_behaved().await;
    assert_eq!(client.times(json!({})).await, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(client.times(json!({"since": 3, "until": 5})).await, [5, 4, 3]);
    assert_eq!(client.times(json!({"until": 9, "limit": 2})).await, [9, 8]);
    assert_eq!(client.times(json!({"since": 9, "until": 3})).await, [0; 0]);
    assert_eq!(client.times(json!({"limit": 0})).await, [0; 0]);
    assert_eq!(client.times(json!({"until": 18_446_744_073_709_551_615_u64, "limit": 1})).await, [10]);
}

#[tokio::test]
async fn ties_go_to_the_lowest_id() {
    let mut generator = Generator::new(2);
    let events: Vec<_> = (0..20).map(|n| generator.event(1, 5, &[], &n.to_string())).collect();
    let relay = Relay::start(RelayOptions { events: Store::new(events), ..Default::default() });
    let (page, _) = Client::connect(&relay).await.ask(json!({"limit": 7})).await;
    let ids: Vec<_> = page.iter().map(|event| event["id"].as_str().expect("id").to_owned()).collect();
    assert_eq!(ids, relay.held()[..7]);
    assert!(ids.is_sorted());
}

#[tokio::test]
async fn filters_match_each_field() {
    let mut generator = Generator::new(3);
    let tags = [vec!["t".to_owned(), "cat".to_owned(), "dog".to_owned()], vec!["T".to_owned()], vec!["long".into()]];
    let a = generator.event_by(0, 1, 1, &tags, "a");
    let b = generator.event_by(1, 7, 2, &[], "b");
    let (keys, ids) = ([0, 1].map(|n| signed::pubkey(generator.author(n))), [&a, &b].map(|event| id(event)));
    let relay = Relay::start(RelayOptions { events: Store::new([a, b]), ..Default::default() });
    let mut client = Client::connect(&relay).await;
    for (filter, expected) in [
        (json!({"ids": [ids[0], ids[1], "00"]}), &[2, 1][..]),
        (json!({"ids": [ids[1]], "until": 1}), &[]),
        (json!({"ids": [&ids[0][..10]]}), &[]),
        (json!({"authors": [keys[1]]}), &[2]),
        (json!({"kinds": [1, 3]}), &[1]),
        (json!({"kinds": [1], "authors": [keys[1]]}), &[]),
        (json!({"kinds": []}), &[]),
        (json!({"#t": ["bird", "cat"]}), &[1]),
        (json!({"#t": ["dog"]}), &[]),
        (json!({"#T": ["cat"]}), &[]),
        (json!({"search": "x", "#long": ["x"]}), &[2, 1]),
    ] {
        assert_eq!(client.times(filter.clone()).await, expected, "{filter}");
    }
    client.send(json!(["REQ", "s", {"kinds": [1]}, {"kinds": [7, 1]}])).await;
    assert_eq!(client.answer().await.0.len(), 2);
}

pub fn id(event: &str) -> String {
    let event: Value = serde_json::from_str(event).expect("JSON");
    event["id"].as_str().expect("id").to_owned()
}

#[tokio::test]
async fn bounds_can_be_exclusive_and_requests_ignored() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.until_exclusive = true);
    assert_eq!(client.times(json!({"since": 3, "until": 5})).await, [4, 3]);
    relay.update(|options| (options.until_exclusive, options.since_exclusive) = (false, true));
    assert_eq!(client.times(json!({"since": 3, "until": 5})).await, [5, 4]);
    relay.update(|options| (options.since_exclusive, options.ignore_since_until) = (false, true));
    assert_eq!(client.times(json!({"since": 3, "until": 5, "limit": 2})).await, [10, 9]);
    relay.update(|options| (options.ignore_since_until, options.limit_ignored) = (false, true));
    assert_eq!(client.times(json!({"since": 3, "until": 5, "limit": 1})).await, [5, 4, 3]);
}

#[tokio::test]
async fn cap_and_default_limit_bound_an_answer() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| (options.cap, options.default_limit) = (Some(4), Some(2)));
    assert_eq!(client.times(json!({})).await, [10, 9]);
    assert_eq!(client.times(json!({"limit": 3})).await, [10, 9, 8]);
    assert_eq!(client.times(json!({"limit": 8})).await, [10, 9, 8, 7]);
    relay.update(|options| options.limit_ignored = true);
    assert_eq!(client.times(json!({"limit": 1})).await, [10, 9, 8, 7]);
    client.send(json!(["REQ", "s", {"until": 3}, {"since": 9}])).await;
    assert_eq!(client.answer().await.0.len(), 4);
}

#[tokio::test]
async fn orders_differ_in_what_is_cut_off() {
    let (relay, mut client) = well_behaved().await;
    let limit = json!({"limit": 4});
    relay.update(|options| options.order = Order::Ascending);
    assert_eq!(client.times(limit.clone()).await, [1, 2, 3, 4]);
    assert_eq!(client.times(json!({"since": 8})).await, [8, 9, 10]);
    relay.update(|options| options.order = Order::NewestAscending);
    assert_eq!(client.times(limit.clone()).await, [7, 8, 9, 10]);
    relay.update(|options| options.order = Order::NewestShuffled { seed: 4 });
    let mut shuffled = client.times(json!({"limit": 9})).await;
    assert!(!shuffled.is_sorted() && !shuffled.is_sorted_by(|a, b| a > b));
    shuffled.sort_unstable();
    assert_eq!(shuffled, [2, 3, 4, 5, 6, 7, 8, 9, 10]);
    relay.update(|options| options.order = Order::Random { seed: 4 });
    let random = client.times(limit.clone()).await;
    assert_eq!(random, client.times(limit.clone()).await, "the same question, the same answer");
    assert!(random.iter().any(|at| *at < 7), "{random:?} is not just the newest");
    relay.update(|options| options.order = Order::Random { seed: 5 });
    assert_ne!(random, client.times(limit).await);
}

#[tokio::test]
async fn every_event_is_reached_by_paging() {
    let events = Generator::new(4).corpus(3_000, &Spec::default());
    let store = Store::new(events);
    let relay = Relay::start(RelayOptions { events: store.clone(), cap: Some(500), ..Default::default() });
    let mut client = Client::connect(&relay).await;
    let (mut until, mut seen) = (i64::MAX, std::collections::HashSet::new());
    loop {
        let (page, _) = client.ask(json!({"until": until, "limit": 1_000})).await;
        assert!(page.len() <= 500);
        let before = seen.len();
        seen.extend(page.iter().map(|event| event["id"].as_str().expect("id").to_owned()));
        if seen.len() == before {
            break;
        }
        until = page.last().and_then(|event| event["created_at"].as_i64()).expect("integer");
    }
    assert_eq!(seen.len(), store.len());
    let served = relay.served();
    assert_eq!(served.sent.len(), 3_000);
    assert_eq!(served.sent.values().sum::<u64>(), served.events);
    assert!(served.bytes > 3_000 * 800);
}

#[tokio::test]
async fn events_are_sent_as_the_bytes_they_were_given() {
    let odd = [
        r#"{"id":"x","created_at":5,"created_at":6,"kind":1,"pubkey":"p","tags":[[]],"content":"dup"}"#,
        "{ \"id\" : \"spaced\",\n \"created_at\":7, \"kind\":1.5, \"tags\":[[1,null]], \"content\":\"a\\u0000b\" }",
        r#"{"id":"broken","created_at":8,"kind":1,"content":"#,
        r#"{"created_at":18446744073709551615}"#,
        "no JSON at all",
    ];
    let relay = Relay::start(RelayOptions { events: Store::new(odd), ..Default::default() });
    let mut client = Client::connect(&relay).await;
    client.send(json!(["REQ", "a\"b", {}])).await;
    for raw in [odd[3], odd[2], odd[1], odd[0], odd[4]] {
        let message = client.message().await.expect("a message");
        assert_eq!(message.to_text().expect("text"), format!(r#"["EVENT","a\"b",{raw}]"#));
    }
    assert_eq!(client.json().await, json!(["EOSE", "a\"b"]));
    let (page, _) = client.ask(json!({"ids": ["spaced"]})).await;
    assert_eq!(page.len(), 1);
    let served = relay.served();
    assert_eq!((served.sent["spaced"], served.sent["broken"], served.events), (2, 1, 6));
}

#[tokio::test]
async fn eose_can_carry_a_hint_or_be_missing() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.eose = Eose::Hint);
    assert_eq!(client.ask(json!({"limit": 10})).await.1, json!(["EOSE", "s", "finish"]));
    assert_eq!(client.ask(json!({"limit": 9})).await.1, json!(["EOSE", "s", "more"]));
    relay.update(|options| options.cap = Some(3));
    assert_eq!(client.ask(json!({"until": 3})).await.1, json!(["EOSE", "s", "finish"]));
    assert_eq!(client.ask(json!({"until": 4})).await.1, json!(["EOSE", "s", "more"]));
    relay.update(|options| options.eose = Eose::Always("finish".into()));
    assert_eq!(client.ask(json!({"until": 4})).await.1, json!(["EOSE", "s", "finish"]));
    relay.update(|options| options.eose = Eose::Never);
    client.send(json!(["REQ", "s", {"limit": 1}])).await;
    assert_eq!(client.json().await[0], "EVENT");
    assert!(client.is_silent().await);
}

#[tokio::test]
async fn latency_applies_to_requests_and_to_events() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.request_latency = Duration::from_millis(200));
    let asked = Instant::now();
    client.ask(json!({})).await;
    assert!(asked.elapsed() >= Duration::from_millis(200));
    relay.update(|options| {
        (options.request_latency, options.event_latency) = (Duration::ZERO, Duration::from_millis(30));
    });
    let asked = Instant::now();
    client.ask(json!({})).await;
    assert!(asked.elapsed() >= Duration::from_millis(300));
    // A dripping answer ends when its subscription is closed, and does not hold up another one.
    relay.update(|options| options.event_latency = Duration::from_secs(3_600));
    client.send(json!(["REQ", "slow", {}])).await;
    client.send(json!(["COUNT", "c", {}])).await;
    assert_eq!(client.json().await, json!(["COUNT", "c", {"count": 10}]));
    client.send(json!(["CLOSE", "slow"])).await;
    relay.update(|options| options.event_latency = Duration::ZERO);
    assert_eq!(client.ask(json!({})).await.0.len(), 10);
}

#[tokio::test]
async fn extra_frames_surround_an_answer() {
    let event: Arc<str> = Generator::new(7).event(9, 99, &[], "extra").into();
    let extra = Extra {
        off_filter: vec![Arc::clone(&event)],
        foreign_sub: vec![Arc::clone(&event)],
        after_eose: vec![event],
        text: vec!["{garbage".into()],
        raw_text: vec![b"\xff\xfe".to_vec()],
        binary: vec![vec![0, 1]],
        huge: Some(3_000_000),
        doubles: false,
        endless: None,
    };
    let relay = relay(RelayOptions { extra, ..Default::default() });
    let mut client = Client::connect(&relay).await;
    relay.update(|options| options.extra.raw_text.clear());
    client.send(json!(["REQ", "s", {"kinds": [1], "limit": 1}])).await;
    assert_eq!(client.json().await[2]["kind"], 1);
    assert_eq!(client.json().await[2]["kind"], 9);
    assert_eq!(client.json().await[1], "not-s");
    assert_eq!(client.message().await, Some(Message::text("{garbage")));
    assert_eq!(client.message().await, Some(Message::binary(vec![0, 1])));
    assert_eq!(client.message().await.map(|message| message.len()), Some(3_000_000));
    assert_eq!(client.json().await, eose());
    assert_eq!(client.json().await[2]["kind"], 9);
    assert_eq!(relay.served().events, 4);
    relay.update(|options| options.extra = Extra { raw_text: vec![b"\xff\xfe".to_vec()], ..Default::default() });
    client.send(json!(["REQ", "s", {"limit": 0}])).await;
    let error = client.0.next().await.expect("a frame").expect_err("no UTF-8");
    assert!(error.to_string().to_lowercase().contains("utf"), "{error}");
}

#[tokio::test]
async fn endless_answers_do_not_end() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.extra.endless = Some(Endless::Repeat));
    client.send(json!(["REQ", "s", {"limit": 3}])).await;
    for n in 0..50 {
        assert_eq!(client.json().await[2]["created_at"], 10 - n % 3);
    }
    let mut client = Client::connect(&relay).await;
    relay.update(|options| options.extra.endless = Some(Endless::Fresh));
    client.send(json!(["REQ", "s", {"until": 5, "limit": 1}])).await;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..50 {
        let event = client.json().await[2].take();
        assert_eq!(signed::verify(&event), Ok(()));
        assert_eq!(event["created_at"], 5);
        assert!(ids.insert(event["id"].to_string()));
    }
}

#[tokio::test]
async fn eose_can_come_twice_or_be_followed_by_the_end_of_the_subscription() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.eose = Eose::Twice);
    assert_eq!(client.ask(json!({"limit": 1})).await.1, eose());
    assert_eq!(client.json().await, eose());
    relay.update(|options| options.eose = Eose::ThenClosed("error: no live events here".into()));
    assert_eq!(client.ask(json!({"limit": 1})).await.1, eose());
    assert_eq!(client.json().await, json!(["CLOSED", "s", "error: no live events here"]));
    relay.add(&notes(1)[0]);
    assert!(client.is_silent().await);
}

#[tokio::test]
async fn events_can_be_written_in_other_ways_and_sent_twice() {
    let (relay, mut client) = well_behaved().await;
    let held: Vec<Value> = relay.held_events().iter().map(|e| serde_json::from_str(e).expect("JSON")).collect();
    for dialect in [Dialect::Pretty, Dialect::Escaped] {
        relay.update(|options| options.dialect = dialect);
        assert_eq!(client.ask(json!({})).await.0, held, "{dialect:?}");
    }
    relay.update(|options| options.dialect = Dialect::Pretty);
    client.send(json!(["REQ", "s", {"limit": 1}])).await;
    let message = client.message().await.expect("a message");
    assert!(message.to_text().expect("text").starts_with("[\"EVENT\",\"s\",{ \"sig\" :\n "), "{message}");
    assert_eq!(client.json().await, eose());
    relay.update(|options| (options.dialect, options.extra.doubles) = (Dialect::AsHeld, true));
    assert_eq!(client.times(json!({"limit": 2})).await, [10, 10, 9, 9]);
}
