//! A relay that speaks NIP-77, honest or not.
use super::{NegAction, NegLimits, NegOpening, NegOutcome, NegSync, NegWindow, Verdict};
use crate::nip01::ClosePrefix;
use crate::paging::{End, Id};
use bigbrotr_models::hex;
use bigbrotr_models::ranges::Range;
use negentropy::{Negentropy, NegentropyStorageVector};
use std::collections::{HashMap, HashSet};

#[derive(Debug, Clone)]
pub struct NegRelay {
    pub events: Vec<(i64, Id)>,
    /// Bytes of a message; 0: any.
    pub frame: u64,
    /// More records in a window are refused.
    pub max_records: usize,
    /// Whether the refusal names the number.
    pub tells_max: bool,
    pub until_exclusive: bool,
    /// Events sent for one REQ.
    pub cap: usize,
    /// Named, and not sent in a REQ of several ids.
    pub shy: HashSet<Id>,
    /// Named, and never sent.
    pub withheld: HashSet<Id>,
    /// Named, and refused with CLOSED.
    pub restricted: HashSet<Id>,
    pub opens: u32,
    pub requests: u32,
}

impl NegRelay {
    pub fn new(events: Vec<(i64, Id)>) -> Self {
        Self {
            events,
            frame: 0,
            max_records: usize::MAX,
            tells_max: false,
            until_exclusive: false,
            cap: 500,
            shy: HashSet::new(),
            withheld: HashSet::new(),
            restricted: HashSet::new(),
            opens: 0,
            requests: 0,
        }
    }

    pub fn session(&mut self, window: &NegWindow) -> Result<Negentropy<'static, NegentropyStorageVector>, Verdict> {
        self.opens += 1;
        let until = window.until.map(|until| until - i64::from(self.until_exclusive));
        let mut held = NegentropyStorageVector::new();
        let mut records = 0;
        for (at, id) in &self.events {
            if window.since.is_none_or(|since| *at >= since) && until.is_none_or(|until| *at <= until) {
                records += 1;
                held.insert(*at as u64, negentropy::Id::from_byte_array(*id)).expect("not sealed");
            }
        }
        if records > self.max_records {
            let max = self.tells_max.then_some(self.max_records as u64);
            return Err(Verdict::from_error("blocked: too many query results", max));
        }
        held.seal().expect("once");
        Ok(Negentropy::owned(held, self.frame).expect("a frame above the least"))
    }

    pub fn request(&mut self, ids: &[Id]) -> (Vec<(i64, Id)>, End) {
        self.requests += 1;
        if ids.iter().any(|id| self.restricted.contains(id)) {
            return (Vec::new(), End::Closed(ClosePrefix::Restricted));
        }
        let hidden = |id: &Id| self.withheld.contains(id) || ids.len() > 1 && self.shy.contains(id);
        let asked: HashSet<&Id> = ids.iter().collect();
        let hits = self.events.iter().filter(|(_, id)| asked.contains(id) && !hidden(id));
        (hits.take(self.cap).copied().collect(), End::Eose { hint: None })
    }
}

/// Drives `sync` against `relay` to its end; what arrives goes to `ours`.
pub fn drive(sync: &mut NegSync, relay: &mut NegRelay, ours: &mut HashMap<Id, i64>) -> Vec<NegOutcome> {
    let mut outcomes = Vec::new();
    let mut steps = 0;
    while let Some(action) = sync.next() {
        steps += 1;
        assert!(steps < 100_000, "no end: {sync:?}");
        match action {
            NegAction::Settled(outcome) => outcomes.push(outcome),
            NegAction::Fetch(ids) => {
                assert!(!ids.is_empty() && ids.len() <= super::FETCH_IDS);
                let (hits, end) = relay.request(&ids);
                for (at, id) in hits {
                    assert!(sync.arrived(&id));
                    ours.insert(id, at);
                }
                sync.fetched(end);
            }
            NegAction::Open(window) => {
                let mut items: Vec<(i64, Id)> = ours
                    .iter()
                    .map(|(id, at)| (*at, *id))
                    .filter(|(at, _)| {
                        window.since.is_none_or(|since| *at >= since) && window.until.is_none_or(|until| *at <= until)
                    })
                    .collect();
                items.sort_unstable_by(|a, b| b.cmp(a));
                items.truncate(sync.most_items());
                let NegOpening::Send(window, message) = sync.open(items, rand::random()) else { continue };
                match relay.session(&window) {
                    Err(verdict) => sync.refused(verdict),
                    Ok(mut session) => {
                        let mut message = message;
                        loop {
                            let bytes = (0..message.len() / 2)
                                .map(|i| u8::from_str_radix(&message[2 * i..2 * i + 2], 16).expect("hex"))
                                .collect::<Vec<_>>();
                            let answer = session.reconcile(&bytes).expect("an honest message");
                            match sync.message(&hex::encode(&answer)) {
                                Some(next) => message = next,
                                None => break,
                            }
                        }
                    }
                }
            }
        }
    }
    outcomes
}

pub fn all(lo: i64, hi: Option<i64>) -> NegSync {
    NegSync::new(Range { lo, hi }, super::tests::HORIZON, NegLimits::default())
}
