//! Hosts of an overlay, behind a SOCKS5 proxy on loopback.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

const ONION: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

/// A proxy that leads port 80 of every name to `relay` and refuses all others (RFC 1928). Returns its port.
async fn proxy(relay: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, relay));
        }
    });
    port
}

async fn serve(mut client: TcpStream, relay: u16) -> Option<()> {
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).await.ok()?;
    client.read_exact(&mut vec![0; usize::from(greeting[1])]).await.ok()?;
    client.write_all(&[5, 0]).await.ok()?;
    let mut request = [0; 5];
    client.read_exact(&mut request).await.ok()?;
    let mut target = vec![0; usize::from(request[4]) + 2];
    client.read_exact(&mut target).await.ok()?;
    let port = u16::from_be_bytes([target[target.len() - 2], target[target.len() - 1]]);
    if port != 80 {
        return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok();
    }
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    let mut server = TcpStream::connect(("127.0.0.1", relay)).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok().map(drop)
}

#[tokio::test]
async fn an_overlay_host_is_tried_without_tls_first_and_the_other_url_is_its_alias() {
    let relay = Server::start(Manner::Eose).await;
    let proxy = format!("127.0.0.1:{}", proxy(relay.port).await);
    let config = Config { networks: vec![Network::Tor], tor_proxy: Some(proxy), ..config() };
    let named = format!("wss://{ONION}");
    let world = world([named.clone()], config);
    let report = Validator::default().cycle(&world.context).await.unwrap();
    let answered = format!("ws://{ONION}");
    assert_eq!(world.store.relays(), std::slice::from_ref(&answered));
    let tables = world.store.0.lock().unwrap();
    assert_eq!(tables.aliases, [(named, answered)].into());
    assert_eq!((&report.detail["promoted"], &report.detail["aliases"]), (&json!(1), &json!(1)));
    assert!(
        tables.reasons[0].starts_with("the same URL answers as ws, this one does not (tcp: "),
        "{:?}",
        tables.reasons
    );
}

#[tokio::test]
async fn a_block_of_the_other_scheme_keeps_it_untried() {
    let relay = Server::start(Manner::Eose).await;
    let proxy = format!("127.0.0.1:{}", proxy(relay.port).await);
    let config = Config { networks: vec![Network::Tor], tor_proxy: Some(proxy), ..config() };
    let named = format!("wss://{ONION}");
    let world = world([named.clone()], config);
    world.store.0.lock().unwrap().blocks_twins = true;
    Validator::default().cycle(&world.context).await.unwrap();
    assert_eq!(relay.accepted.load(Ordering::Relaxed), 0);
    assert!(world.store.error_of(&named).starts_with("tcp: "), "{}", world.store.error_of(&named));
}
