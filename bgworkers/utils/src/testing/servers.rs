//! Listeners that behave as a test wants, and dialers whose address check does not depend on the real one.

use crate::{
    address_limits::AddressLimits,
    config::DialerConfig,
    dialer::Dialer,
    endpoint::{Endpoint, EndpointHost},
    resolver::Resolver,
    tls::Tls,
};
use bigbrotr_models::{AddressPolicy, AddressRejection, Network};
use futures_util::{SinkExt, StreamExt};
use std::{
    future::Future,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

/// Loopback under a policy that allows it, everything else that begins with 9 for global, no other.
pub(super) fn check(address: IpAddr, policy: AddressPolicy) -> Result<(), AddressRejection> {
    if address.is_loopback() && policy.allow_private || address.to_string().starts_with("9.") {
        Ok(())
    } else {
        Err(AddressRejection::NonGlobal)
    }
}

pub(super) fn config() -> DialerConfig {
    DialerConfig {
        address_policy: AddressPolicy { allow_private: true },
        connect_timeout: Duration::from_millis(1500),
        request_timeout: Duration::from_millis(1500),
        overlay_connect_timeout: Duration::from_millis(1500),
        overlay_request_timeout: Duration::from_millis(1500),
        idle_timeout: Duration::from_secs(10),
        max_message_size: 1000,
        user_agent: "test/1".into(),
        ..DialerConfig::default()
    }
}

pub(super) fn dialer(config: DialerConfig) -> Dialer {
    dialer_trusting(config, Vec::new())
}

pub(super) fn dialer_trusting(config: DialerConfig, roots: Vec<rustls::pki_types::CertificateDer<'static>>) -> Dialer {
    let resolver = Resolver::system(config.address_policy, check);
    Dialer::assemble(config, resolver, Tls::with_roots(roots, None), AddressLimits::default())
}

/// A server on 127.0.0.1 that counts its connections.
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start<F, W>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> W + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Self::start_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), serve)
    }

    fn start_at<F, W>(listener: TcpListener, serve: F) -> Self
    where
        F: Fn(TcpStream) -> W + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        Self { port, connections }
    }

    /// Answers every connection with `bytes` once a request head has come, then closes.
    pub(super) async fn canned(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                read_head(&mut stream).await;
                stream.write_all(&bytes).await.ok();
                stream.shutdown().await.ok();
            }
        })
        .await
    }

    /// [`Server::canned`] at another address.
    pub(super) async fn canned_at(ip: &str, port: u16, text: String) -> Self {
        Self::start_at(TcpListener::bind((ip, port)).await.unwrap(), move |mut stream| {
            let text = text.clone();
            async move {
                read_head(&mut stream).await;
                stream.write_all(text.as_bytes()).await.ok();
                stream.shutdown().await.ok();
            }
        })
    }

    /// Accepts a WebSocket and hands it to `serve`.
    pub(super) async fn websocket<F, W>(serve: F) -> Self
    where
        F: Fn(WebSocketStream<TcpStream>) -> W + Send + Sync + Clone + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Self::start(move |stream| {
            let serve = serve.clone();
            async move {
                if let Ok(socket) = tokio_tungstenite::accept_async(stream).await {
                    serve(socket).await;
                }
            }
        })
        .await
    }

    /// Accepts a WebSocket, then writes `bytes` to the raw stream and closes it.
    pub(super) async fn raw_after_upgrade(bytes: &'static [u8]) -> Self {
        Self::websocket(move |mut socket| async move {
            socket.get_mut().write_all(bytes).await.ok();
            socket.get_mut().shutdown().await.ok();
        })
        .await
    }

    pub(super) fn seen(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        endpoint("127.0.0.1", self.port)
    }
}

pub(super) fn endpoint(host: &str, port: u16) -> Endpoint {
    let host = match host.parse() {
        Ok(ip) => EndpointHost::Ip(ip),
        Err(_) => EndpointHost::Name(host.into()),
    };
    Endpoint { tls: false, host, port, path: "/".into(), network: Network::Clearnet }
}

pub(super) async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Sends every text back, with the other frames left to tungstenite.
pub(super) async fn echo<S>(mut socket: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
            break;
        }
    }
}
