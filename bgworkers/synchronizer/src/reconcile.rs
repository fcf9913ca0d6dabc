//! NIP-77 with one relay: the driver of [`NegSync`].

use std::time::{Duration, Instant};

use bigbrotr_core::{Call, Value};
use bigbrotr_models::{Filter, Ranges, hex};
use bigbrotr_nips::nip01::ClientMessage;
use bigbrotr_nips::nip77::{NegAction, NegOpening, NegOutcome, NegSync, NegWindow, Verdict};
use bigbrotr_nips::paging::Id;

use crate::answer::{Request, fresh_id};
use crate::link::{Link, Said};
use crate::now;
use crate::session::Session;
use crate::tally::Outcome;
use crate::verdict::{Failure, Stop};

/// How long a relay may take to answer a message of a session.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an item as SQL hands it over: created_at, id, whether it was seen on this relay.
const ITEM: usize = 41;

const ITEMS: &str = "SELECT bigbrotr.held_items($1, $2, $3, $4, $5)";
const LOCK: &str = "SELECT bigbrotr.lock_archive()";
const ADD_SEEN: &str = "SELECT bigbrotr.add_seen($1, $2, $3)";

/// What a comparison came to.
pub enum Reconciled {
    /// What is complete now.
    Proven(Ranges),
    /// The connection or the relay stopped it.
    Stopped(Stop),
}

/// One of ours.
pub struct Held {
    /// Unix seconds.
    pub created_at: i64,
    /// Its id.
    pub id: Id,
    /// Whether it was seen on this relay.
    pub seen: bool,
}

