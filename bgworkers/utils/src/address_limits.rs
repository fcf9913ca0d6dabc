//! A bounded number of connections per IP address, whatever the names that lead there: thousands of names pointed at one
//! address are an attack on it with us as the weapon, and the limit per host name does not see it.

use bigbrotr_models::{AddressPolicy, Network, address};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Connections to one address at a time that are being opened, or whose owner asked that they count for life.
pub const AT_A_TIME: usize = 8;
/// New connections to one public address in a row, when none was opened lately.
const BURST: u32 = 32;
/// New connections to one public address per second in the long run. Hosters have hundreds of relays behind one address, and an
/// hour is long enough for all of them.
const PER_SECOND: u32 = 8;
/// Addresses remembered for their rate beyond those in use; above, those that have recovered are forgotten.
const REMEMBERED: usize = 1024;

/// See the module. Cheap to clone; clones share the counts.
#[derive(Debug, Clone)]
pub struct AddressLimits {
    places: Arc<Mutex<HashMap<Place, Entry>>>,
    overlays: Arc<Mutex<Overlays>>,
    at_a_time: usize,
    burst: u32,
    per_second: u32,
}

/// A public address; with the port where it is private, as one private address may stand for a whole network of relays.
type Place = (IpAddr, Option<u16>);

/// By network and number of places: a reload may change the number while the old ones are in use.
type Overlays = HashMap<(Network, usize), Arc<Semaphore>>;

#[derive(Debug)]
struct Entry {
    permits: Arc<Semaphore>,
    /// Holders and waiters.
    users: usize,
    /// Everything opened so far is paid for then (generic cell rate algorithm).
    paid_until: Instant,
}

/// The right to one connection; ends when dropped.
#[derive(Debug)]
pub struct AddressPermit {
    // Order matters: the permit goes back before the entry may go.
    _permit: Option<OwnedSemaphorePermit>,
    _user: User,
}

/// Counts one holder or waiter, also one that is dropped while it waits.
#[derive(Debug)]
struct User {
    limits: AddressLimits,
    place: Place,
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self::new(AT_A_TIME, BURST, PER_SECOND)
    }
}

impl AddressLimits {
    /// The limits all dialers of this process share.
    pub fn of_process() -> Self {
        static SHARED: OnceLock<AddressLimits> = OnceLock::new();
        SHARED.get_or_init(Self::default).clone()
    }

    /// At most `at_a_time` connections to each address, and for public ones `burst` new ones in a row and `per_second` in the long
    /// run; each at least one.
    pub fn new(at_a_time: usize, burst: u32, per_second: u32) -> Self {
        let (places, overlays) = (Arc::default(), Arc::default());
        Self { places, overlays, at_a_time: at_a_time.max(1), burst: burst.max(1), per_second: per_second.max(1) }
    }

    /// A connection to `address` if it may be opened now.
    pub fn try_acquire(&self, address: SocketAddr) -> Option<AddressPermit> {
        let (permits, user) = self.enter(address);
        let permit = permits.try_acquire_owned().ok()?;
        self.pay(user.place).is_ok().then_some(AddressPermit { _permit: Some(permit), _user: user })
    }

    /// Waits for a connection to `address`, first come first served. As long as its holders take: limit it.
    pub async fn acquire(&self, address: SocketAddr) -> AddressPermit {
        let (permits, user) = self.enter(address);
        // Never closed, so never an error.
        let permit = permits.acquire_owned().await.ok();
        while let Err(at) = self.pay(user.place) {
            tokio::time::sleep_until(at).await;
        }
        AddressPermit { _permit: permit, _user: user }
    }

    /// The places of an overlay, `at_a_time` of them.
    pub(crate) fn overlay(&self, network: Network, at_a_time: usize) -> Arc<Semaphore> {
        let at_a_time = at_a_time.clamp(1, Semaphore::MAX_PERMITS);
        let mut overlays = self.overlays.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of a setting that holds no more, and that nobody uses.
        overlays.retain(|(of, number), places| *of != network || *number == at_a_time || Arc::strong_count(places) > 1);
        overlays.entry((network, at_a_time)).or_insert_with(|| Arc::new(Semaphore::new(at_a_time))).clone()
    }

