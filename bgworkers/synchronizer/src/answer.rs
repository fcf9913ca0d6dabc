//! One REQ and everything that comes for it.

use std::time::{Duration, Instant};

use bigbrotr_core::Config;
use bigbrotr_models::kind::{KindClass, class};
use bigbrotr_models::{Event, EventError, Filter};
use bigbrotr_nips::nip01::{ClientMessage, ClosePrefix, NoticeClass, RelayMessage};
use bigbrotr_nips::paging::{End, Id, Window};
use bigbrotr_utils::{Connection, DialError, Frame};
use std::sync::Arc;

use crate::known::{Arrival, Known};

/// Events handed over at a time.
const PART_EVENTS: usize = 1000;
/// Bytes of JSON handed over at a time.
const PART_BYTES: usize = 1 << 20;
/// Bytes of one answer, however many parts.
const MAX_BYTES: usize = 64 << 20;
/// What a copy of a known event takes.
const COPY_BYTES: usize = 48;
/// Refused events kept of one answer; more are counted only.
const MAX_REFUSED: usize = 500;
/// How long a relay that said something in a NOTICE may still come with an answer.
const NOTICE_GRACE: Duration = Duration::from_secs(2);

/// What came since the last part.
#[derive(Default)]
pub struct Received {
    /// To be stored.
    pub events: Vec<Arrival>,
    /// Refused: why, and the bytes.
    pub refused: Vec<(&'static str, Vec<u8>)>,
    /// Events that came, copies included.
    pub received: u64,
    /// Valid ones that are not for storing.
    pub unstored: u64,
    /// How the answer ended; `None`: more is to come.
    pub end: Option<End>,
    bytes: usize,
}

/// One subscription.
pub struct Request<'a> {
    config: &'a Config,
    known: &'a Known,
    filter: Filter,
    sub: String,
    /// `(created_at, id)` of what counts for the window.
    pub items: Vec<(i64, Id)>,
    /// Events of this subscription that do not count.
    pub off_window: usize,
    /// Why the connection cannot be used any more.
    pub error: Option<DialError>,
    /// The last text the relay sent for people.
    pub notice: Option<String>,
    most_items: usize,
    bytes: usize,
    refused: usize,
    /// When the answer counts as silent; moves with every frame that belongs to it.
    deadline: Instant,
    noticed: Option<ClosePrefix>,
}

impl<'a> Request<'a> {
    /// A subscription with an id of its own: late events of an earlier one must not be taken for its.
    pub fn new(config: &'a Config, known: &'a Known, filter: Filter, window: Window) -> Self {
        Self {
            config,
            known,
            filter,
            sub: format!("{:016x}", rand::random::<u64>()),
            items: Vec::new(),
            off_window: 0,
            error: None,
            notice: None,
            // A relay may ignore the limit, within reason.
            most_items: (window.limit as usize * 4).max(1000),
            bytes: 0,
            refused: 0,
            deadline: Instant::now() + config.request_timeout,
            noticed: None,
        }
    }

    /// Sends the REQ.
    pub async fn send(&mut self, connection: &mut Connection) -> Result<(), DialError> {
        let filter = self.filter.to_json();
        connection.send_text(ClientMessage::Req { sub: &self.sub, filter: &filter }.to_json()).await?;
        self.deadline = Instant::now() + self.config.request_timeout;
        Ok(())
    }

