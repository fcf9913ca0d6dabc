//! One connection to a relay published to: events out, OKs in, at a pace the relay bears.

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::StoreError;
use bigbrotr_core::backoff::{Backoff, jitter};
use bigbrotr_models::RelayUrl;
use bigbrotr_nips::nip01::{ClientMessage, ClosePrefix, NoticeClass, RelayMessage};
use bigbrotr_utils::{Connection, DialError, Frame};
use tokio::time::Instant;

use super::Shared;
use super::answers::{Answer, Answers, clean, now_us};
use super::auth::Auth;
use super::outlet;
use super::queue::{Item, Queue};

/// Events sent and not answered at a time.
const WINDOW: usize = 16;
/// Pause between two events: 20 a second.
const PACE: Duration = Duration::from_millis(50);
/// Pause between two events at the most, for a relay that finds us too fast.
const SLOWEST: Duration = Duration::from_secs(5);
/// Refusals in a row after which the relay is left alone for a while.
const MAX_REFUSALS: u32 = 8;

/// What outlives a connection.
#[derive(Debug)]
pub struct Memory {
    /// Refusals since it last accepted something.
    refusals: u32,
    /// It wants to know who we are before anything else.
    wants_auth: bool,
    /// Pauses it asked for: longer each time, until it accepts something.
    slower: Backoff,
    /// Events it accepted.
    accepted: u32,
    /// Pause between two events.
    pace: Duration,
    /// It asked not to be sent anything until then.
    paused_until: Instant,
}

impl Default for Memory {
    fn default() -> Self {
        let slower = Backoff::new(Duration::from_secs(5), Duration::from_secs(600));
        Self { refusals: 0, wants_auth: false, slower, accepted: 0, pace: PACE, paused_until: Instant::now() }
    }
}

impl Memory {
    /// When it may be sent something again: a relay that says `rate-limited:` and hangs up means the next connection too.
    pub fn paused_until(&self) -> Instant {
        self.paused_until
    }
}

/// Why a connection is not used any more.
#[derive(Debug)]
pub enum Ended {
    /// It broke, or the relay did not answer. `useful`: after it had accepted something.
    Lost { why: String, useful: bool },
    /// The relay refuses whatever it is sent.
    Unwanted(String),
}

/// An event on its way.
struct Sent {
    item: Item,
    at_us: i64,
    until: Instant,
}

/// The work on one connection.
pub struct Sending<'a> {
    shared: Arc<Shared>,
    url: &'a str,
    /// From a sent event to its OK.
    answer_timeout: Duration,
    connection: Connection,
    queue: &'a mut Queue,
    memory: &'a mut Memory,
    sent: Vec<Sent>,
    answers: Answers,
    auth: Auth,
    next_at: Instant,
    /// The relay asked for a pause, and nobody knows yet.
    slowed: Option<(String, Duration)>,
    accepted: u32,
    notice: Option<String>,
}

impl<'a> Sending<'a> {
    /// Over a fresh connection.
    pub fn new(
        shared: Arc<Shared>,
        url: &'a RelayUrl,
        connection: Connection,
        queue: &'a mut Queue,
        memory: &'a mut Memory,
    ) -> Self {
        let signer = shared.plan.auth_enabled.then(|| shared.signer.clone());
        let mut auth = Auth::new(signer, url.with_root_slash());
        let next_at = memory.paused_until.max(Instant::now());
        let answer_timeout = shared.plan.dialer.request_timeout_in(url.network());
        if memory.wants_auth {
            auth.want();
        }
        Self {
            shared,
            url: url.as_str(),
            answer_timeout,
            connection,
            queue,
            memory,
            sent: Vec::new(),
            answers: Answers::default(),
            auth,
            next_at,
            slowed: None,
            accepted: 0,
            notice: None,
        }
    }

