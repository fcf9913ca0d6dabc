use super::servers::{Server, config, dialer, echo, endpoint, read_head};
use crate::{ConnectInfo, Connection, DialError, DialerConfig, Family, Frame, Stage};
use futures_util::{SinkExt, StreamExt};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::derive_accept_key,
    protocol::{
        CloseFrame,
        frame::{
            Frame as RawFrame,
            coding::{Data, OpCode},
        },
    },
};

async fn open(server: &Server) -> Result<(Connection, ConnectInfo), DialError> {
    dialer(config()).connect_endpoint(&server.endpoint()).await
}

async fn refused(server: &Server) -> DialError {
    open(server).await.map(|_| ()).expect_err("must not open")
}

#[tokio::test]
async fn text_goes_there_and_comes_back() {
    let server = Server::websocket(echo).await;
    let (mut connection, info) = open(&server).await.unwrap();
    connection.send_text("[\"REQ\"]".into()).await.unwrap();
    assert_eq!(connection.recv().await.unwrap(), Frame::Text("[\"REQ\"]".into()));
    assert_eq!(info.address, Some(([127, 0, 0, 1], server.port).into()));
    assert_eq!((info.family, info.tls), (Family::V4, None));
    assert!(info.headers.has_token("upgrade", "websocket"));
    connection.close().await;
}

#[tokio::test]
async fn a_message_that_came_with_the_upgrade_is_not_lost() {
    let server = Server::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap().to_owned();
        let accept = derive_accept_key(key.as_bytes());
        // One write, a 103 before, a list in Connection, an extension and a subprotocol nobody asked for.
        let answer = format!(
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: nostr\r\n\r\n\u{1}"
        );
        let mut bytes = answer.into_bytes();
        bytes.pop();
        bytes.extend_from_slice(&[0x81, 2, b'h', b'i']);
        stream.write_all(&bytes).await.ok();
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let (mut connection, info) = open(&server).await.unwrap();
    assert_eq!(connection.recv().await.unwrap(), Frame::Text("hi".into()));
    assert_eq!(info.headers.get("sec-websocket-protocol"), Some("nostr"));
}

#[tokio::test]
async fn the_request_names_host_port_and_us() {
    let (sender, mut heads) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(read_head(&mut stream).await).await.ok();
        }
    })
    .await;
    let mut endpoint = server.endpoint();
    endpoint.path = "/nostr?x=1".into();
    dialer(config()).connect_endpoint(&endpoint).await.err().unwrap();
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /nostr?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nHost: 127.0.0.1:{}\r\n", server.port)), "{head}");
    assert!(head.contains("\r\nUser-Agent: test/1\r\n"), "{head}");
}

#[tokio::test]
async fn localhost_needs_no_resolver() {
    let server = Server::websocket(echo).await;
    let (_, info) = dialer(config()).connect_endpoint(&endpoint("localhost", server.port)).await.unwrap();
    assert!(info.address.unwrap().ip().is_loopback());
}

#[tokio::test]
async fn pings_are_answered() {
    let server = Server::websocket(|mut socket| async move {
        socket.send(Message::Ping(vec![1, 2, 3].into())).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Pong(payload) = message {
                socket.send(Message::text(format!("{payload:?}"))).await.unwrap();
            }
        }
    })
    .await;
    let (mut connection, _) = open(&server).await.unwrap();
    let Frame::Text(text) = connection.recv().await.unwrap() else { panic!("no text") };
    assert!(text.contains("\\x01\\x02\\x03"), "{text}");
}

#[tokio::test]
async fn pongs_to_our_pings_keep_a_quiet_relay_alive() {
    let server = Server::websocket(echo).await;
    let dialer = dialer(DialerConfig { idle_timeout: Duration::from_millis(300), ..config() });
    let (mut connection, _) = dialer.connect_endpoint(&server.endpoint()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1000), connection.recv()).await.is_err(), "alive and quiet");
    connection.send_text("x".into()).await.unwrap();
    assert_eq!(connection.recv().await.unwrap(), Frame::Text("x".into()));
}

#[tokio::test]
async fn a_relay_that_answers_no_ping_is_idle() {
    let server = Server::websocket(|socket| async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(socket);
    })
    .await;
    let limit = Duration::from_millis(300);
    let dialer = dialer(DialerConfig { idle_timeout: limit, ..config() });
    let (mut connection, _) = dialer.connect_endpoint(&server.endpoint()).await.unwrap();
    assert_eq!(connection.recv().await.unwrap_err(), DialError::Idle(limit));
}

