//! The live subscription: opened before history is read, so that whatever arrives from then on is heard; kept open
//! afterwards, and entered into coverage as long as the relay is known to be there.
//!
//! What is claimed of a stretch of time rests on three things: what had been there before was read by pages after the
//! subscription had begun; what came later was delivered; and a ping sent after the end of the stretch was answered, so
//! everything the relay had sent until then has been received and, before the claim is handed over, committed.

use std::time::{Duration, Instant};

use bigbrotr_core::backoff::jitter;
use bigbrotr_core::{Call, Value};
use bigbrotr_models::{Filter, Ranges};
use bigbrotr_nips::nip01::{ClientMessage, ClosePrefix, NoticeClass};
use bigbrotr_nips::paging::{End, Pager};
use bigbrotr_utils::DialError;

use crate::answer::fresh_id;
use crate::budget::Ticket;
use crate::history::Pending;
use crate::link::{Link, Said};
use crate::now;
use crate::recheck::Watch;
use crate::session::{Failure, Session, Stop};

/// How often what arrived is entered into coverage, at most.
const CLAIM_PERIOD: Duration = Duration::from_secs(30);
/// How long a relay may take to answer a ping.
const PONG_PATIENCE: Duration = Duration::from_secs(60);
/// Events of one period beyond which a relay is not listened to any more.
const FLOOD: u64 = 50_000;
/// How long a relay is used without live after it turned out not to do it, seconds.
const DAY: i64 = 86_400;
/// Tries to open a subscription, AUTH between them.
const TRIES: u32 = 3;

const COVER_LIVE: &str = "SELECT bigbrotr.cover_live($1, $2, $3, $4)";

/// An open live subscription.
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// Events that came for it.
    pub delivered: u64,
    /// As many of them as pages have confirmed.
    pub claimed: u64,
    /// New events that the last page brought, and `delivered` then: so many more must be delivered until the next.
    pub owed: (u64, u64),
    /// When all its stored events had come, unix seconds.
    pub began_at: i64,
}

impl Link {
    /// Subscribes to what arrives from now on, whatever its `created_at`, and waits until the relay has begun. Some: the
    /// relay would not, and how the answer ended.
    ///
    /// # Errors
    /// When the connection broke meanwhile.
    pub async fn open_live(&mut self) -> Result<Option<End>, DialError> {
        // One stored event: `limit: 0` is read as "no limit" or as an error by older relays. Some answer nothing to a filter
        // without any condition.
        let filter = Filter { since: Some(0), limit: Some(1), ..self.config.sync_filter.clone() }.to_json();
        let mut end = End::Timeout;
        for _ in 0..TRIES {
            let id = fresh_id();
            self.send(ClientMessage::Req { sub: &id, filter: &filter }.to_json()).await?;
            self.asked_at = Some(Instant::now());
            let (ended, empty) = self.until_eose(&id).await?;
            end = ended;
            if matches!(end, End::Eose { .. }) {
                self.live = Some(Subscription { id, delivered: 0, claimed: 0, owed: (0, 0), began_at: now() });
                return Ok(None);
            }
            if !matches!(end, End::Closed(_)) {
                self.send(ClientMessage::Close { sub: &id }.to_json()).await?;
            }
            if !self.helped_by_auth(end, empty).await? {
                break;
            }
        }
        Ok(Some(end))
    }

    /// Ends the live subscription, if there is one.
    ///
    /// # Errors
    /// When the connection broke meanwhile.
    pub async fn close_live(&mut self) -> Result<(), DialError> {
        match self.live.take() {
            Some(live) => self.send(ClientMessage::Close { sub: &live.id }.to_json()).await,
            None => Ok(()),
        }
    }

    async fn until_eose(&mut self, id: &str) -> Result<(End, bool), DialError> {
        let until = Instant::now() + self.config.request_timeout;
        let (mut empty, mut noticed) = (true, None);
        let end = loop {
            match self.step_until(Some(id), until).await {
                None => break noticed.map_or(End::Timeout, End::Closed),
                Some(Said::Broken(error)) => return Err(error),
                Some(Said::Eose(hint)) => break End::Eose { hint },
                Some(Said::Closed(message)) => {
                    let prefix = ClosePrefix::parse(&message);
                    self.notice = Some(message);
                    break End::Closed(prefix);
                }
                Some(Said::Notice(message)) => {
                    noticed = noticed.or(NoticeClass::parse(&message).as_close());
                    // A refusal in words; an answer would have been quicker than they were.
                    if noticed.is_some() {
                        break noticed.map_or(End::Timeout, End::Closed);
                    }
                }
                Some(Said::Item(_) | Said::Stray) => {
                    empty = false;
                    // One event was asked for.
                    if self.inbox.is_crowded() {
                        break End::Overflow;
                    }
                }
                Some(Said::Ok { .. } | Said::NegMsg(_) | Said::NegErr(..) | Said::Else) => {}
            }
        };
        Ok((end, empty))
    }
}

