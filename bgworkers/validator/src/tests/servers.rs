//! Servers on loopback that are, or are not, relays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

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
    /// Hangs up.
    Bye,
    /// An HTML page instead of an upgrade.
    Html,
    /// TCP, and then nothing.
    SilentTcp,
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
    let mut socket = tokio_tungstenite::accept_async(stream).await.ok()?;
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
            Manner::Huge => {
                socket.send(Message::text("x".repeat(1 << 20))).await.ok()?;
                socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?;
            }
            Manner::Bye => return socket.close(None).await.ok(),
            Manner::Auth | Manner::Silent | Manner::Html | Manner::SilentTcp => {}
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
