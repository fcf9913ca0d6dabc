//! Politeness: a bounded number of connections per host, whoever in this worker wants them.

use crate::endpoint::{EndpointHost, is_private_name};
use bigbrotr_models::{AddressPolicy, RelayUrl, address, relay_url::Host};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections a host gets at a time (DESIGN §8).
pub const PER_HOST: usize = 2;

/// Who holds or waits for connections to which host. An entry lives only while somebody does, so there are never more entries than callers.
/// Cheap to clone; clones share the counts.
#[derive(Debug, Clone)]
pub struct HostLimits {
    hosts: Arc<Mutex<HashMap<String, Entry>>>,
    per_host: usize,
}

#[derive(Debug)]
struct Entry {
    permits: Arc<Semaphore>,
    /// Holders and waiters.
    users: usize,
}

/// The right to one connection; ends when dropped.
#[derive(Debug)]
pub struct HostPermit {
    // Order matters: the permit goes back before the entry may go.
    _permit: Option<OwnedSemaphorePermit>,
    _user: User,
}

/// Counts one holder or waiter, also one that is dropped while it waits.
#[derive(Debug)]
struct User {
    hosts: Arc<Mutex<HashMap<String, Entry>>>,
    key: String,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self::new(PER_HOST)
    }
}

impl HostLimits {
    /// At most `per_host` connections (at least one) to each host.
    pub fn new(per_host: usize) -> Self {
        Self { hosts: Arc::default(), per_host: per_host.max(1) }
    }

    /// Waits for a connection to the host of `url`, first come first served. As long as its holders take: limit it, or use
    /// [`HostLimits::acquire_within`].
    pub async fn acquire(&self, url: &RelayUrl) -> HostPermit {
        self.acquire_key(host_key(url)).await
    }

    /// [`HostLimits::acquire`] with a limit; `None` when it passes.
    pub async fn acquire_within(&self, url: &RelayUrl, limit: Duration) -> Option<HostPermit> {
        tokio::time::timeout(limit, self.acquire(url)).await.ok()
    }

    /// A connection to the host of `url` if one is free now.
    pub fn try_acquire(&self, url: &RelayUrl) -> Option<HostPermit> {
        self.try_acquire_key(host_key(url))
    }

    /// Keys ([`host_key`]) of the hosts that have no connection free.
    pub fn full(&self) -> Vec<String> {
        let hosts = lock(&self.hosts);
        hosts.iter().filter(|(_, entry)| entry.permits.available_permits() == 0).map(|(key, _)| key.clone()).collect()
    }

    /// Hosts somebody holds or waits for.
    pub fn hosts(&self) -> usize {
        lock(&self.hosts).len()
    }

    async fn acquire_key(&self, key: String) -> HostPermit {
        let (permits, user) = self.enter(key);
        // Never closed, so never an error.
        HostPermit { _permit: permits.acquire_owned().await.ok(), _user: user }
    }

    fn try_acquire_key(&self, key: String) -> Option<HostPermit> {
        let (permits, user) = self.enter(key);
        permits.try_acquire_owned().ok().map(|permit| HostPermit { _permit: Some(permit), _user: user })
    }

    fn enter(&self, key: String) -> (Arc<Semaphore>, User) {
        let mut hosts = lock(&self.hosts);
        let entry = hosts
            .entry(key.clone())
            .or_insert_with(|| Entry { permits: Arc::new(Semaphore::new(self.per_host)), users: 0 });
        entry.users += 1;
        (entry.permits.clone(), User { hosts: self.hosts.clone(), key })
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut hosts = lock(&self.hosts);
        if let Some(entry) = hosts.get_mut(&self.key) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users == 0 {
                hosts.remove(&self.key);
            }
        }
    }
}

fn lock(hosts: &Mutex<HashMap<String, Entry>>) -> MutexGuard<'_, HashMap<String, Entry>> {
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one host: its name or address, with the port where that is private.
pub fn host_key(url: &RelayUrl) -> String {
    let host = match url.host() {
        Host::Name(name) => EndpointHost::Name(name.to_owned()),
        Host::Ip(ip) => EndpointHost::Ip(ip),
    };
    let is_private = |ip: IpAddr| address::check(ip, AddressPolicy { allow_private: false }).is_err();
    key(&host, url.port(), is_private)
}

/// The host; with the port where a host is a whole network of relays behind one private address.
fn key(host: &EndpointHost, port: u16, is_private: impl Fn(IpAddr) -> bool) -> String {
    let with_port = match host {
        EndpointHost::Name(name) => is_private_name(name),
        EndpointHost::Ip(ip) => is_private(*ip),
    };
    if with_port { format!("{host}:{port}") } else { host.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    async fn try_key(limits: &HostLimits, key: &str) -> Option<HostPermit> {
        tokio::time::timeout(SOON, limits.acquire_key(key.into())).await.ok()
    }

    #[tokio::test]
    async fn a_host_gets_two_connections_and_another_host_its_own() {
        let limits = HostLimits::default();
        let first = try_key(&limits, "a").await;
        let second = try_key(&limits, "a").await;
        assert!(first.is_some() && second.is_some());
        assert!(try_key(&limits, "a").await.is_none());
        assert!(try_key(&limits, "b").await.is_some());
        drop(first);
        assert!(try_key(&limits, "a").await.is_some());
    }

    #[tokio::test]
    async fn unused_entries_go_also_those_of_cancelled_waiters() {
        let limits = HostLimits::new(1);
        let held = try_key(&limits, "a").await;
        assert!(try_key(&limits, "a").await.is_none());
        assert_eq!(limits.hosts(), 1);
        drop(held);
        assert_eq!(limits.hosts(), 0);
    }

    #[tokio::test]
    async fn a_waiter_gets_the_permit_and_keeps_the_entry() {
        let limits = HostLimits::new(1);
        let held = try_key(&limits, "a").await;
        let waiter = tokio::spawn({
            let limits = limits.clone();
            async move { limits.acquire_key("a".into()).await }
        });
        tokio::task::yield_now().await;
        drop(held);
        let permit = waiter.await.expect("no panic");
        assert_eq!(limits.hosts(), 1);
        assert!(try_key(&limits, "a").await.is_none());
        drop(permit);
        assert_eq!(limits.hosts(), 0);
    }

    #[tokio::test]
    async fn who_does_not_wait_gets_one_only_if_it_is_free() {
        let limits = HostLimits::new(1);
        let held = limits.try_acquire_key("a".into());
        assert!(held.is_some() && limits.try_acquire_key("a".into()).is_none());
        assert_eq!(limits.full(), ["a"]);
        drop(held);
        assert!(limits.full().is_empty());
        assert_eq!(limits.hosts(), 0);
    }

    #[test]
    fn private_hosts_count_by_port() {
        let private = |ip: IpAddr| ip.is_loopback();
        let name = |text: &str| EndpointHost::Name(text.into());
        let ip = |text: &str| EndpointHost::Ip(text.parse().expect("literal"));
        assert_eq!(key(&name("relay.example"), 7777, private), "relay.example");
        assert_eq!(key(&name("localhost"), 7777, private), "localhost:7777");
        assert_eq!(key(&ip("127.0.0.1"), 1, private), "127.0.0.1:1");
        assert_eq!(key(&ip("::1"), 1, private), "[::1]:1");
        assert_eq!(key(&ip("9.9.9.9"), 1, private), "9.9.9.9");
    }
}
