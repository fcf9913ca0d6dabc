//! One connection and everything that shares it: the request under way, the live subscription, AUTH.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbrotr_core::Config;
use bigbrotr_nips::nip01::RelayMessage;
use bigbrotr_nips::nip67::EoseHint;
use bigbrotr_nips::paging::Item;
use bigbrotr_utils::{Connection, DialError, Frame};

use crate::auth::Auth;
use crate::inbox::Inbox;
use crate::known::Known;
use crate::live::Subscription;

/// What a frame says to whoever waits for an answer.
#[derive(Debug)]
pub enum Said {
    /// A valid event of the request that matches the operator's filter; it is in the inbox unless it is ephemeral.
    Item(Item),
    /// An event of the request that does not count.
    Stray,
    /// The end of its stored events.
    Eose(Option<EoseHint>),
    /// The relay ended the request, and why.
    Closed(String),
    /// Text for people; whether the request is meant cannot be told.
    Notice(String),
    /// What became of an event we sent.
    Ok {
        /// Its id, as sent back.
        id: String,
        /// Whether it was accepted.
        accepted: bool,
        /// Why not.
        message: String,
    },
    /// A message of the NIP-77 session of that id, in hex.
    NegMsg(String),
    /// Its end by the relay: why, and how many records it would compare.
    NegErr(String, Option<u64>),
    /// Something for somebody else, or for nobody.
    Else,
    /// The connection is of no use any more.
    Broken(DialError),
}

/// An open connection to one relay.
pub struct Link {
    connection: Connection,
    /// The settings in force.
    pub config: Arc<Config>,
    /// What is archived already.
    known: Known,
    /// What came and has not been handed over.
    pub inbox: Inbox,
    /// NIP-42.
    pub auth: Auth,
    /// The live subscription, while the relay keeps it up.
    pub live: Option<Subscription>,
    /// The last text for people.
    pub notice: Option<String>,
    /// Bytes of text read in all.
    pub bytes: u64,
    /// When the last request was sent.
    pub asked_at: Option<Instant>,
}

impl Link {
    /// A link over a fresh connection.
    pub fn new(connection: Connection, config: Arc<Config>, known: Known, auth: Auth) -> Self {
        Self {
            connection,
            config,
            known,
            inbox: Inbox::default(),
            auth,
            live: None,
            notice: None,
            bytes: 0,
            asked_at: None,
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The connection is of no use afterwards.
    pub async fn send(&mut self, text: String) -> Result<(), DialError> {
        self.connection.send_text(text).await
    }

    /// Asks for a sign of life; see [`Link::is_answered`].
    ///
    /// # Errors
    /// The connection is of no use afterwards.
    pub async fn ping(&mut self) -> Result<u64, DialError> {
        self.connection.ping().await
    }

    /// Whether that ping was answered: everything the relay had sent before it saw it has been received.
    pub fn is_answered(&self, ping: u64) -> bool {
        self.connection.answered() >= ping
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.connection.close().await;
    }

    /// Waits for the next frame and takes it in; `sub` is the request waited for. Cancel-safe.
    pub async fn step(&mut self, sub: Option<&str>) -> Said {
        if self.inbox.is_flooded() {
            return Said::Broken(DialError::Protocol("events without end that nobody asked for".to_owned()));
        }
        match self.connection.recv_or_pong().await {
            Ok(Some(Frame::Text(text))) => self.text(&text, sub),
            Ok(Some(Frame::Binary(_)) | None) => Said::Else,
            Ok(Some(Frame::Closed { code, reason })) => {
                self.notice = Some(format!("closed with {code} {reason}"));
                Said::Broken(DialError::Disconnected)
            }
            Err(error) => Said::Broken(error),
        }
    }

    /// [`Link::step`] with an end; `None` when it has come.
    pub async fn step_until(&mut self, sub: Option<&str>, until: Instant) -> Option<Said> {
        tokio::time::timeout_at(until.into(), self.step(sub)).await.ok()
    }

    /// Waits until `pause` after the last request, taking in what comes meanwhile, so that a relay that wants fewer
    /// requests gets fewer.
    ///
    /// # Errors
    /// When the connection broke meanwhile.
    pub async fn pace(&mut self, pause: Duration) -> Result<(), DialError> {
        let Some(asked_at) = self.asked_at else { return Ok(()) };
        while let Some(said) = self.step_until(None, asked_at + pause).await {
            if let Said::Broken(error) = said {
                return Err(error);
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str, sub: Option<&str>) -> Said {
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        match RelayMessage::parse(text) {
            Ok(RelayMessage::Event { sub: of, event_json }) => {
                let item = self.inbox.take(event_json, &self.config, &self.known);
                if sub == Some(of.as_ref()) {
                    return item.map_or(Said::Stray, Said::Item);
                }
                if let Some(live) = self.live.as_mut().filter(|live| live.id == of) {
                    live.delivered += 1;
                }
                Said::Else
            }
            Ok(RelayMessage::Eose { sub: of, hint }) => {
                if sub == Some(of.as_ref()) {
                    return Said::Eose(hint);
                }
                Said::Else
            }
            Ok(RelayMessage::Closed { sub: of, message }) => {
                if sub == Some(of.as_ref()) {
                    return Said::Closed(message.into_owned());
                }
                if self.live.as_ref().is_some_and(|live| live.id == of) {
                    self.live = None;
                    self.notice = Some(message.into_owned());
                }
                Said::Else
            }
            Ok(RelayMessage::Notice { message }) => {
                let message = message.into_owned();
                self.notice = Some(message.clone());
                Said::Notice(message)
            }
            Ok(RelayMessage::Ok { id, accepted, message }) => {
                Said::Ok { id: id.into_owned(), accepted, message: message.into_owned() }
            }
            Ok(RelayMessage::Auth { challenge }) => {
                self.auth.challenged(&challenge);
                Said::Else
            }
            Ok(RelayMessage::NegMsg { sub: of, hex }) if sub == Some(of.as_ref()) => Said::NegMsg(hex.into_owned()),
            Ok(RelayMessage::NegErr { sub: of, reason, max }) if sub == Some(of.as_ref()) => {
                Said::NegErr(reason.into_owned(), max)
            }
            // Nested deeper than anything has a right to, say: what it carries may be an event all the same.
            Err(_) if text.trim_start().starts_with("[\"EVENT\"") => {
                self.inbox.received += 1;
                self.inbox.refuse("bad_frame", text);
                Said::Else
            }
            Ok(_) | Err(_) => Said::Else,
        }
    }
}