    /// Sends until the connection is of no use any more. What is under way then has an open answer.
    ///
    /// # Errors
    /// What the store says.
    pub async fn run(mut self) -> Result<Ended, StoreError> {
        let ended = self.work().await?;
        let why = match &ended {
            Ended::Lost { why, .. } | Ended::Unwanted(why) => why.clone(),
        };
        for sent in std::mem::take(&mut self.sent) {
            self.answers.push(sent.item, Answer::Open, &why, sent.at_us);
        }
        self.answers.write(&self.shared.context, self.url).await?;
        self.queue.restart();
        if matches!(ended, Ended::Unwanted(_)) {
            self.connection.close().await;
        }
        Ok(ended)
    }

    async fn work(&mut self) -> Result<Ended, StoreError> {
        let mut news = self.shared.news.subscribe();
        let mut is_stale = true;
        loop {
            self.shared.context.memory.ready().await;
            let now = Instant::now();
            let is_done = self.sent.is_empty() && self.queue.is_empty() && !self.answers.is_empty();
            if is_done || self.answers.due().is_some_and(|due| now >= due) {
                self.answers.write(&self.shared.context, self.url).await?;
            }
            let is_quiet = self.sent.is_empty() && self.answers.is_empty();
            if self.queue.is_empty() && (is_stale || is_quiet && now >= self.queue.again_at()) {
                self.queue.fill(is_quiet).await?;
                // A full handful: there may be more.
                is_stale = !self.queue.is_empty();
            }
            if let Some((why, pause)) = self.slowed.take() {
                outlet::record(&self.shared, self.url, true, Some(why), Some(pause)).await?;
            }
            if let Err(error) = self.authenticate().await {
                return Ok(self.lost(&error));
            }
            let may_send = now >= self.next_at && self.sent.len() < WINDOW && !self.auth.is_under_way();
            if may_send && let Some(item) = self.queue.pop() {
                if let Err(error) = self.send(item).await {
                    return Ok(self.lost(&error));
                }
                continue;
            }
            let wants_to_send = !self.queue.is_empty() && self.sent.len() < WINDOW && !self.auth.is_under_way();
            let times = [
                self.sent.first().map(|sent| sent.until),
                self.answers.due(),
                self.auth.until(),
                wants_to_send.then_some(self.next_at),
                (self.queue.is_empty() && is_quiet).then(|| self.queue.again_at()),
            ];
            let wake_at = times.into_iter().flatten().min().unwrap_or(now + SLOWEST);
            tokio::select! {
                frame = self.connection.recv() => match frame {
                    Ok(Frame::Text(text)) => if let Some(ended) = self.heard(&text) {
                        return Ok(ended);
                    },
                    Ok(Frame::Binary(_)) => {}
                    Ok(Frame::Closed { code, reason }) => {
                        return Ok(self.lost(&format!("closed with code {code} {reason}")));
                    }
                    Err(error) => return Ok(self.lost(&error)),
                },
                () = tokio::time::sleep_until(wake_at) => {}
                // The sender lives as long as `shared`.
                _ = news.changed() => is_stale = true,
            }
            if let Some(ended) = self.timed_out() {
                return Ok(ended);
            }
        }
    }

    fn lost(&self, why: &impl ToString) -> Ended {
        let why = match &self.notice {
            Some(notice) => format!("{} ({notice})", why.to_string()),
            None => why.to_string(),
        };
        Ended::Lost { why, useful: self.accepted > 0 }
    }

    async fn send(&mut self, item: Item) -> Result<(), DialError> {
        let text = ClientMessage::Event { event: &item.event }.to_json();
        let now = Instant::now();
        self.sent.push(Sent { item, at_us: now_us(), until: now + self.answer_timeout });
        self.next_at = now + self.memory.pace;
        self.connection.send_text(text).await
    }

    async fn authenticate(&mut self) -> Result<(), DialError> {
        let patience = self.answer_timeout.min(Duration::from_secs(5));
        match self.auth.answer(now_us() / 1_000_000, patience) {
            Some(event) => self.connection.send_text(ClientMessage::Auth { event: &event }.to_json()).await,
            None => Ok(()),
        }
    }

