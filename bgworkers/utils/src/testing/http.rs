use super::servers::{Server, config, dialer, read_head};
use crate::{DialError, DialerConfig, HttpRequest, HttpResponse};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

async fn get(server: &Server, max_bytes: usize) -> Result<HttpResponse, DialError> {
    dialer(config()).http_get(&HttpRequest::endpoint(server.endpoint(), max_bytes)).await
}

#[tokio::test]
async fn a_document_is_fetched_with_status_headers_and_url() {
    let server =
        Server::canned("HTTP/1.1 200 OK\r\nContent-Type: application/nostr+json\r\nContent-Length: 2\r\n\r\n{}").await;
    let response = get(&server, 100).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, &b"{}"[..]));
    assert_eq!(response.headers.get("content-type"), Some("application/nostr+json"));
    assert_eq!(response.final_url, format!("http://127.0.0.1:{}/", server.port));
}

#[tokio::test]
async fn the_request_asks_for_what_was_wanted_and_nothing_compressed() {
    let (sender, mut heads) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(read_head(&mut stream).await).await.ok();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok();
        }
    })
    .await;
    let url = format!("http://127.0.0.1:{}/info?x#y", server.port);
    let request = HttpRequest::url(&url, "application/nostr+json", 10).unwrap();
    assert_eq!(dialer(config()).http_get(&request).await.unwrap().status, 204);
    let head = heads.recv().await.unwrap().to_ascii_lowercase();
    for line in [
        "get /info?x http/1.1\r\n".to_owned(),
        format!("\r\nhost: 127.0.0.1:{}\r\n", server.port),
        "\r\nuser-agent: test/1\r\n".into(),
        "\r\naccept: application/nostr+json\r\n".into(),
        "\r\naccept-encoding: identity\r\n".into(),
    ] {
        assert!(head.contains(&line), "{line:?} in {head}");
    }
    let bad = HttpRequest::url(&url, "a\r\nb", 10).unwrap();
    assert_eq!(dialer(config()).http_get(&bad).await.unwrap_err().class(), "http");
}

#[tokio::test]
async fn chunked_and_unbounded_bodies_are_read() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(get(&Server::canned(chunked).await, 5).await.unwrap().body, b"abcde");
    let until_close = "HTTP/1.0 200 OK\r\n\r\nabcde";
    assert_eq!(get(&Server::canned(until_close).await, 5).await.unwrap().body, b"abcde");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
    let announced = Server::canned("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").await;
    assert_eq!(get(&announced, 10).await.unwrap_err(), DialError::Oversize { limit: 10, size: Some(99_999_999_999) });
    let endless = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok();
        while stream.write_all(b"4\r\nabcd\r\n").await.is_ok() {}
    })
    .await;
    assert_eq!(get(&endless, 1000).await.unwrap_err(), DialError::Oversize { limit: 1000, size: None });
}

#[tokio::test]
async fn a_body_cut_short_is_an_error() {
    let short = Server::canned("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    assert_eq!(get(&short, 100).await.unwrap_err(), DialError::Disconnected);
    let chunked = Server::canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").await;
    assert_eq!(get(&chunked, 100).await.unwrap_err().class(), "tcp");
    let nothing = Server::canned("").await;
    assert_eq!(get(&nothing, 100).await.unwrap_err().class(), "tcp");
    let nonsense = Server::canned("SSH-2.0-x\r\n\r\n").await;
    assert_eq!(get(&nonsense, 100).await.unwrap_err().class(), "http");
    let huge = Server::canned(format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(200_000))).await;
    assert_eq!(get(&huge, 100).await.unwrap_err().class(), "http");
}

#[tokio::test]
async fn a_redirect_within_the_host_is_followed() {
    let target = Server::canned("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let location = format!("http://127.0.0.1:{}/there", target.port);
    let source = Server::canned(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n")).await;
    let response = get(&source, 100).await.unwrap();
    assert_eq!((response.body.as_slice(), response.final_url), (&b"ok"[..], location));
}

#[tokio::test]
async fn a_redirect_to_another_place_is_refused() {
    for location in ["http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/", "//other.example/"]
    {
        let server = Server::canned(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n")).await;
        let error = get(&server, 100).await.unwrap_err();
        assert!(matches!(error, DialError::RedirectRefused(_)), "{location}: {error}");
    }
}

#[tokio::test]
async fn the_address_of_a_request_is_checked_like_any_other() {
    let server = Server::canned("HTTP/1.1 200 OK\r\n\r\n").await;
    let strict = dialer(DialerConfig { address_policy: Default::default(), ..config() });
    for url in [
        format!("http://127.0.0.1:{}/", server.port),
        format!("http://2130706433:{}/", server.port),
        format!("http://localhost:{}/", server.port),
        "http://169.254.169.254/".into(),
    ] {
        let request = HttpRequest::url(&url, "*/*", 10).unwrap();
        assert_eq!(strict.http_get(&request).await.unwrap_err().class(), "refused_address", "{url}");
    }
    assert_eq!(server.seen(), 0);
}

#[tokio::test]
async fn redirect_loops_end() {
    let server = Server::canned("HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(get(&server, 100).await.unwrap_err(), DialError::TooManyRedirects(3));
    assert_eq!(server.seen(), 4);
}

#[tokio::test]
async fn silence_and_dripping_end_with_the_request_timeout() {
    let silent = Server::start(|stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let dripping = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for server in [silent, dripping] {
        assert_eq!(get(&server, 100_000).await.unwrap_err().class(), "timeout");
    }
}
