//! A stranger's URL must not make this server connect to itself, its network or its cloud: a table of attacks, every one refused, and
//! a listener that sees no connection. The real address check, the real resolver, a name server and web servers that are the attacker's.

use super::dns::{Zone, name_server};
use super::servers::{Server, config, endpoint, read_head};
use crate::{
    AddressLimits, DialError, Dialer, DialerConfig, Endpoint, HttpRequest, endpoint::EndpointHost, resolver::Resolver,
    tls::Tls,
};
use bigbrotr_models::{AddressPolicy, AddressRejection, PortPolicy, address};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

const STRICT: AddressPolicy = AddressPolicy { allow_private: false };

/// As an operator has it who admits nothing private.
fn strict(server: SocketAddr) -> Dialer {
    let config = DialerConfig { address_policy: STRICT, ..config() };
    let resolver = Resolver::asking(&[server], STRICT, address::check);
    Dialer::assemble(config, resolver, Tls::with_roots(Vec::new(), None), AddressLimits::default())
}

/// The attacker's zone: every name leads somewhere it should not.
fn zone(name: &str, _: usize) -> Zone {
    Some(match name {
        "loopback.attack.com" | "127.0.0.1.nip.io" | "relay.attack.com" => (0, &["127.0.0.1", "::1"]),
        "any.attack.com" => (0, &["0.0.0.0", "::"]),
        "private.attack.com" => (0, &["10.0.0.1", "172.16.0.1", "192.168.0.1", "fd00::1"]),
        "shared.attack.com" => (0, &["100.64.0.1"]),
        "cloud.attack.com" => (0, &["169.254.169.254", "fd00:ec2::254", "168.63.129.16"]),
        "linklocal.attack.com" => (0, &["169.254.1.1", "fe80::1"]),
        "mapped.attack.com" => (0, &["::ffff:127.0.0.1", "::127.0.0.1"]),
        "translated.attack.com" => (0, &["64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"]),
        "multicast.attack.com" => (0, &["224.0.0.1", "255.255.255.255", "ff02::1"]),
        _ => (3, &[]),
    })
}

#[tokio::test]
async fn every_spelling_of_an_address_of_ours_is_refused() {
    let victim = Server::canned("HTTP/1.1 200 OK\r\n\r\nsecret").await;
    let (server, asked) = name_server(zone).await;
    let dialer = strict(server);
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "x.localhost",
        "LocalHost.LocalDomain",
        "db",
        "nas.local",
        "metadata.google.internal",
        "router.home.arpa",
        "%6c%6f%63%61%6c%68%6f%73%74",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00::]",
        "[fd00:ec2::254]",
        "169.254.169.254",
        "0xa9fea9fe",
        "168.63.129.16",
        "100.100.100.200",
        "10.0.0.1",
        "192.168.1.1",
        "172.31.255.255",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let url = format!("http://{host}:{}/", victim.port);
        let request = HttpRequest::url(&url, "*/*", 100).unwrap();
        let error = dialer.http_get(&request).await.unwrap_err();
        assert_eq!(error.class(), "refused_address", "{host}: {error}");
    }
    for host in ["localhost", "localhost.", "db", "NAS.local", "metadata.google.internal"] {
        let error = dialer.connect_endpoint(&endpoint(host, victim.port)).await.map(|_| ()).unwrap_err();
        assert_eq!(error.class(), "refused_address", "{host}: {error}");
    }
    assert_eq!(victim.seen(), 0);
    assert!(asked.lock().unwrap().is_empty(), "no such name is asked for");
}

#[tokio::test]
async fn every_answer_of_a_name_server_is_judged() {
    let victim = Server::canned("HTTP/1.1 200 OK\r\n\r\nsecret").await;
    let (server, _) = name_server(zone).await;
    let dialer = strict(server);
    for name in [
        "loopback.attack.com",
        "127.0.0.1.nip.io",
        "any.attack.com",
        "private.attack.com",
        "shared.attack.com",
        "cloud.attack.com",
        "linklocal.attack.com",
        "mapped.attack.com",
        "translated.attack.com",
        "multicast.attack.com",
    ] {
        let error = dialer.connect_endpoint(&endpoint(name, victim.port)).await.map(|_| ()).unwrap_err();
        assert_eq!(error.class(), "refused_address", "{name}: {error}");
    }
    assert_eq!(victim.seen(), 0);
}

/// Admits 127.0.0.2, in the role of a public address, and nothing else.
fn only_the_attackers_server(address: IpAddr, _: AddressPolicy) -> Result<(), AddressRejection> {
    if address == IpAddr::from([127, 0, 0, 2]) { Ok(()) } else { Err(AddressRejection::NonGlobal) }
}

