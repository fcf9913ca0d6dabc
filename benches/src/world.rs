//! A network of many hosts on loopback, served by a process of its own: every address of 127.0.0.0/8 is a host, and the
//! port says how it behaves.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, io, process, thread};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The argument that makes this program a world.
pub const ARGUMENT: &str = "world";
/// Connections that wait to be accepted: as many as a client opens in one burst.
const BACKLOG: u32 = 4096;
/// Bytes of a request head.
const MAX_HEAD: usize = 8192;

/// How a host behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// A relay without events.
    Live,
    /// Nobody listens.
    Refused,
    /// Accepts and says nothing.
    Mute,
    /// Becomes a WebSocket and says nothing.
    MuteWebSocket,
}

/// In the order in which a world names its ports.
const HOSTS: [Host; 4] = [Host::Live, Host::Refused, Host::Mute, Host::MuteWebSocket];

/// The process; it ends with this one.
pub struct World {
    process: Child,
    // Held open: the process ends when its standard input does.
    _output: BufReader<ChildStdout>,
    ports: Vec<u16>,
}

impl World {
    /// Starts one in which every answer of a relay takes `latency`.
    pub fn start(latency: Duration) -> Self {
        let program = env::current_exe().expect("a program has a path");
        let mut command = Command::new(program);
        command.args([ARGUMENT, &latency.as_millis().to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the world starts");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the world says its ports");
        let ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
        assert_eq!(ports.len(), HOSTS.len(), "the world said {line:?}");
        Self { process, _output: output, ports }
    }

    /// The URL of the `number`th host, behaving so.
    pub fn url(&self, number: usize, host: Host) -> String {
        let [_, b, c, d] = u32::try_from(number + 256).expect("24 bits of hosts").to_be_bytes();
        let place = HOSTS.iter().position(|other| *other == host).expect("each is there");
        format!("ws://127.{b}.{c}.{d}:{}", self.ports[place])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The process itself: says its ports and serves until its standard input ends.
pub async fn serve(latency: Duration) {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    let mut said = String::new();
    let mut kept = Vec::new();
    for host in HOSTS {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([0, 0, 0, 0], 0).into()).expect("a free port");
        let _ = write!(said, "{} ", socket.local_addr().expect("it is bound").port());
        if host == Host::Refused {
            // The port is taken, and nobody listens.
            kept.push(socket);
            continue;
        }
        tokio::spawn(accept(socket.listen(BACKLOG).expect("it listens"), host, latency));
    }
    println!("{said}");
    let _ = io::stdout().flush();
    std::future::pending::<()>().await;
    drop(kept);
}

async fn accept(listener: TcpListener, host: Host, latency: Duration) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = tokio::spawn(talk(stream, host, latency)),
            Err(error) => {
                eprintln!("the world cannot accept: {error}");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// One connection, until the client leaves.
async fn talk(mut stream: TcpStream, host: Host, latency: Duration) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let head = read_head(&mut stream).await?;
    if host == Host::Mute {
        return until_closed(&mut stream).await;
    }
    sleep(latency).await;
    let Some(key) = header(&head, "sec-websocket-key") else {
        let document = document(header(&head, "host").unwrap_or_default());
        stream.write_all(document.as_bytes()).await.ok()?;
        return stream.shutdown().await.ok();
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    if host == Host::MuteWebSocket {
        return until_closed(&mut stream).await;
    }
    let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    while let Some(Ok(message)) = socket.next().await {
        // Also the answer to a goodbye, which the next look at the socket sends.
        sleep(latency).await;
        if let Message::Text(text) = message
            && let Some(rest) = text.strip_prefix("[\"REQ\",\"")
            && let Some((sub, _)) = rest.split_once('"')
        {
            let answer = Message::text(format!("[\"EOSE\",\"{sub}\"]"));
            socket.send(answer).await.ok()?;
        }
    }
    Some(())
}

async fn until_closed(stream: &mut TcpStream) -> Option<()> {
    let mut bytes = [0; 512];
    while stream.read(&mut bytes).await.ok()? > 0 {}
    Some(())
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::with_capacity(512);
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() > MAX_HEAD || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(other, _)| other.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// An answer with a NIP-11 document of usual size; no two hosts have the same.
fn document(host: &str) -> String {
    let words = "All that is sent here is kept for a while and given to whoever asks. ".repeat(8);
    let body = format!(
        r#"{{"name":"{host}","description":"{words}","pubkey":"{}","contact":"mailto:admin@{host}","supported_nips":[1,2,4,9,11,12,15,16,20,22,28,33,40,42,45,50,70,77],"software":"https://relay.example/software","version":"1.2.3","limitation":{{"max_message_length":131072,"max_subscriptions":20,"max_limit":500,"max_subid_length":64,"max_event_tags":2000,"max_content_length":70000,"auth_required":false,"payment_required":false}},"relay_countries":["*"],"language_tags":["*"],"tags":[],"posting_policy":"https://relay.example/policy","icon":"https://relay.example/icon.png"}}"#,
        "ab".repeat(32)
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/nostr+json\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
