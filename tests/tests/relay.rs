//! The test relay does what its options say: each is checked by a bare WebSocket or TCP client.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bigbrotr_tests::{
    Generator, Relay, RelayHandle, RelayOptions, Spec, Store, distribute,
    generate::now,
    relay::{Auth, Count, Disconnect, Document, Endless, Eose, Extra, Mode, Order, Refusal, Write},
    signed,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to notice an answer that should not come.
const SILENCE: Duration = Duration::from_millis(150);

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(relay: &RelayHandle) -> Self {
        let stream = TcpStream::connect(relay.address()).await.expect("connects");
        Self(client_async(relay.url(), stream).await.expect("upgrades").0)
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("sends");
    }

    /// The next message; `None` at the end of the connection, however it ends.
    async fn message(&mut self) -> Option<Message> {
        let next = timeout(PATIENCE, self.0.next()).await.expect("an answer in time");
        next.and_then(Result::ok).filter(|message| !message.is_close())
    }

    async fn json(&mut self) -> Value {
        let message = self.message().await.expect("a message");
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    }

    async fn is_silent(&mut self) -> bool {
        timeout(SILENCE, self.0.next()).await.is_err()
    }

    /// Asks, and collects the events up to the first other message (null when the connection ends).
    async fn ask(&mut self, filter: Value) -> (Vec<Value>, Value) {
        self.send(json!(["REQ", "s", filter])).await;
        self.answer().await
    }

    async fn answer(&mut self) -> (Vec<Value>, Value) {
        let mut events = Vec::new();
        while let Some(message) = self.message().await {
            let mut message: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
            if message[0] != "EVENT" {
                return (events, message);
            }
            events.push(message[2].take());
        }
        (events, Value::Null)
    }

    /// `created_at` of the answer.
    async fn times(&mut self, filter: Value) -> Vec<i64> {
        let (events, end) = self.ask(filter).await;
        assert_eq!(end[0], "EOSE");
        events.iter().map(|event| event["created_at"].as_i64().expect("integer")).collect()
    }
}

/// Notes at seconds 1 to `n`.
fn notes(n: i64) -> Vec<String> {
    let mut generator = Generator::new(1);
    (1..=n).map(|at| generator.event(1, at, &[], &format!("note {at}"))).collect()
}

fn relay(options: RelayOptions) -> RelayHandle {
    Relay::start(RelayOptions { events: Store::new(notes(10)), ..options })
}

async fn well_behaved() -> (RelayHandle, Client) {
    let relay = relay(RelayOptions::default());
    let client = Client::connect(&relay).await;
    (relay, client)
}

fn eose() -> Value {
    json!(["EOSE", "s"])
}

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

