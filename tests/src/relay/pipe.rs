//! The server's side of a TCP connection, which can leave out pongs: the WebSocket library sends them unasked.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// First byte of an unfragmented pong (RFC 6455 §5.2).
const PONG: u8 = 0x8a;

pub(crate) struct Pipe {
    stream: TcpStream,
    mute_pongs: bool,
    /// Bytes of the frame on its way that are not yet written.
    rest: usize,
}

impl Pipe {
    pub fn new(stream: TcpStream, mute_pongs: bool) -> Self {
        Self { stream, mute_pongs, rest: 0 }
    }
}

/// Length of the unmasked frame these bytes begin with. The library writes whole frames into one buffer, so its head is
/// never cut.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let number = |range: std::ops::Range<usize>| {
        bytes.get(range).map(|bytes| bytes.iter().fold(0, |n, byte| (n << 8) | usize::from(*byte)))
    };
    match bytes.get(1)? & 0x7f {
        126 => Some(4 + number(2..4)?),
        127 => Some(10 + number(2..10)?),
        short => Some(2 + usize::from(short)),
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.mute_pongs {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        if self.rest == 0 {
            let len = frame_len(bytes).ok_or_else(|| io::Error::other("half a frame head"))?;
            if bytes.first() == Some(&PONG) {
                return Poll::Ready(Ok(len.min(bytes.len())));
            }
            self.rest = len;
        }
        let frame = bytes.get(..self.rest).unwrap_or(bytes);
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, frame))?;
        self.rest -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}
