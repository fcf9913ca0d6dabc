//! What the fuzz targets need of this crate, and nobody else. Each takes what a stranger may send and panics when a promise is broken.

use crate::{
    certificate::{self, Certificate},
    dns,
    endpoint::{Endpoint, EndpointHost, network_of},
    frame_gate::FrameGate,
    headers::MAX_HEADERS,
    http::{endpoint_of, redirected},
    inflate::inflate,
    upgrade,
};
use bigbrotr_models::{AddressPolicy, Network, RelayUrl, address};
use futures_util::StreamExt;
use hickory_resolver::proto::op::Message;
use std::{cell::RefCell, future::Future, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream},
    runtime::Runtime,
    sync::Semaphore,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message as WebSocketMessage,
        protocol::{Role, WebSocketConfig},
    },
};
use url::Url;

/// More than any input of a target.
const PIPE: usize = 1 << 20;

/// Runs `work` on a runtime of this thread.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local!(static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) });
    RUNTIME.with_borrow_mut(|kept| {
        let made = || tokio::runtime::Builder::new_current_thread().build();
        let runtime = match kept.take() {
            Some(runtime) => runtime,
            None => made().unwrap_or_else(|error| panic!("no runtime: {error}")),
        };
        kept.insert(runtime).block_on(work)
    })
}

/// The answer to an upgrade request.
pub fn upgrade_head(bytes: &[u8]) {
    let Some(end) = upgrade::end_of_head(bytes, 0) else { return };
    let Ok((_, headers)) = upgrade::parse(bytes.get(..end).unwrap_or_default()) else { return };
    assert!(headers.iter().count() <= MAX_HEADERS);
    assert!(upgrade::accept(headers, "no key of theirs").is_err(), "an accept key nobody could know");
}

/// Where a key leads: an address in it is one that the rules admit, and an overlay name is in its network.
pub fn endpoint(url: &RelayUrl, policy: AddressPolicy) {
    let endpoint = Endpoint::from(url);
    match &endpoint.host {
        EndpointHost::Ip(ip) => assert_eq!(address::check(*ip, policy), Ok(()), "{url:?}"),
        EndpointHost::Name(name) => assert_eq!(network_of(name), endpoint.network, "{url:?}"),
    }
    let parsed = Url::parse(&endpoint.http_url()).ok().and_then(|url| endpoint_of(&url));
    let parsed = parsed.unwrap_or_else(|| panic!("no HTTP URL: {url:?}"));
    assert_eq!((&parsed.host, parsed.port), (&endpoint.host, endpoint.port), "two readings of {url:?}");
}

/// A `Location`: what is followed is the same host or registrable domain, and no other scheme than HTTP.
pub fn redirect(from: &str, location: &str) {
    let Some(from) = Url::parse(from).ok().and_then(|url| endpoint_of(&url)) else { return };
    let Ok(to) = redirected(&from, location, AddressPolicy::default()) else { return };
    assert!(to.tls || !from.tls, "a downgrade: {location:?}");
    assert!(to.port == from.port || matches!(to.port, 80 | 443), "another port: {location:?}");
    if to.host != from.host {
        let (EndpointHost::Name(from), EndpointHost::Name(to)) = (&from.host, &to.host) else {
            panic!("from or to an address: {location:?}")
        };
        assert_eq!((network_of(from), network_of(to)), (Network::Clearnet, Network::Clearnet), "{location:?}");
        assert!(to.ends_with("example.com") && from.ends_with("example.com"), "another site: {location:?}");
    }
}

/// What comes over an open WebSocket: the gate for large messages changes nothing of it, and keeps no place afterwards.
pub fn websocket(bytes: &[u8]) {
    const LARGE: u64 = 64;
    let (with_upgrade, later) = bytes.split_at(bytes.len() / 3);
    block_on(async {
        let direct = messages(piped(bytes).await).await;
        let places = Arc::new(Semaphore::new(1));
        let gate = FrameGate::new(piped(later).await, with_upgrade.to_vec(), places.clone(), LARGEST, Duration::MAX);
        assert_eq!(messages(gate.with_large(LARGE)).await, direct);
        assert_eq!(places.available_permits(), 1);
    });
}

/// Bytes of a message.
const LARGEST: usize = 4096;

/// The other end of a connection over which these bytes come, and no more.
async fn piped(bytes: &[u8]) -> DuplexStream {
    let (mut theirs, ours) = tokio::io::duplex(PIPE);
    let _ = theirs.write_all(bytes).await;
    let _ = theirs.shutdown().await;
    ours
}

/// All messages until the first error or the end.
async fn messages<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Vec<WebSocketMessage> {
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await;
    let mut messages = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        assert!(message.len() <= LARGEST);
        messages.push(message);
    }
    messages
}

/// What a SOCKS5 proxy says.
pub fn socks(bytes: &[u8]) {
    block_on(async {
        let (mut theirs, ours) = tokio::io::duplex(PIPE);
        let _ = theirs.write_all(bytes).await;
        let _ = theirs.shutdown().await;
        let target = ("2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion", 80);
        let _ = tokio_socks::tcp::Socks5Stream::connect_with_socket(ours, target).await;
    });
}

/// The answer of a name server: what is kept of it is bounded and has no control characters.
pub fn dns(bytes: &[u8]) {
    let Ok(message) = Message::from_vec(bytes) else { return };
    let records = [message.answers, message.authorities];
    let found = dns::addresses("relay.example.com.", records.clone());
    assert!(found.a.len() <= 32 && found.aaaa.len() <= 32 && found.cname.len() <= 8, "{found:?}");
    let names: Vec<String> = dns::names_in(records.iter().flatten());
    assert!(names.len() <= 32, "{names:?}");
    let is_fit = |name: &String| name.len() <= 4400 && !name.contains(char::is_control);
    assert!(names.iter().chain(&found.cname).all(is_fit), "{names:?} {found:?}");
}

/// A certificate: what is shown of it is bounded and has no control characters.
pub fn certificate(bytes: &[u8]) {
    let _ = (certificate::is_self_signed(bytes), certificate::fingerprint(bytes));
    let Some(shown) = Certificate::parse(bytes) else { return };
    assert!(shown.sans.len() <= 128 && shown.serial.len() <= 128, "{shown:?}");
    let texts = [&shown.subject, &shown.issuer, &shown.signature_algorithm, &shown.key_algorithm];
    let texts = texts.into_iter().chain(&shown.sans).chain(&shown.subject_cn).chain(&shown.issuer_cn);
    assert!(texts.into_iter().all(|text| !text.contains(char::is_control)), "{shown:?}");
}

/// A body that came compressed unasked; the first byte chooses the encoding.
pub fn compressed(bytes: &[u8]) {
    const LIMIT: usize = 1 << 16;
    let Some((first, body)) = bytes.split_first() else { return };
    let encoding = [None, Some("gzip"), Some("deflate"), Some("x-gzip"), Some("br")][usize::from(first % 5)];
    if let Ok((unpacked, left)) = inflate(body.to_vec(), encoding, LIMIT) {
        assert!(unpacked.len() <= LIMIT || unpacked == body, "more than {LIMIT} bytes");
        assert!(left.is_none() || unpacked == body, "half unpacked");
    }
}
