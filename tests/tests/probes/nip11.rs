use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{SOON, add, checked, documents, last_check, options, start};

/// A server that answers each request with these pieces, with a pause before all but the first; its address.
async fn server(pieces: Vec<Vec<u8>>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let pieces = Arc::new(pieces);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let pieces = pieces.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|size| size > 0) {}
                for (at, piece) in pieces.iter().enumerate() {
                    if at > 0 {
                        tokio::time::sleep(pause).await;
                    }
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

async fn canned(text: impl Into<Vec<u8>>) -> String {
    server(vec![text.into()], Duration::ZERO).await
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    [format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n").as_bytes(), body].concat()
}

/// `{"name":"x"}`
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x4b\xcc\x4d\x55\xb2\x52\xaa\x50\xaa\x05\x00\x69\xb3\x81\x9e\x0c\x00\x00\x00";

#[tokio::test]
async fn documents_come_in_every_shape() {
    let (cluster, client) = start(options(&[("bigbrotr.monitor_checks", "nip11")])).await;
    let body = br#"{"name":"x"}"#;
    let target = canned(ok("", body)).await;
    let redirect =
        |status: u16, to: &str| format!("HTTP/1.1 {status} x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let second = canned(redirect(301, &format!("http://{target}/there"))).await;
    let third = canned(redirect(308, &format!("http://{second}/"))).await;
    let fourth = canned(redirect(307, &format!("http://{third}/"))).await;
    let fifth = canned(redirect(302, &format!("http://{fourth}/"))).await;
    let dripping = ok("", body).chunks(20).map(<[u8]>::to_vec).collect();
    let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0xab; 40]].concat();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"na\r\n8;x=y\r\nme\":\"x\"}\r\n0\r\nTrailer: x\r\n\r\n";
    let endless =
        [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &b"3\r\n{} \r\n".repeat(200_000)].concat();
    // The server, whether its document is stored, why it goes to quarantine, whether the relay counts as being there.
    let cases: Vec<(&str, String, bool, Option<&str>, bool)> = vec![
        ("typed wrongly", canned(ok("Content-Type: image/png\r\n", body)).await, true, None, true),
        ("BOM", canned(ok("", b"\xef\xbb\xbf{\"name\":\"x\"}")).await, true, None, true),
        ("NUL at its end", canned(ok("", b"{\"name\":\"x\"}\0\0\n")).await, true, None, true),
        ("chunked", canned(&chunked[..]).await, true, None, true),
        ("until closed", canned(b"HTTP/1.0 200 OK\r\n\r\n{\"name\":\"x\"}".to_vec()).await, true, None, true),
        ("more than announced", canned([ok("", body), b"trailing".to_vec()].concat()).await, true, None, true),
        ("in drips", server(dripping, Duration::from_millis(20)).await, true, None, true),
        ("one redirect", second, true, None, true),
        ("three redirects", fourth, true, None, true),
        ("four redirects", fifth, false, None, false),
        ("redirect inwards", canned(redirect(302, "http://169.254.169.254/latest")).await, false, None, false),
        ("redirect elsewhere", canned(redirect(302, "http://relay.example.org/")).await, false, None, false),
        ("gzip", canned(ok("Content-Encoding: gzip\r\n", GZIP)).await, true, None, true),
        (
            "gzip, called deflate",
            canned(ok("Content-Encoding: deflate\r\n", GZIP)).await,
            false,
            Some("nip11_compressed"),
            true,
        ),
        ("gzip, not a word", canned(ok("", GZIP)).await, true, None, true),
        ("a key twice", canned(ok("", b"{\"name\":\"y\",\"name\":\"x\"}")).await, true, None, true),
        ("damaged gzip", canned(ok("Content-Encoding: gzip\r\n", &gzip)).await, false, Some("nip11_compressed"), true),
        ("damaged gzip, not said", canned(ok("", &gzip[..20])).await, false, Some("nip11_compressed"), true),
        (
            "br",
            canned(ok("Content-Encoding: br\r\n", b"\x8b\x02\x80{}\x03")).await,
            false,
            Some("nip11_compressed"),
            true,
        ),
        ("br that is none", canned(ok("Content-Encoding: br\r\n", body)).await, true, None, true),
        (
            "HTML",
            canned(ok("Content-Type: application/nostr+json\r\n", b"<html>")).await,
            false,
            Some("nip11_not_json"),
            true,
        ),
        ("403", canned("HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\n{}").await, false, None, true),
        ("429", canned("HTTP/1.1 429 x\r\nContent-Length: 2\r\n\r\n{}").await, false, None, true),
        ("503", canned("HTTP/1.1 503 x\r\nContent-Length: 2\r\n\r\n{}").await, false, None, false),
        ("cut short", canned("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}").await, false, None, false),
        ("megabytes", canned(ok("", &b" ".repeat(2 << 20))).await, false, None, false),
        ("endless", canned(endless).await, false, None, false),
        ("slow", server(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), b"{}".to_vec()], SOON).await, false, None, false),
    ];
    let mut ids = Vec::new();
    for (_, address, ..) in &cases {
        ids.push(add(&client, &format!("ws://{address}")).await);
    }
    for ((name, _, stored, reason, there), id) in cases.iter().zip(ids) {
        checked(&cluster, &client, id, 1).await;
        let found = documents(&client, id, "nip11_info").await;
        let (is_ok, _, class, error) = last_check(&client, id).await;
        assert_eq!((is_ok, found.is_empty()), (*there, !stored), "{name}: {found:?} {class:?} {error:?}");
        if *stored {
            assert_eq!(found[0], json!({"name": "x"}), "{name}");
        }
        let quarantined = "SELECT string_agg(reason, ',') FROM bigbrotr.quarantine WHERE relay_id = $1";
        let row = client.query_one(quarantined, &[&id]).await.expect("a row");
        assert_eq!(row.get::<_, Option<&str>>(0), *reason, "{name}");
    }
}
