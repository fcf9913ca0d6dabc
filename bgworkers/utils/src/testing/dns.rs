use super::servers::{Server, check, config, echo, endpoint};
use crate::{AddressLimits, DialError, Dialer, DialerConfig, EndpointHost, Stage, resolver::Resolver, tls::Tls};
use bigbrotr_models::AddressPolicy;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};
use tokio::net::UdpSocket;

const A: u16 = 1;

/// Response code and addresses, or `@` and what the name is an alias of; or silence.
pub(super) type Zone = Option<(u8, &'static [&'static str])>;

/// A name server: `zone` gives response code and addresses for a name and the number of times its A record was asked before, or nothing for silence.
pub(super) async fn name_server(zone: fn(&str, usize) -> Zone) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        let mut query = [0; 1500];
        while let Ok((_, client)) = socket.recv_from(&mut query).await {
            let (mut labels, mut at) = (Vec::new(), 12);
            while query[at] != 0 {
                let end = at + 1 + usize::from(query[at]);
                labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
                at = end;
            }
            let (name, kind) = (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]));
            let before = log.lock().unwrap().iter().filter(|n| **n == name).count();
            if kind == A {
                log.lock().unwrap().push(name.clone());
            }
            if kind != A && name.ends_with("no-aaaa.example") {
                continue;
            }
            let Some((code, addresses)) = zone(&name, before) else { continue };
            if let [alias] = addresses
                && let Some(target) = alias.strip_prefix('@')
            {
                let target: Vec<u8> =
                    target.split('.').flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
                let mut reply = query[..2].to_vec();
                reply.extend([0x81, 0x80 | code, 0, 1, 0, 1, 0, 0, 0, 0]);
                reply.extend(&query[12..at + 5]);
                reply.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, target.len() as u8 + 1]);
                reply.extend([&target[..], &[0]].concat());
                socket.send_to(&reply, client).await.ok();
                continue;
            }
            let answers: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            let answers: Vec<_> = answers.into_iter().filter(|ip| ip.is_ipv4() == (kind == A)).collect();
            let mut reply = query[..2].to_vec();
            reply.extend([0x81, 0x80 | code, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
            reply.extend(&query[12..at + 5]);
            for ip in answers {
                reply.extend([0xc0, 12]);
                reply.extend(&query[at + 1..at + 5]);
                // Nothing is to be remembered, but where the test is about that.
                reply.extend([0, 0, 0, if name == "many.example" { 60 } else { 0 }]);
                match ip {
                    IpAddr::V4(ip) => reply.extend([&[0, 4][..], &ip.octets()].concat()),
                    IpAddr::V6(ip) => reply.extend([&[0, 16][..], &ip.octets()].concat()),
                }
            }
            socket.send_to(&reply, client).await.ok();
        }
    });
    (address, asked)
}

fn dialer(server: SocketAddr, config: DialerConfig) -> Dialer {
    let resolver = Resolver::asking(&[server], config.address_policy, check);
    Dialer::assemble(config, resolver, Tls::with_roots(Vec::new(), None), AddressLimits::default())
}

/// More than any relay has; they fit in a datagram.
const MANY: [&str; 40] = {
    let mut all = ["127.0.0.1"; 40];
    all[39] = "::1";
    all
};

fn zone(name: &str, before: usize) -> Zone {
    Some(match name {
        "mixed.example" => (0, &["10.0.0.1", "fd00::1", "127.0.0.1", "127.0.0.1"]),
        "bad.example" => (0, &["10.0.0.1", "fd00::1"]),
        "flip.example" if before == 0 => (0, &["127.0.0.1"]),
        "flip.example" => (0, &["10.0.0.1"]),
        "empty.example" => (0, &[]),
        "no-aaaa.example" => (0, &["127.0.0.1"]),
        "nothing.no-aaaa.example" => (0, &[]),
        "many.example" => (0, &MANY),
        "nx.example" => (3, &[]),
        "alias.example" => (0, &["@mixed.example"]),
        "to-i2p.example" => (0, &["@relay.i2p"]),
        "to-loki.example" => (0, &["@by-way.example"]),
        "by-way.example" => (0, &["@a.relay.LOKI"]),
        "to-onion.example" => (0, &["@relay.onion"]),
        "relay.i2p" | "a.relay.loki" | "a.relay.LOKI" | "relay.onion" => (0, &["127.0.0.1"]),
        "fail.example" => (2, &[]),
        "refuse.example" => (5, &[]),
        _ => return None,
    })
}