fn attackers_zone(name: &str, before: usize) -> Zone {
    Some(match name {
        // Public for whoever checks, ours for whoever looks again.
        "rebind.attack.com" if before == 0 => (0, &["127.0.0.2"]),
        "rebind.attack.com" => (0, &["127.0.0.1"]),
        "relay.attack.com" | "also.attack.com" | "mixed.attack.com" if !name.starts_with("mixed") => {
            (0, &["127.0.0.2"])
        }
        "mixed.attack.com" => (0, &["127.0.0.1", "::1", "10.0.0.1", "127.0.0.2"]),
        "inner.attack.com" => (0, &["127.0.0.1"]),
        _ => (3, &[]),
    })
}

/// A dialer to whom 127.0.0.2 is public, as it would be with the attacker's own server.
async fn dialer_in_public() -> Dialer {
    let (server, _) = name_server(attackers_zone).await;
    // Own addresses are refused to strangers, and the attacker's server happens to be on this machine.
    let policy = AddressPolicy { allow_private: true };
    let resolver = Resolver::asking(&[server], policy, only_the_attackers_server);
    let config = DialerConfig { address_policy: STRICT, ..config() };
    Dialer::assemble(config, resolver, Tls::with_roots(Vec::new(), None), AddressLimits::default())
}

fn http(host: &str, port: u16) -> HttpRequest {
    HttpRequest::endpoint(Endpoint { host: EndpointHost::Name(host.into()), ..endpoint("x", port) }, 1000)
}

