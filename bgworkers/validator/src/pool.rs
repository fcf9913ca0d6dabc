//! The tries under way: a fixed number of slots and no barrier, so that a silent host costs its own slot and nothing else.

use std::collections::{HashMap, HashSet, VecDeque};

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::RelayUrl;
use bigbrotr_utils::{HostLimits, host_key};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Duration, Instant};

use crate::dial::Pair;
use crate::failure::Failure;
use crate::probe::{self, Candidate, Means, Outcome};
use crate::queue::Finished;

/// Candidates kept waiting for one busy host, and for all; more are put off in the database, so that no host fills our memory.
const WAITING_PER_HOST: usize = 1_000;
const WAITING: usize = 5_000;
/// How long who has answered waits until what is in doubt is looked at again, and how often.
const DELAY: Duration = Duration::from_secs(5);
const MAX_DELAYS: u8 = 6;

/// See the module.
#[derive(Debug)]
pub struct Pool {
    hosts: HostLimits,
    tries: JoinSet<Outcome>,
    running: HashMap<Id, Running>,
    /// Claimed, not looked at yet.
    queue: VecDeque<Candidate>,
    /// By [`host_key`]: claimed while as many connections as a host gets were open.
    waiting: HashMap<String, VecDeque<Candidate>>,
    /// All of them together.
    waiting_count: usize,
    /// Hosts with somebody waiting, of which a connection has ended.
    freed: HashSet<String>,
    put_off: Vec<Finished>,
    /// In doubt, and to be looked at again from then on: in the order of time.
    later: VecDeque<(Instant, Candidate)>,
}