impl Session<'_> {
    /// Whether the relay may speak NIP-77.
    pub fn may_reconcile(&self) -> bool {
        self.learned.pace_ms == 0 && self.learned.negentropy.may_try(now(), &self.software)
    }

    /// Compares and fetches until `sync` has nothing more to do.
    pub async fn reconcile(&mut self, link: &mut Link, sync: &mut NegSync) -> Result<Reconciled, Failure> {
        let mut proven = Ranges::empty();
        let mut held: Vec<Held> = Vec::new();
        let (mut arrived, mut missing) = (0, 0);
        while let Some(action) = sync.next() {
            self.tools.context.memory.ready().await;
            let broken = match action {
                NegAction::Open(window) => {
                    held = self.held(&window, sync.most_items()).await?;
                    let items = held.iter().map(|item| (item.created_at, item.id)).collect();
                    match sync.open(items, rand::random()) {
                        NegOpening::Send(window, message) => self.talk(link, sync, &window, &message).await?,
                        NegOpening::Skip => Ok(()),
                    }
                }
                NegAction::Fetch(ids) => self.fetch(link, sync, ids).await?,
                NegAction::Settled(outcome) => {
                    self.settled(&outcome, &std::mem::take(&mut held)).await?;
                    arrived += outcome.arrived;
                    missing += outcome.missing;
                    proven = proven.union(&outcome.proven);
                    Ok(())
                }
            };
            if let Err(error) = broken {
                // A relay may fall over NIP-77 itself: the next look does without.
                self.learned.negentropy.learn(Some(Verdict::Broken), now(), &self.software);
                return Ok(Reconciled::Stopped(Stop::broken(error)));
            }
        }
        // Ids that it names and of which none is ever sent are made up.
        let verdict = sync.ended().or((arrived == 0 && missing > 0).then_some(Verdict::Broken));
        self.learned.negentropy.learn(verdict, now(), &self.software);
        Ok(Reconciled::Proven(proven))
    }

    /// One session, from NEG-OPEN to its end.
    async fn talk(
        &mut self,
        link: &mut Link,
        sync: &mut NegSync,
        window: &NegWindow,
        message: &str,
    ) -> Result<Result<(), bigbrotr_utils::DialError>, Failure> {
        let sub = fresh_id();
        let filter = window.filter(&self.tools.config.sync_filter).to_json();
        self.did(&Outcome { requests: 1, ..Outcome::default() });
        if let Err(error) = link.send(ClientMessage::NegOpen { sub: &sub, filter: &filter, message }.to_json()).await {
            return Ok(Err(error));
        }
        let patience = PATIENCE.min(self.tools.config.request_timeout);
        let (mut until, mut answered) = (Instant::now() + patience, self.learned.negentropy.proven);
        let verdict = loop {
            if link.inbox.is_full() {
                let mut pending = Some(self.hand_over(link.inbox.drain(), Vec::new()).await?);
                self.settle(&mut pending).await?;
            }
            let wake = link.inbox.due_at().map_or(until, |due| due.min(until));
            match link.step_until(Some(&sub), wake).await {
                None if Instant::now() < until => {}
                None => break Verdict::from_silence(answered),
                Some(Said::Broken(error)) => return Ok(Err(error)),
                Some(Said::NegMsg(hex)) => {
                    answered = true;
                    let next = sync.message(&hex);
                    let reply = match &next {
                        Some(message) => ClientMessage::NegMsg { sub: &sub, message },
                        None => ClientMessage::NegClose { sub: &sub },
                    };
                    if let Err(error) = link.send(reply.to_json()).await {
                        return Ok(Err(error));
                    }
                    if next.is_none() {
                        return Ok(Ok(()));
                    }
                    until = Instant::now() + patience;
                }
                Some(Said::NegErr(reason, max)) => break Verdict::from_error(&reason, max),
                Some(Said::Closed(message)) => break Verdict::from_error(&message, None),
                Some(Said::Notice(text)) => {
                    if let Some(verdict) = Verdict::from_notice(&text) {
                        break verdict;
                    }
                }
                Some(_) => {}
            }
        };
        sync.refused(verdict);
        Ok(link.send(ClientMessage::NegClose { sub: &sub }.to_json()).await)
    }

    /// One REQ of ids.
    async fn fetch(
        &mut self,
        link: &mut Link,
        sync: &mut NegSync,
        ids: Vec<Id>,
    ) -> Result<Result<(), bigbrotr_utils::DialError>, Failure> {
        let mut request = Request::new(&self.tools.config, Filter { ids: Some(ids), ..Filter::default() });
        self.did(&Outcome { requests: 1, ..Outcome::default() });
        if let Err(error) = request.send(link).await {
            return Ok(Err(error));
        }
        let mut pending = None;
        let end = loop {
            let part = request.receive(link).await;
            self.settle(&mut pending).await?;
            pending = Some(self.hand_over(part.inbox, Vec::new()).await?);
            if let Some(end) = part.end {
                break end;
            }
        };
        // Committed before anything is proven by it.
        self.settle(&mut pending).await?;
        for item in &request.items {
            sync.arrived(&item.id);
        }
        if let Some(watch) = &mut self.watch {
            watch.look(&request.items);
        }
        sync.fetched(end);
        Ok(request.error.take().map_or(Ok(()), Err))
    }

    /// What a window proves: ours that the relay did not lack it holds; what it named has come.
    async fn settled(&mut self, outcome: &NegOutcome, held: &[Held]) -> Result<(), Failure> {
        if outcome.missing > 0 {
            self.learned.withheld = u64::try_from(outcome.missing).unwrap_or(u64::MAX);
            self.learned.withheld_ids = outcome.unavailable.iter().take(10).map(|id| hex::encode(id)).collect();
        }
        if outcome.proven.is_empty() {
            return Ok(());
        }
        let lacking: std::collections::HashSet<&Id> = outcome.have.iter().collect();
        let (mut ids, mut times) = (Vec::new(), Vec::new());
        for item in held {
            if !item.seen && outcome.range.contains(item.created_at) && !lacking.contains(&item.id) {
                ids.push(Some(item.id.to_vec()));
                times.push(item.created_at);
            }
        }
        let mut calls = Vec::new();
        if !ids.is_empty() {
            let args = vec![Value::Int(self.id), Value::ByteaArray(ids), Value::BigIntArray(times)];
            calls.extend([Call::new(LOCK, Vec::new()), Call::new(ADD_SEEN, args)]);
        }
        self.progressed = true;
        calls.extend(self.cover_call(vec![("complete", outcome.proven.to_multirange())]));
        self.tools.context.store.transaction(calls).await?;
        Ok(())
    }

    /// The newest of what the archive holds of a window.
    pub(crate) async fn held(&self, window: &NegWindow, most: usize) -> Result<Vec<Held>, Failure> {
        let args = vec![
            Value::Int(self.id),
            Value::from(self.tools.config.sync_filter.to_json()),
            Value::BigInt(window.since.unwrap_or(0)),
            Value::BigInt(window.until.unwrap_or(i64::MAX)),
            Value::Int(i32::try_from(most).unwrap_or(i32::MAX)),
        ];
        let rows = self.tools.context.store.call(ITEMS, args).await?;
        let packed = match rows.first() {
            Some(row) => row.opt_bytea(0)?.unwrap_or_default(),
            None => &[],
        };
        Ok(packed.chunks_exact(ITEM).filter_map(unpack).collect())
    }
}

fn unpack(item: &[u8]) -> Option<Held> {
    let (created_at, rest) = item.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<32>()?;
    Some(Held { created_at: i64::from_be_bytes(*created_at), id: *id, seen: rest.first() == Some(&1) })
}