    /// Reads until the answer ends or a part is full.
    pub async fn receive(&mut self, connection: &mut Connection) -> Received {
        let mut received = Received::default();
        while received.end.is_none() && received.events.len() < PART_EVENTS && received.bytes < PART_BYTES {
            let frame = tokio::time::timeout_at(self.deadline.into(), connection.recv()).await;
            received.end = match frame {
                Err(_) => Some(self.noticed.map_or(End::Timeout, End::Closed)),
                Ok(Err(DialError::Idle(_))) => Some(End::Timeout),
                Ok(Err(error)) => {
                    let end =
                        if matches!(error, DialError::Oversize { .. }) { End::Overflow } else { End::Disconnected };
                    self.error = Some(error);
                    Some(end)
                }
                Ok(Ok(Frame::Closed { code, reason })) => {
                    self.error = Some(DialError::Disconnected);
                    self.notice = Some(format!("closed with {code} {reason}"));
                    Some(End::Disconnected)
                }
                Ok(Ok(Frame::Binary(_))) => None,
                Ok(Ok(Frame::Text(text))) => {
                    self.bytes += text.len();
                    let end = self.take(&text, &mut received);
                    // Over budget: whatever else comes, this answer is too large for its window.
                    end.or_else(|| {
                        (self.items.len() > self.most_items || self.bytes > MAX_BYTES).then_some(End::Overflow)
                    })
                }
            };
        }
        // A relay ends a subscription itself with CLOSED; after anything else it may still send.
        if received.end.is_some() && self.error.is_none() && !matches!(received.end, Some(End::Closed(_))) {
            let close = ClientMessage::Close { sub: &self.sub }.to_json();
            if let Err(error) = connection.send_text(close).await
                && !matches!(received.end, Some(End::Eose { .. }))
            {
                self.error = Some(error);
            }
        }
        received
    }

    /// One text frame. Some: the answer has ended.
    fn take(&mut self, text: &str, received: &mut Received) -> Option<End> {
        match RelayMessage::parse(text) {
            Ok(RelayMessage::Event { sub, event_json }) => {
                let ours = sub == self.sub;
                if ours {
                    // Progress, not a total: a slow answer that goes on is an answer.
                    self.deadline = Instant::now() + self.config.idle_timeout;
                }
                self.event(event_json, ours, received);
                None
            }
            Ok(RelayMessage::Eose { sub, hint }) => (sub == self.sub).then_some(End::Eose { hint }),
            Ok(RelayMessage::Closed { sub, message }) => (sub == self.sub).then(|| {
                let prefix = ClosePrefix::parse(&message);
                self.notice = Some(message.into_owned());
                End::Closed(prefix)
            }),
            Ok(RelayMessage::Notice { message }) => {
                if let Some(prefix) = NoticeClass::parse(&message).as_close() {
                    self.noticed = Some(prefix);
                    self.deadline = self.deadline.min(Instant::now() + NOTICE_GRACE);
                }
                self.notice = Some(message.into_owned());
                None
            }
            // Nothing of this ends or feeds an answer.
            Ok(_) | Err(_) => None,
        }
    }

    fn event(&mut self, json: &str, ours: bool, received: &mut Received) {
        received.received += 1;
        let (print, copy) = self.known.look(json);
        if let Some((id, held)) = copy {
            // It was wanted when it was archived, and the filter has not changed since.
            if ours {
                self.items.push((held.created_at, id));
            }
            received.bytes += COPY_BYTES;
            received.events.push(Arrival::Copy(id, held.created_at));
            return;
        }
        let parsed = if json.len() > self.config.max_event_size {
            Err(EventError::TooLarge { limit: self.config.max_event_size })
        } else {
            Event::from_json(json.as_bytes())
        };
        let event = match parsed {
            Ok(event) => event,
            Err(error) => {
                self.off_window += usize::from(ours);
                self.refused += 1;
                if self.refused <= MAX_REFUSED {
                    received.bytes += json.len();
                    received.refused.push((error.code(), json.as_bytes().to_vec()));
                }
                return;
            }
        };
        // What to archive is the operator's filter; that a relay sends more is its own affair.
        let wanted = self.config.sync_filter.matches(&event);
        if ours {
            // The pager tells for itself what lies outside the window.
            if wanted { self.items.push((event.created_at, event.id)) } else { self.off_window += 1 }
        }
        if !wanted || class(event.kind) == KindClass::Ephemeral {
            received.unstored += 1;
            return;
        }
        received.bytes += json.len();
        received.events.push(Arrival::Event(Arc::new(event), print));
    }
}