/// A try under way.
#[derive(Debug)]
struct Running {
    url: RelayUrl,
    /// To which it holds or takes connections: its own, and those of relays it is compared with.
    hosts: Vec<String>,
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
            later: VecDeque::new(),
        }
    }

    /// Slots in use.
    pub fn running(&self) -> usize {
        self.tries.len()
    }

    /// Whether nobody is left to be tried or written.
    pub fn is_empty(&self) -> bool {
        self.tries.is_empty()
            && self.queue.is_empty()
            && self.waiting.is_empty()
            && self.put_off.is_empty()
            && self.later.is_empty()
    }

    /// Whether the next slot would stay empty without a claim.
    pub fn wants_more(&self) -> bool {
        self.queue.is_empty() && self.freed.is_empty()
    }

    /// Whether [`Pool::finished`] has something without waiting.
    pub fn has_put_off(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// Takes claimed candidates.
    pub fn push(&mut self, candidates: Vec<Candidate>) {
        self.queue.extend(candidates);
    }

    /// Takes those who have answered and are to be compared: they go first.
    pub fn push_in_doubt(&mut self, candidates: Vec<Candidate>) {
        for candidate in candidates.into_iter().rev() {
            self.queue.push_front(candidate);
        }
    }

    /// Starts tries until `slots` are in use or nobody can be tried now.
    pub fn start(&mut self, slots: usize, dialers: &Pair, memory: &MemoryBudget) {
        while self.tries.len() < slots && !memory.is_tight() {
            let Some(candidate) = self.next() else { break };
            let own = host_key(&candidate.url);
            // Not `acquire` polled once: tokio makes that one wait also when a task has had its turn, and nobody would wake it.
            let Some(permit) = self.hosts.try_acquire(&candidate.url) else {
                self.wait(own, candidate);
                continue;
            };
            let suspects = candidate.doubt.iter().flat_map(|doubt| &doubt.suspects);
            let hosts = suspects.map(|(_, url)| host_key(url)).chain([own]).collect();
            let running = Running { url: candidate.url.clone(), hosts };
            let Pair { dialer, large } = dialers.clone();
            let means = Means { dialer, large, hosts: self.hosts.clone(), memory: memory.clone() };
            let task = self.tries.spawn(async move {
                let _permit = permit;
                probe::attempt(&means, &candidate).await
            });
            self.running.insert(task.id(), running);
        }
    }

    fn next(&mut self) -> Option<Candidate> {
        if self.later.front().is_some_and(|(at, _)| *at <= Instant::now()) {
            return self.later.pop_front().map(|(_, candidate)| candidate);
        }
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
        if candidate.doubt.is_some() {
            // No more of them than there are slots.
            queue.push_front(candidate);
            self.waiting_count += 1;
        } else if queue.len() < WAITING_PER_HOST && self.waiting_count < WAITING {
            queue.push_back(candidate);
            self.waiting_count += 1;
        } else {
            self.put_off.push((candidate.url, Outcome::NotTried));
        }
    }

    /// Puts everybody off who has not begun, but for those who have answered and are to be compared only: they would be tried
    /// from the start.
    pub fn put_off(&mut self) {
        let put_off = &mut self.put_off;
        let mut spare = |queue: &mut VecDeque<Candidate>| {
            queue.retain_mut(|candidate| {
                let is_spared = candidate.doubt.is_some();
                if !is_spared {
                    put_off.push((candidate.url.clone(), Outcome::NotTried));
                }
                is_spared
            });
        };
        spare(&mut self.queue);
        self.waiting.retain(|_, queue| {
            spare(queue);
            !queue.is_empty()
        });
        self.waiting_count = self.waiting.values().map(VecDeque::len).sum();
        self.freed.retain(|host| self.waiting.contains_key(host));
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
        let Running { url, hosts } = self.running.remove(&id)?;
        self.freed.extend(hosts.into_iter().filter(|host| self.waiting.contains_key(host)));
        match outcome {
            Outcome::Later(doubt) if doubt.delays <= MAX_DELAYS => {
                let candidate = Candidate { url, may_try_tls: true, doubt: Some(doubt) };
                self.later.push_back((Instant::now() + DELAY, candidate));
                None
            }
            outcome => Some((url, outcome)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use bigbrotr_core::{Config, log::Log};
    use bigbrotr_models::AddressPolicy;

    use super::*;
    use crate::dial::Dialers;
    use crate::probe::{Answered, Doubt};

    fn dialers() -> Pair {
        Dialers::default().get(&Arc::new(Config::default()), &Log::channel(1).0)
    }

    fn url(url: &str) -> RelayUrl {
        RelayUrl::parse(url, AddressPolicy { allow_private: true }).unwrap()
    }

    fn candidate(key: &str) -> Candidate {
        Candidate { url: url(key), may_try_tls: false, doubt: None }
    }

    fn in_doubt(key: &str, suspect: &str) -> Candidate {
        let answered = Answered { url: url(key), evidence: None };
        let doubt = Doubt { answered, suspects: vec![(1, url(suspect))], compared: Vec::new(), delays: 0 };
        Candidate { doubt: Some(doubt), ..candidate(key) }
    }

    #[tokio::test]
    async fn who_has_answered_goes_first_and_is_not_put_off() {
        let mut pool = Pool::new(HostLimits::default());
        pool.push(vec![candidate("ws://127.0.0.1:1"), candidate("ws://127.0.0.2:1")]);
        pool.push_in_doubt(vec![in_doubt("ws://127.0.0.3:1", "ws://127.0.0.3:2")]);
        assert_eq!(pool.queue.front().map(|next| next.url.as_str()), Some("ws://127.0.0.3:1"));
        pool.wait("127.0.0.4:1".into(), candidate("ws://127.0.0.4:1"));
        pool.wait("127.0.0.4:1".into(), in_doubt("ws://127.0.0.4:2", "ws://127.0.0.4:3"));
        pool.wait("127.0.0.5:1".into(), candidate("ws://127.0.0.5:1"));
        pool.put_off();
        let mut put_off: Vec<_> = pool.put_off.iter().map(|(url, _)| url.as_str().to_owned()).collect();
        put_off.sort();
        assert_eq!(put_off, ["ws://127.0.0.1:1", "ws://127.0.0.2:1", "ws://127.0.0.4:1", "ws://127.0.0.5:1"]);
        assert_eq!((pool.queue.len(), pool.waiting_count, pool.waiting.len()), (1, 1, 1));
    }

    #[tokio::test]
    async fn who_waits_for_the_host_of_somebody_elses_suspect_is_woken() {
        let dialers = dialers();
        let mut pool = Pool::new(HostLimits::default());
        pool.push_in_doubt(vec![in_doubt("ws://127.0.0.1:1", "ws://127.0.0.2:1")]);
        pool.start(1, &dialers, &MemoryBudget::unlimited());
        pool.wait("127.0.0.2:1".into(), candidate("ws://127.0.0.2:1"));
        assert!(pool.wants_more());
        pool.finished(1).await;
        assert!(!pool.wants_more(), "its host is free");
    }

    #[tokio::test(start_paused = true)]
    async fn what_limits_of_ours_prevent_is_kept_and_looked_at_again() {
        let mut pool = Pool::new(HostLimits::default());
        let end = |pool: &mut Pool, delays| {
            let mut candidate = in_doubt("ws://127.0.0.1:1", "ws://127.0.0.2:1");
            let mut doubt = candidate.doubt.take().unwrap();
            doubt.delays = delays;
            let task = pool.tries.spawn(async move { Outcome::Later(doubt) });
            pool.running.insert(task.id(), Running { url: candidate.url, hosts: Vec::new() });
        };
        end(&mut pool, 1);
        assert_eq!(pool.finished(1).await, []);
        assert!(!pool.is_empty() && pool.next().is_none(), "not yet");
        tokio::time::advance(DELAY).await;
        assert!(pool.next().is_some_and(|candidate| candidate.doubt.is_some()));
        end(&mut pool, MAX_DELAYS + 1);
        assert_eq!(pool.finished(1).await.len(), 1, "not for ever");
        assert!(pool.is_empty());
    }

    #[tokio::test]
    async fn free_hosts_are_tried_at_once_however_many_there_are() {
        let dialers = dialers();
        let candidate = |number: usize| candidate(&format!("ws://127.0.{}.{}:1", number / 256, number % 256));
        let mut pool = Pool::new(HostLimits::default());
        pool.push((0..1000).map(candidate).collect());
        pool.start(1000, &dialers, &MemoryBudget::unlimited());
        assert_eq!(pool.running(), 1000);
    }
}
