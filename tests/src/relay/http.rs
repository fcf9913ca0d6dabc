//! The little HTTP a relay needs: one request head, then a document or a WebSocket upgrade.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::options::Document;

const HEAD_LIMIT: usize = 16 * 1024;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A request head, and what was read beyond it.
pub(crate) struct Head {
    headers: Vec<(String, String)>,
    pub rest: Vec<u8>,
}

impl Head {
    /// `None` if the client leaves, is too slow or sends too much.
    pub async fn read(stream: &mut TcpStream) -> Option<Self> {
        timeout(HEAD_TIMEOUT, Self::read_all(stream)).await.ok()?
    }

    async fn read_all(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                let text = String::from_utf8_lossy(&bytes);
                let header = |line: &str| {
                    let (name, value) = line.split_once(':')?;
                    Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
                };
                return Some(Self { headers: text.lines().skip(1).filter_map(header).collect(), rest });
            }
            if bytes.len() > HEAD_LIMIT || stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The key of a WebSocket upgrade, if this is one.
    pub fn websocket_key(&self) -> Option<&str> {
        self.get("upgrade").filter(|value| value.eq_ignore_ascii_case("websocket"))?;
        self.get("sec-websocket-key")
    }

    pub fn wants_document(&self) -> bool {
        self.get("accept").is_some_and(|value| value.contains("application/nostr+json"))
    }
}

pub(crate) async fn upgrade(stream: &mut TcpStream, key: &str, headers: &[(String, String)]) -> io::Result<()> {
    let accept = derive_accept_key(key.as_bytes());
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await
}

pub(crate) async fn respond(stream: &mut TcpStream, document: &Document) -> io::Result<()> {
    sleep(document.delay).await;
    let mut head = format!(
        "HTTP/1.1 {} Status\r\nContent-Type: {}\r\nContent-Length: {}\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\n",
        document.status,
        document.content_type,
        document.body.len()
    );
    for (name, value) in &document.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&document.body).await?;
    stream.shutdown().await
}