fn id(event: &str) -> String {
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
async fn new_events_reach_matching_subscriptions_until_they_are_closed() {
    let (relay, mut client) = well_behaved().await;
    let mut generator = Generator::new(5);
    let (old, new) = (generator.event(1, 3, &[], "old"), generator.event(1, 30, &[], "new"));
    assert_eq!(client.ask(json!({"since": 20})).await, (vec![], eose()));
    relay.add(&old);
    relay.add(&new);
    assert_eq!(client.json().await[2]["content"], "new");
    client.send(json!(["CLOSE", "s"])).await;
    assert!(client.is_silent().await);
    relay.add(&new);
    assert!(client.is_silent().await);
    assert_eq!(relay.held().len(), 13);
    assert_eq!(relay.served().closes, 1);
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

fn auth_event(generator: &mut Generator, relay: &str, challenge: &str, at: i64) -> Value {
    let tags = [vec!["relay".to_owned(), relay.to_owned()], vec!["challenge".to_owned(), challenge.to_owned()]];
    serde_json::from_str(&generator.event(22242, at, &tags, "")).expect("JSON")
}

#[tokio::test]
async fn auth_must_be_right_before_anything_is_served() {
    let relay = relay(RelayOptions { auth: Auth::Required, ..Default::default() });
    let mut client = Client::connect(&relay).await;
    let challenge = client.json().await;
    assert_eq!(challenge[0], "AUTH");
    let challenge = challenge[1].as_str().expect("text").to_owned();
    let (_, end) = client.ask(json!({})).await;
    assert!(end[0] == "CLOSED" && end[2].as_str().is_some_and(|text| text.starts_with("auth-required:")), "{end}");

    let mut generator = Generator::new(6);
    let mut tampered = auth_event(&mut generator, &relay.url(), &challenge, now());
    tampered["content"] = json!("tampered");
    for wrong in [
        tampered,
        auth_event(&mut generator, &relay.url(), "other", now()),
        auth_event(&mut generator, "ws://127.0.0.1:1", &challenge, now()),
        auth_event(&mut generator, &relay.url(), &challenge, now() - 3_600),
    ] {
        client.send(json!(["AUTH", wrong])).await;
        let ok = client.json().await;
        assert!(ok[0] == "OK" && ok[2] == false, "{wrong} gives {ok}");
    }
    assert_eq!(client.ask(json!({})).await.1[0], "CLOSED");

    let right = auth_event(&mut generator, &format!("{}/", relay.url()), &challenge, now());
    client.send(json!(["AUTH", right])).await;
    assert_eq!(client.json().await, json!(["OK", right["id"], true, ""]));
    assert_eq!(client.ask(json!({})).await.0.len(), 10);
    assert_eq!(relay.served().auths, 1);
    // Another connection has not authenticated, and a challenge is good for its own only.
    let mut other = Client::connect(&relay).await;
    assert_ne!(other.json().await[1], challenge);
    assert_eq!(other.ask(json!({})).await.1[0], "CLOSED");
}

#[tokio::test]
async fn auth_can_be_silent_or_in_vain() {
    let relay = relay(RelayOptions { auth: Auth::Silent, ..Default::default() });
    let mut client = Client::connect(&relay).await;
    let challenge = client.json().await[1].as_str().expect("text").to_owned();
    client.send(json!(["REQ", "s", {}])).await;
    assert!(client.is_silent().await);
    relay.update(|options| options.auth = Auth::Restricted);
    client.send(json!(["AUTH", auth_event(&mut Generator::new(6), &relay.url(), &challenge, now())])).await;
    assert_eq!(client.json().await[2], true);
    let (_, end) = client.ask(json!({})).await;
    assert!(end[2].as_str().is_some_and(|text| text.starts_with("restricted:")), "{end}");
}

#[tokio::test]
async fn connection_breaks_where_asked() {
    let after = Disconnect { after_events: Some(4), ..Default::default() };
    let relay = relay(RelayOptions { disconnect: after, ..Default::default() });
    assert_eq!(Client::connect(&relay).await.times(json!({"limit": 3})).await.len(), 3);
    for limit in [4, 9] {
        let (events, end) = Client::connect(&relay).await.ask(json!({"limit": limit})).await;
        assert_eq!((events.len(), end), (4, Value::Null), "limit {limit}");
    }
    relay.update(|options| {
        options.disconnect = Disconnect { probability: 0.1, seed: 1, ..Default::default() };
    });
    let mut lengths = std::collections::BTreeSet::new();
    for _ in 0..30 {
        lengths.insert(Client::connect(&relay).await.ask(json!({})).await.0.len());
    }
    assert!(lengths.len() > 3 && lengths.contains(&10), "{lengths:?}");
    relay.update(|options| options.disconnect = Disconnect { at_connect: true, ..Default::default() });
    assert!(Client::connect(&relay).await.message().await.is_none());
}

#[tokio::test]
async fn connections_can_be_killed_and_the_relay_stopped() {
    let (relay, mut client) = well_behaved().await;
    client.ask(json!({"limit": 1})).await;
    assert_eq!(relay.open_connections(), 1);
    relay.kill_connections();
    assert!(client.message().await.is_none());
    let mut client = Client::connect(&relay).await;
    client.ask(json!({"limit": 1})).await;
    relay.stop();
    assert!(client.message().await.is_none());
    let gone = Instant::now();
    while TcpStream::connect(relay.address()).await.is_ok() {
        assert!(gone.elapsed() < PATIENCE, "still listening");
    }
    while relay.open_connections() > 0 {
        assert!(gone.elapsed() < PATIENCE, "still open");
        tokio::task::yield_now().await;
    }
    let served = relay.served();
    assert_eq!((served.connections >= 2, served.websockets, served.open_peak), (true, 2, 1));
    let again = Relay::start(RelayOptions { port: relay.address().port(), ..Default::default() });
    assert_eq!(again.url(), relay.url());
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
async fn servers_that_are_no_relays() {
    let relay = relay(RelayOptions { mode: Mode::Echo, ..Default::default() });
    let mut client = Client::connect(&relay).await;
    client.send(json!(["REQ", "s", {}])).await;
    assert_eq!(client.json().await, json!(["REQ", "s", {}]));
    relay.update(|options| options.mode = Mode::Silent);
    client.send(json!(["REQ", "s", {}])).await;
    assert!(client.is_silent().await);
    relay.update(|options| options.mode = Mode::SilentTcp);
    let stream = TcpStream::connect(relay.address()).await.expect("connects");
    assert!(timeout(SILENCE, client_async(relay.url(), stream)).await.is_err());
    relay.update(|options| options.mode = Mode::Http(Document::html(403, "<h1>Denied</h1>")));
    let stream = TcpStream::connect(relay.address()).await.expect("connects");
    let error = client_async(relay.url(), stream).await.expect_err("no upgrade");
    assert!(error.to_string().contains("403"), "{error}");
}

/// Head and body of the answer to a GET.
async fn get(relay: &RelayHandle, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(relay.address()).await.expect("connects");
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: me/1\r\nACCEPT: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn information_document_is_whatever_it_is_set_to() {
    let relay = relay(RelayOptions::default());
    const ACCEPT: &str = "application/nostr+json";
    let (head, body) = get(&relay, ACCEPT).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Type: application/nostr+json\r\n"), "{head}");
    let document: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(document["name"], "test relay");
    assert!(get(&relay, "text/html").await.1.contains("Nostr client"));
    relay.update(|options| {
        options.nip11 = Some(Document {
            status: 302,
            headers: vec![("Location".into(), "/elsewhere".into())],
            delay: Duration::from_millis(100),
            ..Document::nip11("{broken")
        });
    });
    let asked = Instant::now();
    let (head, body) = get(&relay, ACCEPT).await;
    assert!(asked.elapsed() >= Duration::from_millis(100));
    assert!(head.starts_with("HTTP/1.1 302 ") && head.contains("\r\nLocation: /elsewhere"), "{head}");
    assert_eq!(body, "{broken");
    relay.update(|options| options.nip11 = Some(Document::huge(1_000_000)));
    let (_, body) = get(&relay, ACCEPT).await;
    assert_eq!(body.len(), 1_000_000);
    assert!(serde_json::from_str::<Value>(&body).is_ok());
    relay.update(|options| options.nip11 = None);
    assert!(get(&relay, ACCEPT).await.0.starts_with("HTTP/1.1 404 "));
    let served = relay.served();
    assert_eq!((served.documents, served.websockets), (4, 0));
    assert!(served.user_agents.contains("me/1"));
}

#[tokio::test]
async fn frames_sent_along_with_the_upgrade_request_are_not_lost() {
    let relay = relay(RelayOptions::default());
    let mut stream = TcpStream::connect(relay.address()).await.expect("connects");
    let mut bytes = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    let request = br#"["REQ","s",{"limit":0}]"#;
    // A masked text frame, with the mask 0.
    bytes.extend([0x81, 0x80 | request.len() as u8, 0, 0, 0, 0]);
    bytes.extend(request);
    stream.write_all(&bytes).await.expect("sends");
    let mut answer = Vec::new();
    while !answer.ends_with(br#"["EOSE","s"]"#) {
        let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("in time").expect("reads");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
    // The example of RFC 6455 §1.3.
    assert!(String::from_utf8_lossy(&answer).contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

#[tokio::test]
async fn relays_of_one_store_share_their_events() {
    let store = Store::new(notes(10));
    let relays: Vec<_> = distribute(10, 3, 2, 1)
        .iter()
        .map(|held| Relay::start(RelayOptions { events: store.subset(held), ..Default::default() }))
        .collect();
    assert_eq!(relays.iter().map(|relay| relay.held().len()).sum::<usize>(), 20);
    // Counters are each relay's own.
    Client::connect(&relays[0]).await.ask(json!({})).await;
    assert_eq!(relays[0].served().events, relays[0].held().len() as u64);
    assert_eq!(relays[1].served().sent.len(), 0);
    assert!(Arc::strong_count(&store.events()[0]) >= 3);
}

#[tokio::test]
async fn jsonl_files_can_be_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("events.jsonl");
    std::fs::write(&file, notes(3).join("\n") + "\n\n").expect("writes");
    let relay = Relay::start(RelayOptions { events: Store::from_jsonl(&file).expect("reads"), ..Default::default() });
    assert_eq!(Client::connect(&relay).await.times(json!({})).await, [3, 2, 1]);
}

#[tokio::test]
async fn pings_are_answered() {
    let (relay, mut client) = well_behaved().await;
    client.0.send(Message::Ping(b"x".to_vec().into())).await.expect("sends");
    assert_eq!(client.message().await, Some(Message::Pong(b"x".to_vec().into())));
    assert_eq!(relay.served().pings, 1);
}
