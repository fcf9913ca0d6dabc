//! The tries under way: a fixed number of slots and no barrier, so that a silent host costs its own slot and nothing else.

use std::collections::{HashMap, HashSet, VecDeque};

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::{RelayUrl, relay_url::Host};
use bigbrotr_utils::{Dialer, HostLimits};
use tokio::task::{Id, JoinError, JoinSet};

use crate::failure::Failure;
use crate::probe::{self, Candidate, Means, Outcome};
use crate::queue::Finished;

/// Candidates kept waiting for one busy host, and for all; more are put off in the database, so that no host fills our memory.
const WAITING_PER_HOST: usize = 1_000;
const WAITING: usize = 5_000;

/// See the module.
#[derive(Debug)]
pub struct Pool {
    hosts: HostLimits,
    tries: JoinSet<Outcome>,
    running: HashMap<Id, RelayUrl>,
    /// Claimed, not looked at yet.
    queue: VecDeque<Candidate>,
    /// By host: claimed while as many connections as a host gets were open.
    waiting: HashMap<String, VecDeque<Candidate>>,
    /// All of them together.
    waiting_count: usize,
    /// Hosts with somebody waiting, of which a connection has ended.
    freed: HashSet<String>,
    put_off: Vec<Finished>,
}

impl Pool {
    /// Empty; connections count against `hosts`.
    pub fn new(hosts: HostLimits) -> Self {
        Self {
            hosts,
            tries: JoinSet::new(),
            running: HashMap::new(),
            queue: VecDeque::new(),
            waiting: HashMap::new(),
            waiting_count: 0,
            freed: HashSet::new(),
            put_off: Vec::new(),
        }
    }

    /// Slots in use.
    pub fn running(&self) -> usize {
        self.tries.len()
    }

    /// Whether nobody is left to be tried or written.
    pub fn is_empty(&self) -> bool {
        self.tries.is_empty() && self.queue.is_empty() && self.waiting.is_empty() && self.put_off.is_empty()
    }

    /// Whether the next slot would stay empty without a claim.
    pub fn wants_more(&self) -> bool {
        self.queue.is_empty() && self.freed.is_empty()
    }

    /// Whether [`Pool::finished`] has something without waiting.
    pub fn has_put_off(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// Takes claimed candidates, and those who are to be compared.
    pub fn push(&mut self, candidates: Vec<Candidate>) {
        self.queue.extend(candidates);
    }

    /// Starts tries until `slots` are in use or nobody can be tried now.
    pub fn start(&mut self, slots: usize, dialer: &Dialer, memory: &MemoryBudget) {
        while self.tries.len() < slots && !memory.is_tight() {
            let Some(candidate) = self.next() else { break };
            let host = host(&candidate.url);
            // Not `acquire` polled once: tokio makes that one wait also when a task has had its turn, and nobody would wake it.
            let Some(permit) = self.hosts.try_acquire(&candidate.url) else {
                self.wait(host, candidate);
                continue;
            };
            let url = candidate.url.clone();
            let means = Means { dialer: dialer.clone(), hosts: self.hosts.clone(), memory: memory.clone() };
            let task = self.tries.spawn(async move {
                let _permit = permit;
                probe::attempt(&means, &candidate).await
            });
            self.running.insert(task.id(), url);
        }
    }

    fn next(&mut self) -> Option<Candidate> {
        while let Some(host) = self.freed.iter().next().cloned() {
            self.freed.remove(&host);
            let Some(queue) = self.waiting.get_mut(&host) else { continue };
            let candidate = queue.pop_front();
            self.waiting_count -= usize::from(candidate.is_some());
            if queue.is_empty() {
                self.waiting.remove(&host);
            }
            if candidate.is_some() {
                return candidate;
            }
        }
        self.queue.pop_front()
    }

    fn wait(&mut self, host: String, candidate: Candidate) {
        let queue = self.waiting.entry(host).or_default();
        if queue.len() < WAITING_PER_HOST && self.waiting_count < WAITING {
            queue.push_back(candidate);
            self.waiting_count += 1;
        } else {
            self.put_off.push((candidate.url, Outcome::NotTried));
        }
    }

    /// Puts everybody off who has not begun.
    pub fn put_off(&mut self) {
        let rest = self.waiting.drain().flat_map(|(_, queue)| queue).chain(self.queue.drain(..));
        self.put_off.extend(rest.map(|candidate| (candidate.url, Outcome::NotTried)));
        self.waiting_count = 0;
        self.freed.clear();
    }

    /// Waits until a try has ended and returns it with up to `max` others that have. At once if somebody was put off.
    /// Cancel-safe.
    pub async fn finished(&mut self, max: usize) -> Vec<Finished> {
        let mut finished = std::mem::take(&mut self.put_off);
        if finished.is_empty()
            && let Some(ended) = self.tries.join_next_with_id().await
        {
            finished.extend(self.outcome(ended));
        }
        while finished.len() < max
            && let Some(ended) = self.tries.try_join_next_with_id()
        {
            finished.extend(self.outcome(ended));
        }
        finished
    }

    fn outcome(&mut self, ended: Result<(Id, Outcome), JoinError>) -> Option<Finished> {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome),
            // Somebody's bytes made us panic: theirs is the failure, and the others go on.
            Err(error) => (error.id(), Outcome::Failed(Failure::new("internal", "the try panicked"))),
        };
        let url = self.running.remove(&id)?;
        let host = host(&url);
        if self.waiting.contains_key(&host) {
            self.freed.insert(host);
        }
        Some((url, outcome))
    }
}

fn host(url: &RelayUrl) -> String {
    match url.host() {
        Host::Name(name) => name.to_owned(),
        Host::Ip(ip) => ip.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bigbrotr_models::AddressPolicy;
    use bigbrotr_utils::DialerConfig;

    use super::*;

    #[tokio::test]
    async fn free_hosts_are_tried_at_once_however_many_there_are() {
        let dialer = Dialer::new(DialerConfig::default());
        let candidate = |number: usize| {
            let url = format!("ws://127.0.{}.{}:1", number / 256, number % 256);
            Candidate {
                url: RelayUrl::parse(&url, AddressPolicy { allow_private: true }).unwrap(),
                may_try_tls: false,
                doubt: None,
            }
        };
        let mut pool = Pool::new(HostLimits::default());
        pool.push((0..1000).map(candidate).collect());
        pool.start(1000, &dialer, &MemoryBudget::unlimited());
        assert_eq!(pool.running(), 1000);
    }
}
