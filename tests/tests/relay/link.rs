//! Connections and HTTP.

use super::*;

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
pub async fn get(relay: &RelayHandle, accept: &str) -> (String, String) {
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
async fn pings_are_answered() {
    let (relay, mut client) = well_behaved().await;
    client.0.send(Message::Ping(b"x".to_vec().into())).await.expect("sends");
    assert_eq!(client.message().await, Some(Message::Pong(b"x".to_vec().into())));
    assert_eq!(relay.served().pings, 1);
}

async fn linked(link: Link) -> (RelayHandle, Client) {
    let relay = relay(RelayOptions { link, ..Default::default() });
    let client = Client::connect(&relay).await;
    (relay, client)
}

#[tokio::test]
async fn connections_are_limited() {
    let (relay, mut first) = linked(Link { max_connections: Some(1), ..Link::default() }).await;
    first.ask(json!({"limit": 1})).await;
    let stream = TcpStream::connect(relay.address()).await.expect("connects");
    let error = client_async(relay.url(), stream).await.expect_err("no upgrade");
    assert!(error.to_string().contains("429"), "{error}");
    assert_eq!((relay.served().websockets, relay.open_connections()), (1, 1));
    drop(first);
    let gone = Instant::now();
    while relay.open_connections() > 0 {
        assert!(gone.elapsed() < PATIENCE, "still open");
        tokio::task::yield_now().await;
    }
    Client::connect(&relay).await;
}

#[tokio::test]
async fn idle_and_old_connections_break() {
    let span = Duration::from_millis(400);
    let (_relay, mut client) = linked(Link { idle: Some(span), ..Link::default() }).await;
    let started = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(span / 2).await;
        client.ask(json!({"limit": 1})).await;
    }
    assert!(started.elapsed() > span);
    client.0.send(Message::Ping(b"x".to_vec().into())).await.expect("sends");
    assert_eq!(client.message().await, Some(Message::Pong(b"x".to_vec().into())));
    assert!(client.message().await.is_none());
    let (_relay, mut client) = linked(Link { lifetime: Some(span), ..Link::default() }).await;
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        client.0.send(Message::text(r#"["REQ","s",{"limit":1}]"#)).await.ok();
        if client.message().await.is_none() {
            break;
        }
    }
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn frozen_connections_stay_open_and_dead() {
    let (relay, mut client) = linked(Link { freeze: Some(Duration::from_millis(300)), ..Link::default() }).await;
    assert_eq!(client.ask(json!({"limit": 1})).await.1, eose());
    tokio::time::sleep(Duration::from_millis(400)).await;
    relay.add(&notes(1)[0]);
    client.0.send(Message::Ping(b"x".to_vec().into())).await.expect("sends");
    client.send(json!(["REQ", "t", {"limit": 1}])).await;
    assert!(client.is_silent().await);
    assert_eq!(relay.open_connections(), 1);
}

#[tokio::test]
async fn pongs_can_be_left_out_and_all_else_goes_on() {
    let (relay, mut client) = linked(Link { mute_pongs: true, ..Link::default() }).await;
    for size in [0, 125] {
        client.0.send(Message::Ping(vec![7; size].into())).await.expect("sends");
        assert_eq!(client.ask(json!({})).await.0.len(), 10);
    }
    let large = Generator::new(1).event(1, 99, &[], &"x".repeat(300_000));
    relay.add(&large);
    assert_eq!(client.json().await[2]["content"].as_str().map(str::len), Some(300_000));
    assert!(client.is_silent().await);
    assert_eq!(relay.served().pings, 2);
}

#[tokio::test]
async fn messages_can_come_in_fragments() {
    let odd = Generator::new(1).event(1, 99, &[], "zwölf \u{1f600} Äpfel");
    for size in [1, 7, 100_000] {
        let (relay, mut client) = linked(Link { fragment: Some(size), ..Link::default() }).await;
        relay.add(&odd);
        let (events, end) = client.ask(json!({})).await;
        assert_eq!((events.len(), end), (11, eose()));
        assert_eq!(events[0].to_string(), serde_json::from_str::<Value>(&odd).expect("JSON").to_string());
    }
}

#[tokio::test]
async fn upgrades_carry_the_headers_they_are_told_to() {
    let headers = vec![("Date".to_owned(), "Tue, 01 Jan 2030 00:00:00 GMT".to_owned())];
    let relay =
        relay(RelayOptions { link: Link { upgrade_headers: headers, ..Link::default() }, ..Default::default() });
    let stream = TcpStream::connect(relay.address()).await.expect("connects");
    let (_, response) = client_async(relay.url(), stream).await.expect("upgrades");
    assert_eq!(response.headers()["date"], "Tue, 01 Jan 2030 00:00:00 GMT");
}