/// Both see the same port: the attacker's server at 127.0.0.2 and the victim at 127.0.0.1.
async fn attacker_and_victim(location: impl Fn(u16) -> String) -> (Server, Server) {
    let victim = Server::canned("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await;
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", location(victim.port));
    let attacker = Server::canned_at("127.0.0.2", victim.port, answer).await;
    (attacker, victim)
}

#[tokio::test]
async fn no_redirect_leads_to_us() {
    let dialer = dialer_in_public().await;
    for location in [
        "http://127.0.0.1:PORT/",
        "//127.0.0.1:PORT/",
        "http://2130706433:PORT/",
        "http://[::1]:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://localhost:PORT/",
        "http://inner.attack.com:PORT/",
        "http://relay.attack.com@127.0.0.1:PORT/",
        "http://relay.attack.com:PORT@127.0.0.1:PORT/",
        "http://relay.attack.com%00.x@127.0.0.1:PORT/",
        "\\\\127.0.0.1:PORT\\",
        "http://127.0.0.1:PORT#@relay.attack.com/",
        "HTTP://0x7f.1:PORT/",
        "http://other.example.org:PORT/",
        "http://relay.attack.com:25/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:PORT/_x",
        "http://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion/",
        "",
    ] {
        let (attacker, victim) = attacker_and_victim(|port| location.replace("PORT", &port.to_string())).await;
        let outcome = dialer.http_get(&http("relay.attack.com", attacker.port)).await;
        let error = outcome.map(|answer| answer.final_url).unwrap_err();
        let class = error.class();
        assert!(matches!(class, "http" | "refused_address"), "{location}: {error}");
        assert_eq!(victim.seen(), 0, "{location}");
        assert!(attacker.seen() >= 1, "{location}: the table tests nothing: {error}");
    }
}

#[tokio::test]
async fn a_chain_of_redirects_is_judged_at_every_step() {
    let dialer = dialer_in_public().await;
    let (attacker, victim) = attacker_and_victim(|port| format!("http://also.attack.com:{port}/again")).await;
    let error = dialer.http_get(&http("relay.attack.com", attacker.port)).await.unwrap_err();
    assert_eq!(error, DialError::TooManyRedirects(3));
    assert_eq!((attacker.seen(), victim.seen()), (4, 0));
}

#[tokio::test]
async fn what_was_judged_is_connected_to_whatever_the_name_means_by_then() {
    let dialer = dialer_in_public().await;
    let (attacker, victim) = attacker_and_victim(|port| format!("http://rebind.attack.com:{port}/again")).await;
    // The redirect is a look-up of its own, and so is the next request.
    let error = dialer.http_get(&http("rebind.attack.com", attacker.port)).await.unwrap_err();
    assert_eq!(error.class(), "refused_address", "{error}");
    assert_eq!((attacker.seen(), victim.seen()), (1, 0), "the first answer was connected to, and nothing else");
    let error = dialer.connect_endpoint(&endpoint("rebind.attack.com", victim.port)).await.map(|_| ()).unwrap_err();
    assert_eq!(error.class(), "refused_address", "{error}");
    assert_eq!(victim.seen(), 0);
}

#[tokio::test]
async fn of_a_mixed_answer_only_the_public_address_is_connected_to() {
    let (attacker, victim) = attacker_and_victim(|_| "/x".into()).await;
    let dialer = dialer_in_public().await;
    let _ = dialer.http_get(&http("mixed.attack.com", attacker.port)).await;
    assert!(attacker.seen() > 0);
    assert_eq!(victim.seen(), 0);
}

#[tokio::test]
async fn blocked_ports_are_not_connected_to_not_even_in_private_networks() {
    let victim = Server::canned("220 mail.example.com ESMTP\r\n").await;
    let ports: PortPolicy = format!("25,{}", victim.port).parse().unwrap();
    let dialer = super::servers::dialer(DialerConfig { ports, ..config() });
    let error = dialer.connect_endpoint(&victim.endpoint()).await.map(|_| ()).unwrap_err();
    assert_eq!((error.class(), &error), ("refused_address", &DialError::RefusedPort(victim.port)));
    let redirecting =
        Server::canned(format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{}/\r\n\r\n", victim.port)).await;
    let error = dialer.http_get(&HttpRequest::endpoint(redirecting.endpoint(), 10)).await.unwrap_err();
    assert_eq!(error, DialError::RefusedPort(victim.port));
    assert_eq!(victim.seen(), 0);
}

#[tokio::test]
async fn a_thousand_names_of_one_address_open_few_connections_at_a_time_there() {
    const AT_A_TIME: usize = 8;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (now.clone(), most.clone());
    let victim = Server::start(move |mut stream| {
        let (now, most) = counters.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            read_head(&mut stream).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
            now.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let (server, _) = name_server(|_, _| Some((0, &["127.0.0.1"]))).await;
    let resolver = Resolver::asking(&[server], config().address_policy, super::servers::check);
    let patient = DialerConfig {
        address_patience: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(20),
        ..config()
    };
    let dialer =
        Dialer::assemble(patient, resolver, Tls::with_roots(Vec::new(), None), AddressLimits::new(AT_A_TIME, 1, 1));
    let dials = (0..1000).map(|n| {
        let (dialer, port) = (dialer.clone(), victim.port);
        tokio::spawn(async move {
            let name = endpoint(&format!("n{n}.flood.com"), port);
            dialer.connect_endpoint(&name).await.map(|_| ()).unwrap_err().class()
        })
    });
    let mut classes = std::collections::BTreeMap::new();
    for dial in dials.collect::<Vec<_>>() {
        *classes.entry(dial.await.unwrap()).or_insert(0) += 1;
    }
    let most = most.load(Ordering::SeqCst);
    assert!((1..=AT_A_TIME).contains(&most), "{most} at a time");
    assert!(victim.seen() >= 900, "{classes:?}");
}

#[tokio::test]
async fn who_does_not_get_a_place_in_time_is_told_that_it_is_our_fault() {
    let silent = Server::start(|stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let resolver = Resolver::system(config().address_policy, super::servers::check);
    let hasty = DialerConfig { address_patience: Duration::from_millis(50), ..config() };
    let limits = AddressLimits::new(1, 1, 1);
    let dialer = Dialer::assemble(hasty, resolver, Tls::with_roots(Vec::new(), None), limits);
    let first = tokio::spawn({
        let (dialer, endpoint) = (dialer.clone(), silent.endpoint());
        async move { dialer.connect_endpoint(&endpoint).await.map(|_| ()) }
    });
    while silent.seen() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = dialer.connect_endpoint(&silent.endpoint()).await.map(|_| ()).unwrap_err();
    assert_eq!((error.class(), error.is_ours()), ("busy", true));
    assert_eq!(silent.seen(), 1);
    assert_eq!(first.await.unwrap().unwrap_err().class(), "silence");
}

#[tokio::test]
async fn overlay_names_are_never_asked_of_a_name_server() {
    const ONION: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    let (server, asked) = name_server(zone).await;
    let dialer = strict(server);
    for name in [
        ONION.to_owned(),
        ONION.to_uppercase(),
        format!("{ONION}."),
        format!("sub.{ONION}"),
        "stats.i2p".into(),
        "abc.B32.I2P.".into(),
        "relay.loki".into(),
        "onion".into(),
    ] {
        let error = dialer.connect_endpoint(&endpoint(&name, 80)).await.map(|_| ()).unwrap_err();
        assert_eq!(error.class(), "network_off", "{name}: {error}");
        let request = HttpRequest::url(&format!("https://{name}/x"), "*/*", 10).unwrap();
        let error = dialer.http_get(&request).await.unwrap_err();
        assert_eq!(error.class(), "network_off", "{name}: {error}");
    }
    assert!(asked.lock().unwrap().is_empty(), "{:?}", asked.lock().unwrap());
}
