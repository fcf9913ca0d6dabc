//! A network in a process of its own: thousands of hosts on loopback behind three ports.
//!
//! Every address of 127/8 leads to the same listeners, and hosts of private addresses count by address and port, so each
//! address is a host to the services. In a process of its own it takes no memory and no descriptors of anybody measured.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

/// What the first argument is when this process is to be the network.
pub const ARGUMENT: &str = "network";
/// Connections the system keeps until they are accepted.
const BACKLOG: u32 = 4096;
/// Silent servers end at last, should whoever talks to them not.
const LONGEST: Duration = Duration::from_secs(120);
const INFO: &str = r#"{"name":"bench","description":"a relay of a benchmark","software":"bench","version":"1","supported_nips":[1,11]}"#;

/// What hosts of a port do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Relay,
    SilentTcp,
    SilentWebSocket,
}

/// The running network. Ends with this value.
pub struct World {
    process: Child,
    ports: Vec<u16>,
}

impl World {
    /// Starts it; every answer of a relay takes `latency`.
    pub fn start(latency: Duration) -> Self {
        let program = env::current_exe().expect("this program has a path");
        let mut process = Command::new(program)
            .args([ARGUMENT, &latency.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line of ports");
        let ports = line.split_whitespace().map(|port| port.parse().expect("a port")).collect();
        Self { process, ports }
    }

    /// The URL of relay `n`.
    pub fn relay(&self, n: usize) -> String {
        self.url(0, n)
    }

    /// The URL of host `n` that takes connections and says nothing: every other one not even the upgrade.
    pub fn silent(&self, n: usize) -> String {
        self.url(1 + n % 2, n)
    }

    /// The URL of host `n` that refuses connections.
    pub fn refusing(&self, n: usize) -> String {
        self.url(3, n)
    }

    fn url(&self, port: usize, n: usize) -> String {
        let n = n + 1;
        format!("ws://127.{}.{}.{}:{}", 1 + n / 62_500, n / 250 % 250, 1 + n % 250, self.ports[port])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The network itself, until standard input ends.
pub async fn run(latency_ms: u64) {
    let latency = Duration::from_millis(latency_ms);
    let mut ports = Vec::new();
    for manner in [Manner::Relay, Manner::SilentTcp, Manner::SilentWebSocket] {
        let listener = bound().and_then(|socket| socket.listen(BACKLOG)).expect("a listener");
        ports.push(listener.local_addr().expect("an address").port());
        tokio::spawn(accept(listener, manner, latency));
    }
    // Bound and not listening: the system refuses, and nobody else gets the port.
    let refusing = bound().expect("a socket");
    ports.push(refusing.local_addr().expect("an address").port());
    let line: Vec<String> = ports.iter().map(u16::to_string).collect();
    println!("{}", line.join(" "));
    let _ = io::stdout().flush();
    let _ = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await;
}

fn bound() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)))?;
    Ok(socket)
}

async fn accept(listener: TcpListener, manner: Manner, latency: Duration) {
    loop {
        match listener.accept().await {
            // The port is open to all interfaces; only this machine is served.
            Ok((stream, peer)) if peer.ip().is_loopback() => {
                tokio::spawn(timeout(LONGEST, serve(stream, manner, latency)));
            }
            Ok(_) => {}
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, latency: Duration) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let head = head(&mut stream).await?;
    if manner == Manner::SilentTcp {
        while stream.read(&mut [0; 256]).await.ok()? > 0 {}
        return None;
    }
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    sleep(latency).await;
    let Some(key) = key else {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/nostr+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{INFO}",
            INFO.len()
        );
        return stream.write_all(answer.as_bytes()).await.ok();
    };
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let mut parts = text.split('"');
        if manner == Manner::SilentWebSocket || parts.nth(1) != Some("REQ") {
            continue;
        }
        let sub = parts.nth(1)?;
        sleep(latency).await;
        socket.send(Message::text(format!(r#"["EOSE","{sub}"]"#))).await.ok()?;
    }
    Some(())
}

/// The head of a request.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::with_capacity(512);
    while !bytes.ends_with(b"\r\n\r\n") && bytes.len() < 16 << 10 {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}
