//! An open WebSocket to a relay.

use crate::{
    config::DialerConfig,
    dialer::Permit,
    error::{DialError, Stage, clip},
    frame_gate::FrameGate,
};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message, Utf8Bytes,
        error::CapacityError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

/// Silence after which we ask for a sign of life; proxies commonly cut at 30 or 60 s.
const PING_INTERVAL: Duration = Duration::from_secs(27);
/// Time a close handshake gets.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Read buffer of a connection; tungstenite's 128 KiB times hundreds of relays would be the worker's budget.
const READ_BUFFER: usize = 16 * 1024;
/// What may wait to be sent: an event to publish or a NIP-77 message.
const MAX_WRITE_BUFFER: usize = 4 * 1024 * 1024;

/// What came in. Pings and pongs are dealt with and not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message, whole, valid UTF-8, at most `max_message_size` bytes.
    Text(Utf8Bytes),
    /// A binary message, which Nostr does not use; its size in bytes.
    Binary(usize),
    /// The relay closes; nothing comes after it.
    Closed {
        /// RFC 6455 §7.4 status code; 1005 when none was given.
        code: u16,
        /// Its reason, cut to 200 characters.
        reason: String,
    },
}

/// An open WebSocket. Dropping it closes the socket at once; [`Connection::close`] says goodbye.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<FrameGate>,
    idle_timeout: Duration,
    ping_interval: Duration,
    send_timeout: Duration,
    max_message_size: usize,
    /// Since when nothing came while somebody was listening.
    silent_since: Instant,
    last_ping: Instant,
    last_listened: Instant,
    /// Pings sent; each carries its number.
    pings: u64,
    /// The newest of them that was answered.
    answered: u64,
    /// Held as long as the connection lives.
    _permit: Option<Permit>,
}

impl Connection {
    pub(crate) async fn new(
        stream: FrameGate,
        config: &DialerConfig,
        send_timeout: Duration,
        permit: Option<Permit>,
    ) -> Self {
        let websocket = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(config.max_message_size))
            .max_frame_size(Some(config.max_message_size));
        let now = Instant::now();
        Self {
            socket: WebSocketStream::from_raw_socket(stream, Role::Client, Some(websocket)).await,
            idle_timeout: config.idle_timeout,
            ping_interval: PING_INTERVAL.min(config.idle_timeout / 2),
            send_timeout,
            max_message_size: config.max_message_size,
            silent_since: now,
            last_ping: now,
            last_listened: now,
            pings: 0,
            answered: 0,
            _permit: permit,
        }
    }

    /// Sends one text message; done when the kernel has it. Limited by `request_timeout`.
    ///
    /// # Errors
    /// `Timeout`, `Disconnected`, `Tcp`, or `Oversize` for more than 4 MiB. The connection is of no use afterwards.
    pub async fn send_text(&mut self, text: String) -> Result<(), DialError> {
        self.send(Message::text(text)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), DialError> {
        match timeout(self.send_timeout, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| self.error(error)),
            Err(_) => Err(DialError::Timeout { stage: Stage::Send, after: self.send_timeout }),
        }
    }

    /// Asks for a sign of life and returns the number of the ping; see [`Connection::recv_or_pong`].
    ///
    /// # Errors
    /// As [`Connection::send_text`].
    pub async fn ping(&mut self) -> Result<u64, DialError> {
        self.last_ping = Instant::now();
        self.pings += 1;
        self.send(Message::Ping(self.pings.to_be_bytes().to_vec().into())).await?;
        Ok(self.pings)
    }

    /// The number of the newest ping that was answered: all the relay had sent before it saw that ping has been
    /// received.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Waits for the next message. Pings are answered, and sent after 27 s of silence (half the idle timeout if that is shorter).
    ///
    /// Cancel-safe: dropping the future loses nothing, so it may stand in a `select!` beside a command channel.
    ///
    /// # Errors
    /// `Idle` without any frame for the idle timeout; `Oversize` for a message over the cap; `Protocol` for broken framing or text that is no UTF-8;
    /// `Disconnected` when the connection ends without a close frame. The connection is of no use afterwards.
    pub async fn recv(&mut self) -> Result<Frame, DialError> {
        loop {
            if let Some(frame) = self.recv_or_pong().await? {
                return Ok(frame);
            }
        }
    }

    /// As [`Connection::recv`], and `None` when a ping of ours was answered.
    ///
    /// # Errors
    /// As [`Connection::recv`].
    pub async fn recv_or_pong(&mut self) -> Result<Option<Frame>, DialError> {
        let now = Instant::now();
        // Silence counts only while we listen: a caller who was busy elsewhere must not find a healthy relay dead.
        if now.duration_since(self.last_listened) > self.ping_interval * 5 / 4 {
            self.silent_since = now;
        }
        loop {
            self.last_listened = Instant::now();
            let dead_at = self.silent_since + self.idle_timeout;
            let ping_at = self.silent_since.max(self.last_ping) + self.ping_interval;
            let message = tokio::select! {
                biased;
                message = self.socket.next() => message,
                () = sleep_until(dead_at.min(ping_at)) => {
                    if Instant::now() >= dead_at {
                        return Err(DialError::Idle(self.idle_timeout));
                    }
                    self.ping().await?;
                    continue;
                }
            };
            self.silent_since = Instant::now();
            match message {
                None => return Err(DialError::Disconnected),
                Some(Err(error)) => return Err(self.error(error)),
                Some(Ok(Message::Text(text))) => return Ok(Some(Frame::Text(text))),
                Some(Ok(Message::Binary(bytes))) => return Ok(Some(Frame::Binary(bytes.len()))),
                Some(Ok(Message::Close(frame))) => {
                    // The answer to it is queued; a peer that does not take it changes nothing.
                    let _ = timeout(CLOSE_LIMIT, self.socket.flush()).await;
                    return Ok(Some(match frame {
                        Some(frame) => Frame::Closed { code: frame.code.into(), reason: clip(&frame.reason) },
                        None => Frame::Closed { code: 1005, reason: String::new() },
                    }));
                }
                Some(Ok(Message::Pong(payload))) => {
                    // A pong nobody asked for may hold anything.
                    let number = payload.as_ref().try_into().map_or(0, u64::from_be_bytes);
                    if number > self.answered && number <= self.pings {
                        self.answered = number;
                        return Ok(None);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => {}
            }
        }
    }

    /// Says goodbye with code 1000 and waits for the answer, at most 1 s for both.
    pub async fn close(mut self) {
        let goodbye = async {
            let frame = CloseFrame { code: 1000.into(), reason: Utf8Bytes::from_static("") };
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        let _ = timeout(CLOSE_LIMIT, goodbye).await;
    }

    fn error(&self, error: WsError) -> DialError {
        match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => DialError::Disconnected,
            WsError::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
                | tokio_tungstenite::tungstenite::error::ProtocolError::SendAfterClosing,
            ) => DialError::Disconnected,
            WsError::Io(error) => DialError::io(&error),
            WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                DialError::Oversize { limit: max_size, size: Some(size as u64) }
            }
            WsError::Capacity(_) => DialError::Oversize { limit: self.max_message_size, size: None },
            WsError::WriteBufferFull(_) => DialError::Oversize { limit: MAX_WRITE_BUFFER, size: None },
            WsError::Utf8(_) => DialError::Protocol("text that is no UTF-8".into()),
            other => DialError::Protocol(clip(&other.to_string())),
        }
    }
}
