//! Servers on loopback that are, or are not, relays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bigbrotr_models::{Event, hex};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What a server does with our REQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Eose,
    Closed,
    Event,
    /// A challenge at once, and nothing else.
    Auth,
    /// Sends back what it gets.
    Echo,
    Silent,
    Notice,
    /// Text that is no message, and binary.
    Garbage,
    /// Events for subscriptions of others, without end.
    ForeignEvents,
    /// An answer that comes after megabytes of something else.
    Flood,
    /// A message larger than any answer.
    Huge,
    /// A message as large as a relay may send.
    Large,
    /// Hangs up.
    Bye,
    /// An HTML page instead of an upgrade.
    Html,
    /// TCP, and then nothing.
    SilentTcp,
    /// An upgrade that comes letter by letter.
    SlowUpgrade,
    /// Closes with a code and a reason of its own.
    Refusal,
    /// Answers subscriptions nobody made.
    OtherSub,
    /// Speaks another protocol over JSON.
    JsonRpc,
    /// Hundreds of messages of something else before the answer.
    JunkFirst,
    /// Names a subprotocol in the upgrade that nobody asked for.
    Subprotocol,
    /// Ten events, which depend on the first letter of the path.
    ByPath,
}

pub struct Server {
    pub port: u16,
    /// Connections accepted, and the most at a time.
    pub accepted: Arc<AtomicUsize>,
    pub most: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepted, most, open) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (counted, highest) = (accepted.clone(), most.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                highest.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                let open = open.clone();
                tokio::spawn(async move {
                    let _ = serve(stream, manner).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { port, accepted, most, task }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }
}

const EVENT: &str = r#"{"id":"ID","pubkey":"ID","created_at":1,"kind":1,"tags":[],"content":"","sig":"IDID"}"#;

fn event(sub: &str) -> String {
    format!(r#"["EVENT","{sub}",{}]"#, EVENT.replace("ID", &"0".repeat(64)))
}

/// An event whose id is right and whose signature is not.
fn unsigned(content: &str) -> String {
    let start = format!(r#"{{"pubkey":"{}","created_at":5,"kind":1,"tags":[],"content":"{content}""#, "0".repeat(64));
    let id = Event::compute_id_from_json(format!("{start}}}").as_bytes()).unwrap();
    format!(r#"{start},"id":"{}","sig":"{}"}}"#, hex::encode(&id), "0".repeat(128))
}

async fn serve(mut stream: TcpStream, manner: Manner) -> Option<()> {
    if manner == Manner::SilentTcp {
        return wait_for_end(&mut stream).await;
    }
    if manner == Manner::Html {
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.ok()?;
        let page = "<html>hello</html>";
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", page.len());
        return stream.write_all(format!("{head}{page}").as_bytes()).await.ok();
    }
    if manner == Manner::SlowUpgrade {
        for byte in "HTTP/1.1 101 Switching Protocols\r\n".repeat(100).bytes() {
            stream.write_all(&[byte]).await.ok()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        return Some(());
    }
    let mut letter = 0;
    // The error is the library's.
    #[allow(clippy::result_large_err)]
    let callback = |request: &Request, mut response: Response| {
        letter = request.uri().path().as_bytes().get(1).copied().unwrap_or(0);
        if manner == Manner::Subprotocol {
            response.headers_mut().insert("Sec-WebSocket-Protocol", "chat".parse().unwrap());
        }
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.ok()?;
    if manner == Manner::Auth {
        socket.send(Message::text(r#"["AUTH","challenge"]"#)).await.ok()?;
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let sub = text.split('"').nth(3)?.to_owned();
        match manner {
            Manner::Eose => socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?,
            Manner::Closed => {
                socket.send(Message::text(format!(r#"["CLOSED","{sub}","restricted: no"]"#))).await.ok()?
            }
            Manner::Event => socket.send(Message::text(event(&sub))).await.ok()?,
            Manner::Echo => socket.send(Message::Text(text)).await.ok()?,
            Manner::Notice => socket.send(Message::text(r#"["NOTICE","welcome"]"#)).await.ok()?,
            Manner::Garbage => {
                socket.send(Message::text("[[[[\u{0}")).await.ok()?;
                socket.send(Message::binary(vec![0xff; 100])).await.ok()?;
                socket.send(Message::text(format!("EOSE {sub}"))).await.ok()?;
            }
            Manner::ForeignEvents => loop {
                socket.send(Message::text(event("somebody"))).await.ok()?;
            },
            Manner::Flood => {
                for _ in 0..30 {
                    socket.send(Message::text("x".repeat(100_000))).await.ok()?;
                }
                socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?;
            }
            Manner::Large => {
                socket.send(Message::text("x".repeat(900_000))).await.ok()?;
                socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?;
            }
            Manner::Huge => {
                socket.send(Message::text("x".repeat(2 << 20))).await.ok()?;
                socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?;
            }
            Manner::Bye => return socket.close(None).await.ok(),
            Manner::Refusal => {
                let frame = CloseFrame { code: 4001.into(), reason: "go away".into() };
                return socket.close(Some(frame)).await.ok();
            }
            Manner::OtherSub => {
                for text in [r#"["EOSE","other"]"#, r#"["CLOSED","","error: no"]"#, r#"["EOSE"]"#] {
                    socket.send(Message::text(text)).await.ok()?;
                }
            }
            Manner::JsonRpc => {
                socket.send(Message::text(format!(r#"{{"jsonrpc":"2.0","result":"{sub}","id":1}}"#))).await.ok()?;
            }
            Manner::JunkFirst => {
                for _ in 0..500 {
                    socket.send(Message::text(r#"["NOTICE","patience"]"#)).await.ok()?;
                }
                socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?;
            }
            Manner::Subprotocol => socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?,
            Manner::ByPath => {
                for n in 0..10 {
                    let event = unsigned(&format!("{letter} {n}"));
                    socket.send(Message::text(format!(r#"["EVENT","{sub}",{event}]"#))).await.ok()?;
                }
                socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?;
            }
            Manner::Auth | Manner::Silent | Manner::Html | Manner::SilentTcp | Manner::SlowUpgrade => {}
        }
    }
    Some(())
}

async fn wait_for_end(stream: &mut TcpStream) -> Option<()> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.ok()? > 0 {}
    Some(())
}

/// A port nobody listens on.
pub async fn dead_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    tokio::time::sleep(Duration::from_millis(1)).await;
    port
}