    /// Takes one new connection off the account, or says when there will be one.
    fn pay(&self, place: Place) -> Result<(), Instant> {
        if place.1.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        let cost = Duration::from_secs(1) / self.per_second;
        let credit = cost * (self.burst - 1);
        let mut places = lock(&self.places);
        let Some(entry) = places.get_mut(&place) else { return Ok(()) };
        let paid_until = entry.paid_until.max(now);
        if paid_until > now + credit {
            return Err(paid_until - credit);
        }
        entry.paid_until = paid_until + cost;
        Ok(())
    }

    fn enter(&self, address: SocketAddr) -> (Arc<Semaphore>, User) {
        let place = place(address);
        let mut places = lock(&self.places);
        if places.len() >= REMEMBERED && !places.contains_key(&place) {
            let now = Instant::now();
            places.retain(|_, entry| entry.users > 0 || entry.paid_until > now);
        }
        let entry = places.entry(place).or_insert_with(|| Entry {
            permits: Arc::new(Semaphore::new(self.at_a_time)),
            users: 0,
            paid_until: Instant::now(),
        });
        entry.users += 1;
        (entry.permits.clone(), User { limits: self.clone(), place })
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut places = lock(&self.limits.places);
        if let Some(entry) = places.get_mut(&self.place) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users == 0 && entry.paid_until <= Instant::now() {
                places.remove(&self.place);
            }
        }
    }
}

fn place(address: SocketAddr) -> Place {
    let ip = address.ip().to_canonical();
    let is_private = address::check(ip, AddressPolicy { allow_private: false }).is_err();
    (ip, is_private.then_some(address.port()))
}

fn lock(places: &Mutex<HashMap<Place, Entry>>) -> MutexGuard<'_, HashMap<Place, Entry>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_address_gets_so_many_at_a_time_whatever_its_port_and_spelling() {
        let limits = AddressLimits::new(2, 100, 100);
        let held = [limits.try_acquire(at("9.9.9.9:443")), limits.try_acquire(at("9.9.9.9:80"))];
        assert!(held.iter().all(Option::is_some));
        assert!(limits.try_acquire(at("[::ffff:9.9.9.9]:443")).is_none());
        assert!(limits.try_acquire(at("9.9.9.8:443")).is_some());
        drop(held);
        assert!(limits.try_acquire(at("9.9.9.9:443")).is_some());
    }

    #[tokio::test]
    async fn ports_of_a_private_address_count_by_themselves_and_have_no_rate() {
        let limits = AddressLimits::new(1, 1, 1);
        let held = limits.try_acquire(at("127.0.0.1:1000"));
        assert!(held.is_some() && limits.try_acquire(at("127.0.0.1:1000")).is_none());
        assert!(limits.try_acquire(at("127.0.0.1:1001")).is_some());
        drop(held);
        assert!(limits.try_acquire(at("127.0.0.1:1000")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_to_a_public_address_have_a_rate() {
        let limits = AddressLimits::new(100, 3, 2);
        for _ in 0..3 {
            assert!(limits.try_acquire(at("9.9.9.9:443")).is_some());
        }
        assert!(limits.try_acquire(at("9.9.9.9:443")).is_none());
        let began = Instant::now();
        for _ in 0..4 {
            limits.acquire(at("9.9.9.9:443")).await;
        }
        let took = began.elapsed();
        assert!((Duration::from_millis(1900)..Duration::from_millis(2200)).contains(&took), "{took:?}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(limits.try_acquire(at("9.9.9.9:443")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_does_not_grow() {
        let limits = AddressLimits::new(1, 1, 1);
        for n in 0..10_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0800_0000 + n);
            assert!(limits.try_acquire((address, 443).into()).is_some());
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        let kept = lock(&limits.places).len();
        assert!(kept <= REMEMBERED, "{kept}");
    }

    #[tokio::test]
    async fn a_cancelled_waiter_leaves_nothing_behind() {
        let limits = AddressLimits::new(1, 1, 1);
        let held = limits.try_acquire(at("127.0.0.1:1"));
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, limits.acquire(at("127.0.0.1:1"))).await.is_err());
        drop(held);
        assert!(lock(&limits.places).is_empty());
    }
}
