//! TCP to the first of several checked addresses that answers ("happy eyeballs", RFC 8305, made light).

use crate::error::DialError;
use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::net::TcpStream;

/// Head start of an address over the next one (RFC 8305 §8).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses tried; a stranger's zone may hold thousands.
const MAX_ADDRESSES: usize = 8;

/// The places to try, in this order.
pub(crate) fn places(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    alternate(addresses).into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, port)).collect()
}

/// Connects to the first place that answers. `admit` gives the right to connect to a place, which comes back with the connection;
/// a place that is not admitted now is passed over. The caller limits the time.
pub(crate) async fn connect<P>(
    places: Vec<SocketAddr>,
    mut admit: impl FnMut(SocketAddr) -> Option<P>,
) -> Result<(TcpStream, SocketAddr, P), DialError> {
    let mut waiting = places.into_iter().filter_map(|place| admit(place).map(|permit| (place, permit)));
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    let mut more = true;
    loop {
        if more {
            match waiting.next() {
                Some((place, permit)) => attempts.push(attempt(place, permit)),
                None => more = false,
            }
        }
        let outcome = if more {
            tokio::select! {
                biased;
                outcome = attempts.next() => outcome,
                () = tokio::time::sleep(HEAD_START) => continue,
            }
        } else {
            attempts.next().await
        };
        match outcome {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => {
                first_error.get_or_insert(error);
            }
            None if more => {}
            None => {
                let refused = |error: &io::Error| DialError::Tcp(describe(error));
                return Err(match first_error {
                    Some(error) => DialError::of_connect(&error, refused),
                    None => DialError::Tcp("no address".to_owned()),
                });
            }
        }
    }
}

async fn attempt<P>(address: SocketAddr, permit: P) -> io::Result<(TcpStream, SocketAddr, P)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // Half-open connections of relays that went away would otherwise stay until the idle timeout, and for ever between two reads.
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok((stream, address, permit))
}

/// The families in turn, beginning with the first address's; the order within a family stays.
fn alternate(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut own, mut other): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().copied().partition(|ip| ip.is_ipv6() == first_is_v6);
    own.reverse();
    other.reverse();
    let mut order = Vec::with_capacity(addresses.len());
    while !(own.is_empty() && other.is_empty()) {
        order.extend(own.pop());
        order.extend(other.pop());
    }
    order
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::HostUnreachable => "host unreachable".into(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".into(),
        io::ErrorKind::TimedOut => "no answer".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::TcpListener;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    async fn connect(addresses: &[IpAddr], port: u16) -> Result<(TcpStream, SocketAddr), DialError> {
        let (stream, address, ()) = super::connect(places(addresses, port), |_| Some(())).await?;
        Ok((stream, address))
    }

    #[test]
    fn families_take_turns() {
        let order = alternate(&ips(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "::1", "::2"]));
        assert_eq!(order, ips(&["1.1.1.1", "::1", "2.2.2.2", "::2", "3.3.3.3"]));
        assert!(alternate(&[]).is_empty());
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_, address) = connect(&ips(&["127.0.0.1", "127.0.0.2"]), port).await.unwrap();
        assert_eq!(address.ip(), ips(&["127.0.0.2"])[0]);
    }

    #[tokio::test]
    async fn refusal_everywhere_is_a_tcp_error() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let error = connect(&ips(&["127.0.0.1", "127.0.0.2"]), port).await.unwrap_err();
        assert_eq!(error, DialError::Tcp("connection refused".into()));
        assert_eq!(connect(&[], 1).await.unwrap_err().class(), "tcp");
    }

    #[tokio::test]
    async fn a_place_that_is_not_admitted_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let admit = |place: SocketAddr| (place.ip() != ips(&["127.0.0.1"])[0]).then_some(());
        let outcome = super::connect(places(&ips(&["127.0.0.1"]), port), admit).await;
        assert_eq!(outcome.map(|_| ()).unwrap_err().class(), "tcp");
        assert!(tokio::time::timeout(Duration::from_millis(100), listener.accept()).await.is_err());
    }

    /// Addresses that swallow everything: nobody is there (RFC 5737, 3849) or there is no way to them.
    const NOWHERE: [&str; 4] = ["192.0.2.1", "2001:db8::1", "198.51.100.1", "203.0.113.1"];

    #[tokio::test]
    async fn broken_ipv6_and_many_dead_addresses_cost_their_head_start_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut addresses = ips(&["2001:db8::1"]);
        addresses.extend(ips(&NOWHERE));
        addresses.extend(ips(&["127.0.0.1"]));
        let began = std::time::Instant::now();
        let (_, address) = connect(&addresses, port).await.unwrap();
        assert_eq!(address.ip(), ips(&["127.0.0.1"])[0]);
        assert!(began.elapsed() < HEAD_START * 8, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn one_family_is_enough() {
        for only in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((only, 0)).await else { continue };
            let (_, address) = connect(&ips(&[only]), listener.local_addr().unwrap().port()).await.unwrap();
            assert_eq!(address.ip(), ips(&[only])[0]);
        }
    }
}
