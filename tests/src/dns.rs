//! A name server on loopback, by UDP and TCP, that answers what a test wants, also what no honest one would.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::AbortHandle,
};

const CNAME: u16 = 5;
const NXDOMAIN: u8 = 3;
/// Links of a chain put into one answer.
const MAX_CHAIN: usize = 12;

/// The data of a record. Names are split at dots; their other characters go out as they are.
#[derive(Clone, Debug)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// An alias.
    Cname(String),
    /// A name server.
    Ns(String),
    /// The name of an address.
    Ptr(String),
}

impl Data {
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => 1,
            Self::Ns(_) => 2,
            Self::Cname(_) => CNAME,
            Self::Ptr(_) => 12,
            Self::Aaaa(_) => 28,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::A(ip) => ip.octets().to_vec(),
            Self::Aaaa(ip) => ip.octets().to_vec(),
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => encode(name),
        }
    }
}

/// What goes wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This response code, such as 2 for SERVFAIL.
    Code(u8),
    /// No answer.
    Silent,
    /// By UDP only that there is more than fits.
    Truncated,
    /// Bytes that are no answer.
    Garbage,
}

/// What the server knows.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    records: HashMap<String, Vec<(u32, Data)>>,
    faults: HashMap<String, Fault>,
}

impl Zone {
    /// With one more record.
    #[must_use]
    pub fn with(mut self, name: &str, ttl: u32, data: Data) -> Self {
        self.records.entry(name.to_owned()).or_default().push((ttl, data));
        self
    }

    /// With something wrong.
    #[must_use]
    pub fn with_fault(mut self, name: &str, fault: Fault) -> Self {
        self.faults.insert(name.to_owned(), fault);
        self
    }
}

/// A running server; it ends with this.
pub struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    tasks: [AbortHandle; 2],
}

#[derive(Default)]
struct State {
    zone: Zone,
    asked: Vec<(String, u16)>,
}

impl NameServer {
    /// Starts a server on the runtime of the caller.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(zone: Zone) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            let address = udp.local_addr().expect("bound");
            // The same port by TCP; somebody else may have it.
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State { zone, asked: Vec::new() }));
        let (over_udp, over_tcp) = (state.clone(), state.clone());
        let udp = tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((size, client)) = udp.recv_from(&mut query).await {
                if let Some(reply) = answer(&query[..size], &over_udp, true) {
                    let _ = udp.send_to(&reply, client).await;
                }
            }
        });
        let tcp = tokio::spawn(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                tokio::spawn(serve(stream, over_tcp.clone()));
            }
        });
        Self { address, state, tasks: [udp.abort_handle(), tcp.abort_handle()] }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names and types asked for, in order.
    pub fn asked(&self) -> Vec<(String, u16)> {
        lock(&self.state).asked.clone()
    }

    /// Changes what it knows.
    pub fn set(&self, zone: Zone) {
        lock(&self.state).zone = zone;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) -> io::Result<()> {
    loop {
        let mut query = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut query).await?;
        if let Some(reply) = answer(&query, &state, false) {
            let size = u16::try_from(reply.len()).map_err(io::Error::other)?;
            stream.write_all(&[&size.to_be_bytes()[..], &reply].concat()).await?;
        }
    }
}

fn answer(query: &[u8], state: &Mutex<State>, is_udp: bool) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while *query.get(at)? != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..end)?).to_ascii_lowercase());
        at = end;
    }
    let question = query.get(12..at + 5)?;
    let (name, kind) = (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]));
    let mut state = lock(state);
    state.asked.push((name.clone(), kind));
    let zone = &state.zone;
    let fault = zone.faults.get(&name).copied();
    let mut code = 0;
    let mut records = Vec::new();
    let mut owner = name;
    for _ in 0..MAX_CHAIN {
        let Some(held) = zone.records.get(&owner) else {
            code = NXDOMAIN;
            break;
        };
        let wanted = held.iter().filter(|(_, data)| data.kind() == kind || data.kind() == CNAME);
        let found: Vec<_> = wanted.map(|(ttl, data)| (owner.clone(), *ttl, data.clone())).collect();
        let alias = found.iter().find_map(|(.., data)| match data {
            Data::Cname(target) if kind != CNAME => Some(target.clone()),
            _ => None,
        });
        records.extend(found);
        match alias {
            Some(target) => owner = target,
            None => break,
        }
    }
    let mut flags = 0x81;
    match fault {
        Some(Fault::Silent) => return None,
        Some(Fault::Garbage) => return Some([&query[..2], &[0xff; 40]].concat()),
        Some(Fault::Code(wanted)) => (code, records) = (wanted, Vec::new()),
        Some(Fault::Truncated) if is_udp => (flags, records) = (0x83, Vec::new()),
        _ => {}
    }
    let count = u16::try_from(records.len()).ok()?.to_be_bytes();
    let mut reply = query[..2].to_vec();
    reply.extend([flags, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0]);
    reply.extend(question);
    for (owner, ttl, data) in records {
        let bytes = data.bytes();
        reply.extend(encode(&owner));
        reply.extend([&data.kind().to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes()].concat());
        reply.extend(u16::try_from(bytes.len()).ok()?.to_be_bytes());
        reply.extend(bytes);
    }
    Some(reply)
}

fn encode(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        out.push(u8::try_from(label.len()).expect("63 at most"));
        out.extend(label);
    }
    out.push(0);
    out
}
