//! Who may stay connected: `bigbrotr.live_connections` seats for the relays that bring the most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long a relay keeps its seat whoever comes.
const MIN_STAY: Duration = Duration::from_secs(120);
/// How many times as useful a newcomer must be to take somebody's seat: changing costs both a request.
const ADVANTAGE: f64 = 2.0;
/// What counts as nothing, so that twice of it is something.
const NOTHING: f64 = 0.1;

/// The seats. Clones share them.
#[derive(Clone)]
pub struct Budget {
    most: usize,
    seats: Arc<Mutex<Seats>>,
}

#[derive(Default)]
struct Seats {
    taken: HashMap<i32, Seat>,
    serial: u64,
}

struct Seat {
    serial: u64,
    novelty: f64,
    host: String,
    since: Instant,
    leave: Arc<Notify>,
}

/// A seat; given up when dropped.
pub struct Ticket {
    budget: Budget,
    relay_id: i32,
    serial: u64,
    leave: Arc<Notify>,
}

impl Budget {
    /// So many seats.
    pub fn new(most: usize) -> Self {
        Self { most, seats: Arc::default() }
    }

    /// Seats taken.
    pub fn taken(&self) -> usize {
        self.lock().taken.len()
    }

    /// Whether a relay of this novelty would get a seat now.
    pub fn would_admit(&self, novelty: f64) -> bool {
        let seats = self.lock();
        seats.taken.len() < self.most || self.loser(&seats, novelty).is_some()
    }

    /// A seat, if need be that of a relay that brings much less.
    pub fn admit(&self, relay_id: i32, novelty: f64, host: String) -> Option<Ticket> {
        let mut seats = self.lock();
        if seats.taken.len() >= self.most {
            let loser = self.loser(&seats, novelty)?;
            leave(&mut seats, loser);
        }
        seats.serial += 1;
        let (serial, notify) = (seats.serial, Arc::new(Notify::new()));
        let seat = Seat { serial, novelty, host, since: Instant::now(), leave: notify.clone() };
        seats.taken.insert(relay_id, seat);
        Some(Ticket { budget: self.clone(), relay_id, serial, leave: notify })
    }

    /// Takes the seats of the `count` relays that bring the least.
    pub fn shed(&self, count: usize) {
        let mut seats = self.lock();
        for _ in 0..count {
            let Some(least) = least(seats.taken.iter()) else { return };
            leave(&mut seats, least);
        }
    }

    /// Takes the seats of relays on this host; false: there are none.
    pub fn shed_host(&self, host: &str) -> bool {
        let mut seats = self.lock();
        let of_host: Vec<i32> = seats.taken.iter().filter(|(_, seat)| seat.host == host).map(|(id, _)| *id).collect();
        for relay_id in &of_host {
            leave(&mut seats, *relay_id);
        }
        !of_host.is_empty()
    }

    /// Hosts of the relays that have seats.
    pub fn hosts(&self) -> Vec<String> {
        self.lock().taken.values().map(|seat| seat.host.clone()).collect()
    }

    fn loser(&self, seats: &Seats, novelty: f64) -> Option<i32> {
        let settled = seats.taken.iter().filter(|(_, seat)| seat.since.elapsed() >= MIN_STAY);
        least(settled.filter(|(_, seat)| seat.novelty.max(NOTHING) * ADVANTAGE < novelty))
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn least<'a>(seats: impl Iterator<Item = (&'a i32, &'a Seat)>) -> Option<i32> {
    seats.min_by(|(_, a), (_, b)| a.novelty.total_cmp(&b.novelty)).map(|(id, _)| *id)
}

fn leave(seats: &mut Seats, relay_id: i32) {
    if let Some(seat) = seats.taken.remove(&relay_id) {
        seat.leave.notify_one();
    }
}

impl Ticket {
    /// Resolves when the seat has been given to somebody else.
    pub async fn lost(&self) {
        self.leave.notified().await;
    }

    /// What the relay brings by now.
    pub fn rate(&self, novelty: f64) {
        let mut seats = self.budget.lock();
        if let Some(seat) = seats.taken.get_mut(&self.relay_id).filter(|seat| seat.serial == self.serial) {
            seat.novelty = novelty;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut seats = self.budget.lock();
        if seats.taken.get(&self.relay_id).is_some_and(|seat| seat.serial == self.serial) {
            seats.taken.remove(&self.relay_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(budget: &Budget) {
        for seat in budget.lock().taken.values_mut() {
            seat.since = Instant::now().checked_sub(2 * MIN_STAY).expect("a machine up for minutes");
        }
    }

    #[tokio::test]
    async fn a_seat_goes_to_who_brings_much_more() {
        let budget = Budget::new(2);
        let first = budget.admit(1, 5.0, "a".into()).expect("a seat");
        let second = budget.admit(2, 0.0, "b".into()).expect("a seat");
        assert!(!budget.would_admit(100.0), "those who just came stay");
        age(&budget);
        assert!(!budget.would_admit(0.1), "a little more is not enough");
        let third = budget.admit(3, 1.0, "c".into()).expect("the seat of the second");
        second.lost().await;
        drop(second);
        assert_eq!(budget.taken(), 2);
        assert!(!budget.would_admit(3.0));
        first.rate(0.0);
        age(&budget);
        assert!(budget.would_admit(3.0));
        drop((first, third));
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn seats_are_taken_back_by_rank_and_by_host() {
        let budget = Budget::new(9);
        let tickets: Vec<Ticket> =
            (0..4).filter_map(|n| budget.admit(n, f64::from(n), format!("host{}", n % 2))).collect();
        budget.shed(1);
        tickets[0].lost().await;
        assert!(budget.shed_host("host1") && !budget.shed_host("host1"));
        tickets[1].lost().await;
        assert_eq!(budget.taken(), 1);
        assert_eq!(budget.hosts(), ["host0"]);
    }

    #[test]
    fn without_seats_nobody_is_admitted() {
        let budget = Budget::new(0);
        assert!(!budget.would_admit(1e9) && budget.admit(1, 1e9, String::new()).is_none());
    }
}