async fn error_of(name: &str) -> DialError {
    let (server, _) = name_server(zone).await;
    dialer(server, config()).connect_endpoint(&endpoint(name, 1)).await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn refused_addresses_of_an_answer_are_dropped_and_the_rest_is_used() {
    let relay = Server::websocket(echo).await;
    let (server, _) = name_server(zone).await;
    let (_, info) = dialer(server, config()).connect_endpoint(&endpoint("mixed.example", relay.port)).await.unwrap();
    assert_eq!(info.address, Some(([127, 0, 0, 1], relay.port).into()));
    let strict = DialerConfig { address_policy: AddressPolicy::default(), ..config() };
    let outcome = dialer(server, strict).connect_endpoint(&endpoint("mixed.example", relay.port)).await;
    assert_eq!(outcome.map(|_| ()).unwrap_err().class(), "refused_address");
    assert_eq!(relay.seen(), 1);
}

#[tokio::test]
async fn a_name_with_refused_addresses_only_is_refused() {
    assert!(matches!(error_of("bad.example").await, DialError::RefusedAddress { .. }));
}

#[tokio::test]
async fn an_answer_that_changes_after_the_check_is_not_asked_for() {
    let relay = Server::websocket(echo).await;
    let (server, asked) = name_server(zone).await;
    let dialer = dialer(server, config());
    let rebinding = endpoint("flip.example", relay.port);
    assert!(dialer.connect_endpoint(&rebinding).await.is_ok());
    assert_eq!(*asked.lock().unwrap(), ["flip.example"]);
    // The next dial is a look-up of its own, and its answer is checked anew.
    assert_eq!(dialer.connect_endpoint(&rebinding).await.map(|_| ()).unwrap_err().class(), "refused_address");
    assert_eq!(relay.seen(), 1);
}

#[tokio::test]
async fn names_that_do_not_exist_and_servers_that_fail_are_told_apart() {
    assert_eq!(error_of("nx.example").await, DialError::NameNotFound("nx.example".into()));
    assert_eq!(error_of("empty.example").await, DialError::NameNotFound("empty.example".into()));
    for name in ["fail.example", "refuse.example"] {
        let error = error_of(name).await;
        assert!(matches!(error, DialError::Dns(_)), "{name}: {error}");
    }
}

#[tokio::test]
async fn an_alias_that_leads_to_an_overlay_is_not_followed() {
    let relay = Server::websocket(echo).await;
    let (server, asked) = name_server(zone).await;
    let dialer = dialer(server, config());
    assert!(dialer.connect_endpoint(&endpoint("alias.example", relay.port)).await.is_ok(), "others are");
    for name in ["to-i2p.example", "to-loki.example", "to-onion.example"] {
        let error = dialer.connect_endpoint(&endpoint(name, relay.port)).await.map(|_| ()).unwrap_err();
        assert_eq!(error, DialError::NameNotFound(name.into()));
    }
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|name| name.ends_with(".example")), "{asked:?}");
    assert!(asked.iter().any(|name| name == "by-way.example"), "{asked:?}");
    assert_eq!(relay.seen(), 1);
}

#[tokio::test]
async fn a_family_that_is_never_answered_does_not_hide_the_other() {
    let relay = Server::websocket(echo).await;
    let (server, _) = name_server(zone).await;
    let dialer = dialer(server, config());
    let (_, info) = dialer.connect_endpoint(&endpoint("no-aaaa.example", relay.port)).await.unwrap();
    assert_eq!(info.address, Some(([127, 0, 0, 1], relay.port).into()));
    // Where the other has nothing, half an answer is none: the name may have an address.
    let error = dialer.connect_endpoint(&endpoint("nothing.no-aaaa.example", 1)).await.map(|_| ()).unwrap_err();
    assert_eq!(error, DialError::Timeout { stage: Stage::Dns, after: config().connect_timeout });
}

#[tokio::test]
async fn of_an_answer_of_any_size_a_few_addresses_are_kept() {
    let (server, asked) = name_server(zone).await;
    let resolver = Resolver::asking(&[server], AddressPolicy { allow_private: true }, |_, _| Ok(()));
    for _ in 0..2 {
        let found = resolver.addresses(&EndpointHost::Name("many.example".into())).await.unwrap();
        assert_eq!(found.len(), 17, "16 of 39, and the one of the other family: {found:?}");
    }
    assert_eq!(asked.lock().unwrap().len(), 1, "and asked for once");
}

#[tokio::test]
async fn a_silent_name_server_ends_with_the_connect_timeout() {
    let error = error_of("silent.example").await;
    assert_eq!(error, DialError::Timeout { stage: Stage::Dns, after: config().connect_timeout });
}