/// Why a session stopped being live.
pub enum Left {
    /// The relay did not keep it up, or the connection broke; the gap is filled by the next pass.
    Lost,
    /// A more useful relay took the seat.
    Evicted,
    /// The relay stopped before the last stretch of history was read.
    Stopped(Stop),
}

/// What a live session has to remember between two claims.
struct Stay {
    /// What had been read when the subscription had begun, and is complete as of now; `None`: not read yet.
    proven: Option<Ranges>,
    /// The number of a ping under way, when it was sent (unix seconds) and until when it may be answered.
    ping: Option<(u64, i64, Instant)>,
    claim_at: Instant,
    /// Somebody asked for a look at the last hours.
    look_again: bool,
    received_before: u64,
}

impl Session<'_> {
    /// Stays and listens until something ends it.
    pub async fn stay(&mut self, link: &mut Link, ticket: &Ticket) -> Result<Left, Failure> {
        let mut pending: Option<Pending> = None;
        let mut stay = Stay {
            proven: None,
            ping: None,
            claim_at: Instant::now() + self.first_claim(link),
            look_again: false,
            received_before: self.outcome.received,
        };
        let mut asked = self.tools.asked.subscribe();
        loop {
            if link.inbox.is_full() {
                self.settle(&mut pending).await?;
                pending = Some(self.hand_over(link.inbox.drain(), Vec::new()).await?);
                if self.outcome.received - stay.received_before > FLOOD {
                    self.learned.without_live(now(), DAY, "more events than can be listened to");
                    self.settle(&mut pending).await?;
                    return Ok(Left::Lost);
                }
            }
            let wake = stay.ping.map_or(stay.claim_at, |(_, _, until)| until);
            let wake = link.inbox.due_at().map_or(wake, |due| due.min(wake));
            tokio::select! {
                said = link.step_until(None, wake) => if let Some(Said::Broken(_)) = said {
                    self.settle(&mut pending).await?;
                    return Ok(Left::Lost);
                },
                () = ticket.lost() => {
                    self.settle(&mut pending).await?;
                    return Ok(Left::Evicted);
                }
                // run_service(): now rather than later.
                Ok(()) = asked.changed() => if stay.proven.is_some() {
                    stay.claim_at = Instant::now();
                    stay.look_again = true;
                },
            }
            if link.live.is_none() {
                // The relay closed it; when it does so again and again, polling is what it wants.
                let why = link.notice.clone().unwrap_or_default();
                self.learned.without_live(now(), 3600, &format!("closed by the relay: {why}"));
                self.settle(&mut pending).await?;
                return Ok(Left::Lost);
            }
            match stay.ping {
                Some((number, sent_at, _)) if link.is_answered(number) => {
                    stay.ping = None;
                    self.settle(&mut pending).await?;
                    pending = self.claim(link, ticket, &mut stay, sent_at).await?;
                }
                Some((_, _, until)) if Instant::now() >= until => {
                    self.learned.without_live(now(), DAY, "pings are not answered");
                    self.settle(&mut pending).await?;
                    return Ok(Left::Lost);
                }
                None if Instant::now() >= stay.claim_at => {
                    if stay.proven.is_none() || !self.learned.believes_live() {
                        self.settle(&mut pending).await?;
                        let was_read = stay.proven.is_some();
                        match self.read_top(link, was_read).await? {
                            Ok(proven) => stay.proven = Some(proven),
                            Err(stop) => return Ok(Left::Stopped(stop)),
                        }
                        if was_read && link.live.is_some() {
                            // Pages have said what there is to say of this stretch.
                            stay.claim_at = Instant::now() + jitter(self.period());
                            stay.received_before = self.outcome.received;
                            self.count(1).await?;
                            self.note_live().await?;
                            ticket.rate(self.novelty);
                            if !stay.look_again && !self.recheck_is_due() {
                                continue;
                            }
                        }
                    }
                    if let Some(stop) = self.look_while_listening(link, &mut stay).await? {
                        return Ok(Left::Stopped(stop));
                    }
                    if link.live.is_none() {
                        return Ok(Left::Lost);
                    }
                    match link.ping().await {
                        Ok(number) => stay.ping = Some((number, now(), Instant::now() + self.pong_patience())),
                        Err(_) => return Ok(Left::Lost),
                    }
                }
                _ => {}
            }
        }
    }

    /// Re-checks that are due, or asked for, over the same connection.
    async fn look_while_listening(&mut self, link: &mut Link, stay: &mut Stay) -> Result<Option<Stop>, Failure> {
        if std::mem::take(&mut stay.look_again) {
            return Box::pin(self.recheck_recent(link)).await;
        }
        if !self.recheck_is_due() {
            return Ok(None);
        }
        // A few at a time; who finds no place looks with its next claim.
        let Ok(_place) = self.tools.rechecks.try_acquire() else { return Ok(None) };
        let stop = Box::pin(self.recheck(link)).await?;
        self.note_live().await?;
        Ok(stop)
    }

    /// Reads the newest stretch by pages: once after the lag, since what had arrived just before the subscription began
    /// may have become readable a little later, and as long as the subscription is not believed. What it should have
    /// delivered and did not ends it.
    async fn read_top(&mut self, link: &mut Link, was_read: bool) -> Result<Result<Ranges, Stop>, Failure> {
        // What was delivered so far counts as seen.
        let mut pending = Some(self.hand_over(link.inbox.drain(), Vec::new()).await?);
        self.settle(&mut pending).await?;
        let wanted = Ranges::single(self.horizon.max(0), None);
        let from = self.horizon;
        self.horizon = self.lagging(now());
        let live = link.live.as_ref().map(|live| (live.began_at, live.delivered));
        self.watch = match live {
            Some((began_at, _)) if began_at.max(from) < self.horizon => {
                Some(self.watch(began_at.max(from), self.horizon).await?)
            }
            _ => None,
        };
        let limits = self.learned.limits.clone();
        let mut pager = Pager::new(wanted.clone(), self.page_limit, self.horizon, limits).claiming_above();
        let mut left = wanted.clone();
        let archived = self.outcome.archived;
        let stop = Box::pin(self.drive(link, &mut pager, &mut left)).await?;
        self.learned.limits = pager.limits().clone();
        if let Some(live) = link.live.as_mut().filter(|_| was_read) {
            // What a page brought first is on its way, or will never come.
            let (owed, then) = live.owed;
            live.owed = (self.outcome.archived - archived, live.delivered);
            if live.delivered - then < owed {
                self.lost_live(link).await;
            }
        }
        let watched = self.watch.take();
        if watched.as_ref().is_some_and(Watch::found_late) {
            self.lost_live(link).await;
        } else if let (Some(_), Some((_, before)), Some(live)) = (watched, live, link.live.as_mut())
            && before > live.claimed
        {
            live.claimed = before;
            self.learned.live_proofs = self.learned.live_proofs.saturating_add(1);
            self.note_live().await?;
        }
        Ok(match stop {
            None => Ok(wanted.subtract(&left)),
            Some(stop) => Err(stop),
        })
    }

    /// Enters what is complete by now; everything received before the ping of `sent_at` was answered goes with it.
    async fn claim(
        &mut self,
        link: &mut Link,
        ticket: &Ticket,
        stay: &mut Stay,
        sent_at: i64,
    ) -> Result<Option<Pending>, Failure> {
        // Committed first: should it fail, nothing may be claimed.
        let mut pending = Some(self.hand_over(link.inbox.drain(), Vec::new()).await?);
        self.settle(&mut pending).await?;
        link.inbox.forgive();
        let (from, to) = (self.horizon, self.lagging(sent_at));
        stay.claim_at = Instant::now() + jitter(self.period());
        stay.received_before = self.outcome.received;
        self.count(1).await?;
        ticket.rate(self.novelty);
        if to <= from {
            return Ok(None);
        }
        let proven = stay.proven.clone().unwrap_or_default().intersect(&Ranges::single(from, Some(to)));
        let hash = Value::Bytea(Some(self.tools.filter_hash.to_vec()));
        let args = vec![Value::Int(self.id), hash, Value::from(proven.to_multirange()), Value::BigInt(to)];
        self.horizon = to;
        let pending = self.hand_over_with(Default::default(), Some(Call::new(COVER_LIVE, args))).await?;
        Ok(Some(pending))
    }

    /// How long until the newest stretch can be read once more.
    fn first_claim(&self, link: &Link) -> Duration {
        let began_at = link.live.as_ref().map_or_else(now, |live| live.began_at);
        let lag = i64::try_from(self.tools.config.sync_lag.as_secs()).unwrap_or(0);
        let wait = began_at.saturating_add(lag).saturating_add(1).saturating_sub(now());
        Duration::from_secs(u64::try_from(wait).unwrap_or(0)).max(jitter(self.period()))
    }

    fn period(&self) -> Duration {
        self.tools.config.synchronizer_interval.min(CLAIM_PERIOD)
    }

    fn pong_patience(&self) -> Duration {
        self.tools.config.idle_timeout.min(PONG_PATIENCE)
    }
}
