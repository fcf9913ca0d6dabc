//! What a relay did, for the assertions of a test.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Requests kept for [`Served::requests`]; older ones are dropped.
const REQUESTS_KEPT: usize = 10_000;

/// Counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// TCP connections accepted.
    pub connections: u64,
    /// WebSockets open now.
    pub open: u64,
    /// Most WebSockets open at the same time.
    pub open_peak: u64,
    /// WebSocket upgrades.
    pub websockets: u64,
    /// NIP-11 documents asked for.
    pub documents: u64,
    /// REQ messages.
    pub reqs: u64,
    /// REQ messages refused, by CLOSED or NOTICE.
    pub refused: u64,
    /// CLOSE messages.
    pub closes: u64,
    /// COUNT messages.
    pub counts: u64,
    /// EVENT messages received.
    pub publishes: u64,
    /// AUTH messages accepted.
    pub auths: u64,
    /// Pings received.
    pub pings: u64,
    /// NEG-OPEN messages.
    pub neg_opens: u64,
    /// Rounds of reconciliations, the NEG-OPEN included.
    pub neg_messages: u64,
    /// EOSE messages sent.
    pub eoses: u64,
    /// EVENT messages sent, extra ones included.
    pub events: u64,
    /// Payload bytes of all WebSocket messages sent.
    pub bytes: u64,
    /// How often each held event was sent, by its claimed id; never sent ones are absent.
    pub sent: HashMap<String, u64>,
    /// The REQ, COUNT and NEG-OPEN messages, oldest first, the last 10,000.
    pub requests: Vec<String>,
    /// `User-Agent`s seen.
    pub user_agents: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub connections: AtomicU64,
    pub open: AtomicU64,
    pub open_peak: AtomicU64,
    pub websockets: AtomicU64,
    pub documents: AtomicU64,
    pub reqs: AtomicU64,
    pub refused: AtomicU64,
    pub closes: AtomicU64,
    pub counts: AtomicU64,
    pub publishes: AtomicU64,
    pub auths: AtomicU64,
    pub pings: AtomicU64,
    pub neg_opens: AtomicU64,
    pub neg_messages: AtomicU64,
    pub eoses: AtomicU64,
    pub events: AtomicU64,
    pub bytes: AtomicU64,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    requests: VecDeque<String>,
    user_agents: BTreeSet<String>,
}

/// Adds one and returns the new value.
pub(crate) fn bump(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

impl Counters {
    /// A WebSocket that `open` counts already has been upgraded.
    pub fn upgraded(&self) {
        bump(&self.websockets);
        self.open_peak.fetch_max(self.open.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub fn request(&self, text: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.requests.len() == REQUESTS_KEPT {
            log.requests.pop_front();
        }
        log.requests.push_back(text.to_owned());
    }

    pub fn user_agent(&self, name: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.user_agents.insert(name.to_owned());
    }

    /// Everything but `sent`.
    pub fn snapshot(&self) -> Served {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Served {
            connections: get(&self.connections),
            open: get(&self.open),
            open_peak: get(&self.open_peak),
            websockets: get(&self.websockets),
            documents: get(&self.documents),
            reqs: get(&self.reqs),
            refused: get(&self.refused),
            closes: get(&self.closes),
            counts: get(&self.counts),
            publishes: get(&self.publishes),
            auths: get(&self.auths),
            pings: get(&self.pings),
            neg_opens: get(&self.neg_opens),
            neg_messages: get(&self.neg_messages),
            eoses: get(&self.eoses),
            events: get(&self.events),
            bytes: get(&self.bytes),
            sent: HashMap::new(),
            requests: log.requests.iter().cloned().collect(),
            user_agents: log.user_agents.clone(),
        }
    }
}