#[tokio::test]
async fn time_spent_elsewhere_is_not_silence() {
    let server = Server::websocket(echo).await;
    let dialer = dialer(DialerConfig { idle_timeout: Duration::from_secs(1), ..config() });
    let (mut connection, _) = dialer.connect_endpoint(&server.endpoint()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), connection.recv()).await.is_err(), "alive and quiet");
}

#[tokio::test]
async fn a_dropped_recv_loses_nothing() {
    let server = Server::websocket(|mut socket| async move {
        socket.get_mut().write_all(&[0x81, 4, b'a', b'b']).await.ok();
        tokio::time::sleep(Duration::from_millis(200)).await;
        socket.get_mut().write_all(b"cd").await.ok();
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let (mut connection, _) = open(&server).await.unwrap();
    for _ in 0..5 {
        let _ = tokio::time::timeout(Duration::from_millis(10), connection.recv()).await;
    }
    assert_eq!(connection.recv().await.unwrap(), Frame::Text("abcd".into()));
}

#[tokio::test]
async fn fragments_are_joined_within_the_cap() {
    let server = Server::websocket(|mut socket| async move {
        let part = |bytes: Vec<u8>, op, last| Message::Frame(RawFrame::message(bytes, OpCode::Data(op), last));
        socket.send(part(b"ab".to_vec(), Data::Text, false)).await.ok();
        socket.send(part(b"cd".to_vec(), Data::Continue, true)).await.ok();
        socket.send(part(vec![b'x'; 600], Data::Text, false)).await.ok();
        socket.send(part(vec![b'x'; 600], Data::Continue, true)).await.ok();
        echo(socket).await;
    })
    .await;
    let (mut connection, _) = open(&server).await.unwrap();
    assert_eq!(connection.recv().await.unwrap(), Frame::Text("abcd".into()));
    assert_eq!(connection.recv().await.unwrap_err(), DialError::Oversize { limit: 1000, size: Some(1200) });
}

#[tokio::test]
async fn an_oversize_frame_is_refused_by_its_header() {
    // 2^62 bytes announced, none sent.
    let server = Server::raw_after_upgrade(&[0x81, 127, 0x40, 0, 0, 0, 0, 0, 0, 0]).await;
    let (mut connection, _) = open(&server).await.unwrap();
    assert_eq!(connection.recv().await.unwrap_err(), DialError::Oversize { limit: 1000, size: Some(1 << 62) });
    assert!(connection.recv().await.is_err());
}

#[tokio::test]
async fn binary_frames_are_told_apart() {
    let server = Server::websocket(|mut socket| async move {
        socket.send(Message::binary(vec![0; 10])).await.ok();
        echo(socket).await;
    })
    .await;
    let (mut connection, _) = open(&server).await.unwrap();
    assert_eq!(connection.recv().await.unwrap(), Frame::Binary(10));
}

#[tokio::test]
async fn broken_frames_and_broken_text_are_protocol_errors() {
    for bytes in
        [&[0x81, 2, 0xff, 0xfe][..], &[0xc1, 1, b'a'], &[0x81, 0x81, 0, 0, 0, 0, b'a'], &[0x80, 1, b'a'], &[0x83, 0]]
    {
        let server = Server::raw_after_upgrade(bytes).await;
        let (mut connection, _) = open(&server).await.unwrap();
        let error = connection.recv().await.unwrap_err();
        assert_eq!(error.class(), "protocol", "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn an_end_within_a_frame_is_a_lost_connection() {
    for bytes in [&[0x81, 10, b'a'][..], &[0x81], &[]] {
        let server = Server::raw_after_upgrade(bytes).await;
        let (mut connection, _) = open(&server).await.unwrap();
        assert_eq!(connection.recv().await.unwrap_err(), DialError::Disconnected, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_close_frame_is_shown_with_code_and_reason() {
    let server = Server::websocket(|mut socket| async move {
        let frame = CloseFrame { code: 4000.into(), reason: "go\naway".into() };
        socket.close(Some(frame)).await.ok();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let (mut connection, _) = open(&server).await.unwrap();
    assert_eq!(connection.recv().await.unwrap(), Frame::Closed { code: 4000, reason: "go\u{FFFD}away".into() });
    assert_eq!(connection.recv().await.unwrap_err(), DialError::Disconnected);
    assert_eq!(connection.send_text("late".into()).await.unwrap_err().class(), "tcp");
}

#[tokio::test]
async fn close_does_not_wait_for_a_relay_that_ignores_it() {
    let server = Server::websocket(|socket| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(socket);
    })
    .await;
    let (connection, _) = open(&server).await.unwrap();
    let started = Instant::now();
    connection.close().await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_reader_that_never_reads_does_not_block_a_sender_for_ever() {
    let server = Server::websocket(|socket| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(socket);
    })
    .await;
    let (mut connection, _) = open(&server).await.unwrap();
    let mut last = Ok(());
    for _ in 0..100 {
        last = connection.send_text("x".repeat(1_000_000)).await;
        if last.is_err() {
            break;
        }
    }
    assert_eq!(last.unwrap_err(), DialError::Timeout { stage: Stage::Send, after: config().request_timeout });
}

#[tokio::test]
async fn an_http_answer_is_no_websocket() {
    for (answer, status) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", 200),
        ("HTTP/1.1 301 Moved\r\nLocation: https://other.example/\r\n\r\n", 301),
        ("HTTP/1.0 502 Bad Gateway\n\n", 502),
    ] {
        let error = refused(&Server::canned(answer).await).await;
        assert!(matches!(&error, DialError::HttpStatus { status: s, .. } if *s == status), "{answer}: {error}");
        assert_eq!(error.class(), "http");
    }
}

#[tokio::test]
async fn answers_that_are_no_handshake_are_classified() {
    for (answer, class) in [
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "ws"),
        ("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", "ws"),
        ("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "ws"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "http"),
        ("HTTP/1.1 101 Swi", "http"),
        ("", "tcp"),
    ] {
        assert_eq!(refused(&Server::canned(answer).await).await.class(), class, "{answer}");
    }
    let endless = format!("HTTP/1.1 101 x\r\nA: {}\r\n\r\n", "a".repeat(100_000));
    assert_eq!(refused(&Server::canned(endless).await).await.class(), "http");
}

#[tokio::test]
async fn silence_and_dripping_end_with_the_connect_timeout() {
    let silent = Server::start(|stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let dripping = Server::start(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nX: ").await.ok();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for server in [silent, dripping] {
        let error = refused(&server).await;
        assert_eq!(error, DialError::Timeout { stage: Stage::Upgrade, after: config().connect_timeout });
    }
}

#[tokio::test]
async fn a_refused_address_gets_no_connection() {
    let server = Server::websocket(echo).await;
    let strict = dialer(DialerConfig { address_policy: Default::default(), ..config() });
    let error = strict.connect_endpoint(&server.endpoint()).await.err().unwrap();
    assert!(matches!(error, DialError::RefusedAddress { .. }), "{error}");
    let error = strict.connect_endpoint(&endpoint("localhost", server.port)).await.err().unwrap();
    assert_eq!(error.class(), "refused_address");
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn a_closed_port_is_a_tcp_error() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = dialer(config()).connect_endpoint(&endpoint("127.0.0.1", port)).await.err().unwrap();
    assert_eq!(error, DialError::Tcp("connection refused".into()));
}

#[test]
fn the_futures_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let dialer_and_endpoint = |d: crate::Dialer, e: crate::Endpoint| {
        is_send(async move {
            let (mut connection, _) = d.connect_endpoint(&e).await?;
            connection.send_text(String::new()).await?;
            connection.recv().await?;
            connection.close().await;
            Ok::<_, DialError>(())
        });
    };
    let _ = dialer_and_endpoint;
}

/// As the operator of a synchronizer has it.
fn roomy() -> crate::Dialer {
    dialer(DialerConfig { max_message_size: 4 << 20, ..config() })
}

const MILLION: usize = 1_000_000;

/// Sends these bytes after the upgrade, in pieces of `piece`, and stays.
async fn sending(bytes: Vec<u8>, piece: usize) -> Server {
    let bytes = std::sync::Arc::new(bytes);
    Server::websocket(move |socket| {
        let bytes = bytes.clone();
        async move {
            let mut stream = socket.into_inner();
            stream.set_nodelay(true).ok();
            for piece in bytes.chunks(piece) {
                if stream.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    })
    .await
}

fn header(flags: u8, length: usize) -> Vec<u8> {
    [&[flags, 127][..], &(length as u64).to_be_bytes()].concat()
}

#[tokio::test]
async fn large_messages_come_through_in_any_pieces() {
    let part = vec![b'x'; MILLION / 4];
    let mut bytes = vec![0x81, 2, b'h', b'i'];
    // One frame; then four fragments with a ping between them.
    bytes.extend(header(0x81, MILLION));
    bytes.extend(part.repeat(4));
    for flags in [0x01, 0x00, 0x00, 0x80] {
        bytes.extend(header(flags, part.len()));
        bytes.extend(&part);
        bytes.extend([0x89, 1, b'p']);
    }
    bytes.extend([0x81, 3, b'e', b'n', b'd']);
    for piece in [1, 7, 1 << 20] {
        let server = sending(bytes.clone(), if piece == 1 { 1009 } else { piece * 1000 }).await;
        let (mut connection, _) = roomy().connect_endpoint(&server.endpoint()).await.unwrap();
        let mut lengths = Vec::new();
        for _ in 0..4 {
            let Frame::Text(text) = connection.recv().await.unwrap() else { panic!("no text") };
            assert!(text.len() < 10 || text.bytes().all(|byte| byte == b'x'));
            lengths.push(text.len());
        }
        assert_eq!(lengths, [2, MILLION, MILLION, 3]);
    }
    // Every header byte by itself.
    let server = sending([header(0x81, 300_000), vec![b'x'; 2]].concat(), 1).await;
    let (mut connection, _) = roomy().connect_endpoint(&server.endpoint()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), connection.recv()).await.is_err());
}

#[tokio::test]
async fn announcements_of_large_messages_wait_for_those_before_and_small_ones_do_not() {
    let small = vec![0x81, 2, b'h', b'i'];
    let announcing = sending([small.clone(), header(0x81, MILLION), vec![b'x'; 10]].concat(), 1 << 20).await;
    let fragments = [header(0x01, 200_000), vec![b'x'; 200_000], header(0x80, 3 << 20)].concat();
    let in_parts = sending([small.clone(), fragments].concat(), 1 << 20).await;
    let as_control = sending([small.clone(), header(0x89, 2 << 20)].concat(), 1 << 20).await;
    let whole = sending([small, header(0x81, MILLION), vec![b'x'; MILLION]].concat(), 1 << 20).await;
    let dialer = roomy();
    let mut stalled = Vec::new();
    for server in std::iter::repeat_n(&announcing, 6).chain([&in_parts, &as_control]) {
        let (mut connection, _) = dialer.connect_endpoint(&server.endpoint()).await.unwrap();
        assert_eq!(connection.recv().await.unwrap(), Frame::Text("hi".into()));
        assert!(tokio::time::timeout(Duration::from_millis(200), connection.recv()).await.is_err());
        stalled.push(connection);
    }
    let (mut connection, _) = dialer.connect_endpoint(&whole.endpoint()).await.unwrap();
    assert_eq!(connection.recv().await.unwrap(), Frame::Text("hi".into()), "a small one waits for nobody");
    let waits = tokio::time::timeout(Duration::from_millis(500), connection.recv()).await;
    assert!(waits.is_err(), "all places are taken");
    stalled.pop();
    assert!(matches!(connection.recv().await.unwrap(), Frame::Text(text) if text.len() == MILLION));
}

#[tokio::test]
async fn a_large_message_that_never_ends_loses_its_place() {
    let server = Server::websocket(|socket| async move {
        let mut stream = socket.into_inner();
        stream.write_all(&header(0x01, 300_000)).await.ok();
        stream.write_all(&vec![b'x'; 300_000]).await.ok();
        // With signs of life between the bytes, so that it is not idle.
        while stream.write_all(&[0x00, 1, b'x', 0x89, 0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let config = DialerConfig { max_message_size: 4 << 20, idle_timeout: Duration::from_millis(600), ..config() };
    let (mut connection, _) = dialer(config).connect_endpoint(&server.endpoint()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), connection.recv()).await.expect("it ends");
    assert_eq!(ended.unwrap_err().class(), "tcp");
}
