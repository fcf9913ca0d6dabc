//! One REQ and everything that comes for it.

use std::time::{Duration, Instant};

use bigbrotr_core::Config;
use bigbrotr_models::Filter;
use bigbrotr_nips::nip01::{ClientMessage, ClosePrefix, NoticeClass};
use bigbrotr_nips::paging::{End, Item};
use bigbrotr_utils::DialError;

use crate::inbox::Inbox;
use crate::link::{Link, Said};

/// Bytes of one answer, however many parts.
const MAX_BYTES: u64 = 64 << 20;
/// How long a relay that said something in a NOTICE may still come with an answer.
const NOTICE_GRACE: Duration = Duration::from_secs(2);

/// What came since the last part.
pub struct Part {
    /// Everything received, for whichever subscription.
    pub inbox: Inbox,
    /// How the answer ended; `None`: more is to come.
    pub end: Option<End>,
}

/// One subscription.
pub struct Request {
    filter: Filter,
    sub: String,
    /// What counts for the window.
    pub items: Vec<Item>,
    /// Events of this subscription that do not count.
    pub off_window: usize,
    /// Why the connection cannot be used any more.
    pub error: Option<DialError>,
    most_items: usize,
    request_timeout: Duration,
    idle_timeout: Duration,
    /// `Link::bytes` when it was sent.
    bytes_before: u64,
    /// When the answer counts as silent; moves with every event that belongs to it.
    deadline: Instant,
    noticed: Option<ClosePrefix>,
}

/// A subscription id of its own for every request: late events of an earlier one must not be taken for its.
pub fn fresh_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

impl Request {
    /// A request for this filter, which has a limit.
    pub fn new(config: &Config, filter: Filter) -> Self {
        Self {
            // A relay may ignore the limit, within reason.
            most_items: usize::try_from(filter.limit.unwrap_or(0)).unwrap_or(0).saturating_mul(4).max(1000),
            filter,
            sub: fresh_id(),
            items: Vec::new(),
            off_window: 0,
            error: None,
            request_timeout: config.request_timeout,
            idle_timeout: config.idle_timeout,
            bytes_before: 0,
            deadline: Instant::now() + config.request_timeout,
            noticed: None,
        }
    }

    /// Sends the REQ.
    ///
    /// # Errors
    /// The connection is of no use afterwards.
    pub async fn send(&mut self, link: &mut Link) -> Result<(), DialError> {
        let filter = self.filter.to_json();
        link.inbox.forgive();
        link.send(ClientMessage::Req { sub: &self.sub, filter: &filter }.to_json()).await?;
        self.bytes_before = link.bytes;
        self.deadline = Instant::now() + self.request_timeout;
        link.asked_at = Some(Instant::now());
        Ok(())
    }

    /// Reads until the answer ends or a part is to be handed over.
    pub async fn receive(&mut self, link: &mut Link) -> Part {
        let mut end = None;
        while end.is_none() && !link.inbox.is_full() {
            // What came is handed over in time even when nothing follows.
            let until = link.inbox.due_at().map_or(self.deadline, |due| due.min(self.deadline));
            end = match link.step_until(Some(&self.sub), until).await {
                None if Instant::now() < self.deadline => None,
                None => Some(self.noticed.map_or(End::Timeout, End::Closed)),
                Some(Said::Broken(DialError::Idle(_))) => Some(End::Timeout),
                Some(Said::Broken(error)) => {
                    let end =
                        if matches!(error, DialError::Oversize { .. }) { End::Overflow } else { End::Disconnected };
                    self.error = Some(error);
                    Some(end)
                }
                Some(said) => self.take(said, link).or_else(|| {
                    // Over budget: whatever else comes, this answer is too large for its window.
                    let bytes = link.bytes.saturating_sub(self.bytes_before);
                    (self.items.len() > self.most_items || bytes > MAX_BYTES).then_some(End::Overflow)
                }),
            };
        }
        // A relay ends a subscription itself with CLOSED; after anything else it may still send.
        if end.is_some() && self.error.is_none() && !matches!(end, Some(End::Closed(_))) {
            let close = ClientMessage::Close { sub: &self.sub }.to_json();
            if let Err(error) = link.send(close).await
                && !matches!(end, Some(End::Eose { .. }))
            {
                self.error = Some(error);
            }
        }
        Part { inbox: link.inbox.drain(), end }
    }

    /// What one frame means for the answer. Some: it has ended.
    fn take(&mut self, said: Said, link: &mut Link) -> Option<End> {
        match said {
            Said::Item(item) => {
                // Progress, not a total: a slow answer that goes on is an answer.
                self.deadline = Instant::now() + self.idle_timeout;
                // The pager tells for itself what lies outside the window.
                self.items.push(item);
                None
            }
            Said::Stray => {
                self.deadline = Instant::now() + self.idle_timeout;
                self.off_window += 1;
                None
            }
            Said::Eose(hint) => Some(End::Eose { hint }),
            Said::Closed(message) => {
                let prefix = ClosePrefix::parse(&message);
                link.notice = Some(message);
                Some(End::Closed(prefix))
            }
            Said::Notice(message) => {
                if let Some(prefix) = NoticeClass::parse(&message).as_close() {
                    self.noticed = Some(prefix);
                    self.deadline = self.deadline.min(Instant::now() + NOTICE_GRACE);
                }
                None
            }
            // Nothing of this ends or feeds an answer.
            Said::Ok { .. } | Said::NegMsg(_) | Said::NegErr(..) | Said::Else | Said::Broken(_) => None,
        }
    }
}