    /// What passed its time.
    fn timed_out(&mut self) -> Option<Ended> {
        let now = Instant::now();
        if self.auth.until().is_some_and(|until| now >= until) && !self.auth.give_up() && self.memory.wants_auth {
            // It refused for want of AUTH and never asked for it; the next refusal is final.
            self.memory.wants_auth = false;
        }
        if self.sent.first().is_none_or(|sent| now < sent.until) {
            return None;
        }
        // Some relays send a challenge and then answer nothing at all.
        if self.auth.was_challenged() && self.auth.want() {
            for sent in std::mem::take(&mut self.sent).into_iter().rev() {
                self.queue.put_back(sent.item);
            }
            return None;
        }
        let limit = self.answer_timeout.as_millis();
        Some(self.lost(&format!("no answer to an event within {limit} ms")))
    }

    fn heard(&mut self, text: &str) -> Option<Ended> {
        match RelayMessage::parse(text) {
            Ok(RelayMessage::Auth { challenge }) => self.auth.challenged(&challenge),
            Ok(RelayMessage::Notice { message }) => {
                self.notice = Some(clean(&format!("NOTICE {message}")));
                match NoticeClass::parse(&message) {
                    NoticeClass::RateLimited => self.slow_down(&message),
                    NoticeClass::AuthRequired => self.memory.wants_auth = self.shared.plan.auth_enabled,
                    _ => {}
                }
            }
            Ok(RelayMessage::Ok { id, accepted, message }) => {
                if let Some(accepted) = self.auth.confirmed(&id, accepted) {
                    self.memory.wants_auth = accepted;
                    if !accepted {
                        self.notice = Some(clean(&format!("AUTH refused: {message}")));
                    }
                } else if let Some(at) = self.sent.iter().position(|sent| id.eq_ignore_ascii_case(&sent.item.hex)) {
                    let sent = self.sent.remove(at);
                    return self.answered(sent, accepted, &message);
                }
            }
            Ok(_) | Err(_) => {}
        }
        None
    }

    fn answered(&mut self, sent: Sent, accepted: bool, message: &str) -> Option<Ended> {
        let prefix = ClosePrefix::parse(message);
        if accepted || prefix == ClosePrefix::Duplicate {
            self.answers.push(sent.item, Answer::Accepted, message, sent.at_us);
            self.memory.refusals = 0;
            self.memory.slower.reset();
            self.accepted = self.accepted.saturating_add(1);
            self.memory.accepted = self.memory.accepted.wrapping_add(1);
            if self.memory.accepted.is_multiple_of(50) {
                self.memory.pace = (self.memory.pace / 2).max(PACE);
            }
            return None;
        }
        match prefix {
            ClosePrefix::RateLimited => {
                self.queue.put_back(sent.item);
                self.slow_down(message);
                return None;
            }
            ClosePrefix::AuthRequired if self.auth.want() => {
                self.memory.wants_auth = true;
                self.queue.put_back(sent.item);
                return None;
            }
            // It says that something is wrong on its side.
            ClosePrefix::Error => self.answers.push(sent.item, Answer::Open, message, sent.at_us),
            _ => self.answers.push(sent.item, Answer::Refused, message, sent.at_us),
        }
        self.memory.refusals = self.memory.refusals.saturating_add(1);
        (self.memory.refusals >= MAX_REFUSALS).then(|| Ended::Unwanted(clean(message)))
    }

    /// The relay finds us too fast: a pause, longer each time, and a slower pace from then on.
    fn slow_down(&mut self, message: &str) {
        // What was sent before it said so is refused for the same reason.
        if Instant::now() < self.memory.paused_until {
            return;
        }
        let pause = jitter(self.memory.slower.fail());
        self.memory.pace = (self.memory.pace * 2).min(SLOWEST);
        self.memory.paused_until = Instant::now() + pause;
        self.next_at = self.memory.paused_until;
        self.slowed = Some((clean(message), pause));
    }
}
