//! A SOCKS5 proxy (RFC 1928) on loopback in the place of Tor, I2P and Lokinet: it alone knows where their names lead.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The proxy; it ends when dropped.
#[derive(Debug)]
pub struct SocksProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// What the proxy does with a name it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Says that the host is unreachable.
    Refuse,
    /// Says nothing, as a network that looks for a way.
    Hang,
}

impl SocksProxy {
    /// Leads each name to its address, whatever the port asked for.
    ///
    /// # Panics
    /// Without a free port.
    pub async fn start(names: HashMap<String, SocketAddr>, unknown: Unknown) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (names, log) = (Arc::new(names), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, names.clone(), log.clone(), unknown));
            }
        });
        Self { address, asked, task }
    }

    /// As the settings want it.
    pub fn url(&self) -> String {
        format!("socks5://{}", self.address)
    }

    /// The hosts asked for so far, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SocksProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    names: Arc<HashMap<String, SocketAddr>>,
    asked: Arc<Mutex<Vec<String>>>,
    unknown: Unknown,
) -> Option<()> {
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).await.ok()?;
    let mut methods = vec![0; usize::from(greeting[1])];
    client.read_exact(&mut methods).await.ok()?;
    client.write_all(&[5, 0]).await.ok()?;
    let mut head = [0; 4];
    client.read_exact(&mut head).await.ok()?;
    let host = match head[3] {
        3 => {
            let mut name = vec![0; usize::from(client.read_u8().await.ok()?)];
            client.read_exact(&mut name).await.ok()?;
            String::from_utf8_lossy(&name).into_owned()
        }
        1 => std::net::Ipv4Addr::from_bits(client.read_u32().await.ok()?).to_string(),
        _ => std::net::Ipv6Addr::from_bits(client.read_u128().await.ok()?).to_string(),
    };
    client.read_u16().await.ok()?;
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(host.clone());
    let Some(target) = names.get(&host) else {
        if unknown == Unknown::Hang {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        return None;
    };
    let mut relay = TcpStream::connect(target).await.ok()?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    copy_bidirectional(&mut client, &mut relay).await.ok()?;
    None
}
