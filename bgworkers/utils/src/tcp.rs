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

/// Connects to the first address that answers. The caller limits the time.
pub(crate) async fn connect(addresses: &[IpAddr], port: u16) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut waiting = alternate(addresses).into_iter().take(MAX_ADDRESSES);
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    let mut more = true;
    loop {
        if more {
            match waiting.next() {
                Some(ip) => attempts.push(attempt(SocketAddr::new(ip, port))),
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
                return Err(DialError::Tcp(first_error.map_or_else(|| "no address".to_owned(), |e| describe(&e))));
            }
        }
    }
}

async fn attempt(address: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // Half-open connections of relays that went away would otherwise stay until the idle timeout, and for ever between two reads.
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok((stream, address))
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
}
