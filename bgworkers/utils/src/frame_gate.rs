//! Large WebSocket messages, a few at a time. The header of a frame (RFC 6455 §5.2) alone makes tungstenite reserve memory for all of it,
//! and hundreds of relays can send one at the same moment.

use crate::stream::Stream;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Bytes of a message that every connection may have; most events are far below.
pub(crate) const LARGE: u64 = 256 << 10;
/// Messages above that at a time, over all connections of a dialer and its clones.
pub(crate) const LARGE_AT_A_TIME: usize = 8;
/// Flags and length, extended length, mask (which only a client sends).
const MAX_HEADER: usize = 14;

/// A stream that lets no large message begin before it has a place for it.
pub(crate) struct FrameGate<S = Stream> {
    stream: S,
    places: Arc<Semaphore>,
    /// Bytes of a message from which on it wants a place.
    large: u64,
    /// Messages above are refused by whoever reads, without memory.
    max_message_size: u64,
    /// How long a message may keep its place.
    limit: Duration,
    /// Of the frame that begins.
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// Of the frame under way, still to come.
    payload: u64,
    /// Whether it is the last of its message, so that its end is the message's.
    is_last: bool,
    /// All of the message so far.
    message: u64,
    place: Option<(OwnedSemaphorePermit, Instant)>,
    waiting: Option<Waiting>,
    /// Read and not let through yet.
    held: Vec<u8>,
}

/// Ends with a place.
type Waiting = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

impl<S: std::fmt::Debug> std::fmt::Debug for FrameGate<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameGate").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S> FrameGate<S> {
    /// `first_bytes` came with the upgrade. A large message has `limit` to come through.
    pub(crate) fn new(
        stream: S,
        first_bytes: Vec<u8>,
        places: Arc<Semaphore>,
        max_message_size: usize,
        limit: Duration,
    ) -> Self {
        Self {
            stream,
            places,
            large: LARGE,
            max_message_size: max_message_size as u64,
            limit,
            header: [0; MAX_HEADER],
            header_len: 0,
            payload: 0,
            is_last: false,
            message: 0,
            place: None,
            waiting: None,
            held: first_bytes,
        }
    }

    /// With another size from which on a message wants a place.
    pub(crate) fn with_large(mut self, bytes: u64) -> Self {
        self.large = bytes;
        self
    }

    /// How many of `bytes`, which follow what was let through before, may be let through; fewer than all only where a large message wants a
    /// place.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.payload > 0 {
                let there = (bytes.len() - at) as u64;
                let step = self.payload.min(there);
                self.payload -= step;
                at += usize::try_from(step).unwrap_or(usize::MAX);
                self.end_of_frame();
                continue;
            }
            let Some(slot) = self.header.get_mut(self.header_len) else { return bytes.len() };
            *slot = *byte;
            if let Some((length, is_last, is_control)) =
                complete(self.header.get(..=self.header_len).unwrap_or_default())
            {
                let message = self.message.saturating_add(length);
                // A frame that is refused by its own length takes no memory.
                if message > self.large && length <= self.max_message_size && self.place.is_none() {
                    return at;
                }
                self.header_len = 0;
                self.payload = length;
                // What is within a message is no part of it; but one of any size takes memory too, until it is refused.
                self.message = if is_control { self.message } else { message };
                self.is_last = is_last && !is_control;
                self.end_of_frame();
            } else {
                self.header_len += 1;
            }
            at += 1;
        }
        at
    }

    fn end_of_frame(&mut self) {
        if self.payload == 0 && std::mem::take(&mut self.is_last) {
            self.message = 0;
            self.place = None;
        }
    }

    /// A place for the message that wants one.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let places = &self.places;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(places.clone().acquire_owned()));
        let place = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        // Never closed, so never an error.
        self.place = Some((place.map_err(io::Error::other)?, Instant::now()));
        Poll::Ready(Ok(()))
    }
}

/// Length of the payload, whether the frame is its message's last, and whether it is a control frame, if these bytes are a whole header.
fn complete(header: &[u8]) -> Option<(u64, bool, bool)> {
    let (&flags, &length) = (header.first()?, header.get(1)?);
    let extended = match length & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if length & 0x80 == 0 { 0 } else { 4 };
    let end = 2 + extended;
    if header.len() < end + mask {
        return None;
    }
    let length = match extended {
        0 => u64::from(length & 0x7f),
        _ => header.get(2..end)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    Some((length, flags & 0x80 != 0, flags & 0x08 != 0))
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameGate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.place.as_ref().is_some_and(|(_, since)| since.elapsed() > gate.limit) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        loop {
            let start = buf.filled().len();
            if gate.held.is_empty() {
                ready!(Pin::new(&mut gate.stream).poll_read(cx, buf))?;
                if buf.filled().len() == start {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let fits = gate.held.len().min(buf.remaining());
                buf.put_slice(gate.held.get(..fits).unwrap_or_default());
                gate.held.drain(..fits);
            }
            let read = buf.filled().get(start..).unwrap_or_default();
            let passed = gate.pass(read);
            if passed < read.len() {
                // What stood behind it is still there and comes after it.
                gate.held.splice(..0, read.iter().skip(passed).copied());
                buf.set_filled(start + passed);
            }
            if passed > 0 || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(gate.poll_place(cx))?;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameGate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
