use super::servers::{Server, check, config, dialer, echo, endpoint};
use crate::{DialError, DialerConfig, Family, Frame, Proxies};
use bigbrotr_models::Network;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const ONION: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

/// SOCKS5 (RFC 1928) that leads every name to `target`, and keeps the requests it saw; `reply` other than 0 refuses.
async fn proxy(target: u16, reply: u8) -> (Server, Arc<Mutex<Vec<Vec<u8>>>>) {
    let requests: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let seen = requests.clone();
    let server = Server::start(move |mut client| {
        let seen = seen.clone();
        async move {
            let mut greeting = [0; 3];
            client.read_exact(&mut greeting).await.unwrap();
            client.write_all(&[5, 0]).await.unwrap();
            let mut request = vec![0; 5];
            client.read_exact(&mut request).await.unwrap();
            let mut rest = vec![0; usize::from(request[4]) + 2];
            client.read_exact(&mut rest).await.unwrap();
            request.extend(rest);
            seen.lock().unwrap().push(request);
            client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            if reply == 0 {
                let mut relay = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut relay).await.ok();
            }
        }
    })
    .await;
    (server, requests)
}

fn with_tor(port: u16) -> DialerConfig {
    DialerConfig {
        networks: vec![Network::Clearnet, Network::Tor],
        proxies: Proxies { tor: Some(format!("socks5://127.0.0.1:{port}")), ..Proxies::default() },
        ..config()
    }
}

fn onion() -> crate::Endpoint {
    crate::Endpoint { network: Network::Tor, ..endpoint(ONION, 8080) }
}

#[tokio::test]
async fn an_onion_name_arrives_at_the_proxy_unresolved() {
    let relay = Server::websocket(echo).await;
    let (proxy, requests) = proxy(relay.port, 0).await;
    let (mut connection, info) = dialer(with_tor(proxy.port)).connect_endpoint(&onion()).await.unwrap();
    connection.send_text("x".into()).await.unwrap();
    assert_eq!(connection.recv().await.unwrap(), Frame::Text("x".into()));
    assert_eq!((info.address, info.family), (None, Family::Overlay));
    let mut expected = vec![5, 1, 0, 3, ONION.len() as u8];
    expected.extend(ONION.as_bytes());
    expected.extend(8080_u16.to_be_bytes());
    assert_eq!(*requests.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn an_overlay_is_off_without_proxy_or_permission() {
    let (proxy, _) = proxy(0, 0).await;
    let no_proxy = DialerConfig { proxies: Proxies::default(), ..with_tor(0) };
    let no_permission = DialerConfig { networks: vec![Network::Clearnet], ..with_tor(proxy.port) };
    for config in [no_proxy, no_permission] {
        let error = dialer(config).connect_endpoint(&onion()).await.err().unwrap();
        assert_eq!(error, DialError::NetworkOff(Network::Tor));
    }
    assert_eq!(proxy.seen(), 0);
    let no_clearnet = DialerConfig { networks: vec![Network::Tor], ..with_tor(proxy.port) };
    let error = dialer(no_clearnet).connect_endpoint(&endpoint("127.0.0.1", 1)).await.err().unwrap();
    assert_eq!(error, DialError::NetworkOff(Network::Clearnet));
}

#[tokio::test]
async fn an_onion_name_never_meets_a_resolver_even_when_called_clearnet() {
    let mislabelled = endpoint(ONION, 80);
    let error = dialer(config()).connect_endpoint(&mislabelled).await.err().unwrap();
    assert_eq!(error, DialError::NetworkOff(Network::Tor));
}

#[tokio::test]
async fn a_broken_proxy_and_a_dead_onion_are_told_apart() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = dialer(with_tor(closed)).connect_endpoint(&onion()).await.err().unwrap();
    assert_eq!(error.class(), "proxy");
    for (reply, class) in [(1, "proxy"), (2, "proxy"), (4, "tcp"), (5, "tcp"), (6, "tcp")] {
        let (proxy, _) = proxy(0, reply).await;
        let error = dialer(with_tor(proxy.port)).connect_endpoint(&onion()).await.err().unwrap();
        assert_eq!(error.class(), class, "{error}");
    }
    let silent = Server::start(|stream| async move {
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let error = dialer(with_tor(silent.port)).connect_endpoint(&onion()).await.err().unwrap();
    assert_eq!(error.class(), "timeout");
}

#[test]
fn the_test_check_refuses_what_it_should() {
    assert!(check("10.0.0.1".parse().unwrap(), Default::default()).is_err());
}
