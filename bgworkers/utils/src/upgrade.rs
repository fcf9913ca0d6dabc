//! The WebSocket upgrade (RFC 6455 §4).
//!
//! Not tungstenite's own: that one refuses `Connection: keep-alive, Upgrade`, which relays behind some proxies send, and keeps no headers of a
//! refused answer. What decides is the accept key; subprotocols and extensions nobody asked for are ignored, as they cannot matter before a frame uses them.

use crate::{
    endpoint::Endpoint,
    error::{DialError, clip},
    headers::{Headers, MAX_HEADERS},
    stream::Stream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

/// Bytes of a response head; browsers stop at 256 KiB, cookies and policies rarely reach 8.
const MAX_HEAD: usize = 32 * 1024;
/// Interim answers (100, 103) before the real one.
const MAX_INTERIM: usize = 4;

/// Asks for a WebSocket. Returns the response headers and the bytes that already followed them. The caller limits the time.
pub(crate) async fn upgrade(
    stream: &mut Stream,
    endpoint: &Endpoint,
    user_agent: &str,
) -> Result<(Headers, Vec<u8>), DialError> {
    let key = generate_key();
    stream.write_all(&request(endpoint, user_agent, &key)?).await.map_err(|e| DialError::io(&e))?;
    stream.flush().await.map_err(|e| DialError::io(&e))?;

    let mut received = Vec::new();
    for _ in 0..=MAX_INTERIM {
        let end = read_head(stream, &mut received).await?;
        let rest = received.split_off(end);
        let (status, headers) = parse(&received)?;
        received = rest;
        match status {
            101 => return accept(headers, &key).map(|headers| (headers, received)),
            100..=199 => {}
            _ => {
                let text = |name: &str| headers.get(name).map(clip);
                return Err(DialError::HttpStatus {
                    status,
                    content_type: text("content-type"),
                    location: text("location"),
                });
            }
        }
    }
    Err(DialError::Http("too many interim answers".into()))
}

fn request(endpoint: &Endpoint, user_agent: &str, key: &str) -> Result<Vec<u8>, DialError> {
    let (path, host) = (&endpoint.path, endpoint.authority());
    if !path.starts_with('/') || !(path.bytes().chain(host.bytes())).all(|b| b.is_ascii_graphic()) {
        return Err(DialError::Upgrade("the URL cannot be put into a request"));
    }
    Ok(format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {user_agent}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    .into_bytes())
}

/// Reads until the blank line; returns where the head ends.
async fn read_head(stream: &mut Stream, received: &mut Vec<u8>) -> Result<usize, DialError> {
    let mut searched = 0;
    let mut chunk = [0_u8; 4096];
    loop {
        if let Some(end) = end_of_head(received, searched) {
            return Ok(end);
        }
        if received.len() >= MAX_HEAD {
            return Err(DialError::Http(format!("head of the answer is larger than {MAX_HEAD} bytes")));
        }
        // The blank line may straddle two reads.
        searched = received.len().saturating_sub(3);
        match stream.read(&mut chunk).await.map_err(|e| DialError::io(&e))? {
            0 if received.is_empty() => return Err(DialError::Disconnected),
            0 => return Err(DialError::Http("the answer ended within its head".into())),
            n => received.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
}

pub(crate) fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    tail.windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| from + at + 4)
        .or_else(|| tail.windows(2).position(|w| w == b"\n\n").map(|at| from + at + 2))
}

pub(crate) fn parse(head: &[u8]) -> Result<(u16, Headers), DialError> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut lines);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(DialError::Http("malformed answer".into())),
        Err(error) => return Err(DialError::Http(format!("malformed answer: {error}"))),
    }
    let mut headers = Headers::default();
    for line in response.headers.iter() {
        headers.push(line.name, line.value);
    }
    Ok((response.code.unwrap_or(0), headers))
}

pub(crate) fn accept(headers: Headers, key: &str) -> Result<Headers, DialError> {
    if !headers.has_token("upgrade", "websocket") {
        return Err(DialError::Upgrade("no \"Upgrade: websocket\" in the answer"));
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(DialError::Upgrade("no \"Connection: Upgrade\" in the answer"));
    }
    if headers.get("sec-websocket-accept").map(str::trim) != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(DialError::Upgrade("wrong Sec-WebSocket-Accept"));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::endpoint::EndpointHost;
    use bigbrotr_models::Network;

    #[test]
    fn a_path_cannot_smuggle_a_header() {
        let endpoint = Endpoint {
            tls: false,
            host: EndpointHost::Name("relay.example".into()),
            port: 80,
            path: "/ HTTP/1.1\r\nX: y".into(),
            network: Network::Clearnet,
        };
        assert_eq!(request(&endpoint, "a", "k").unwrap_err().class(), "ws");
    }

    #[test]
    fn the_blank_line_is_found_across_reads() {
        assert_eq!(end_of_head(b"HTTP/1.1 101 x\r\n\r\nrest", 0), Some(18));
        assert_eq!(end_of_head(b"HTTP/1.1 101 x\r\n\r\n", 14), Some(18));
        assert_eq!(end_of_head(b"HTTP/1.1 101 x\n\nrest", 0), Some(16));
        assert_eq!(end_of_head(b"HTTP/1.1 101 x\r\n", 0), None);
    }

    #[test]
    fn a_list_in_the_connection_header_is_understood() {
        let accept_key = derive_accept_key(b"k");
        let mut headers = Headers::default();
        headers.push("Upgrade", b"WebSocket");
        headers.push("Connection", b"keep-alive, Upgrade");
        assert_eq!(accept(headers.clone(), "k").unwrap_err().class(), "ws");
        headers.push("Sec-WebSocket-Accept", accept_key.as_bytes());
        assert!(accept(headers, "k").is_ok());
    }
}
