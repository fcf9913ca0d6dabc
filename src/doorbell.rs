//! How the threads of a worker wake its main thread: a byte through a socket pair, at most one at a time.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cheap to clone; any thread may ring.
#[derive(Clone)]
pub struct Doorbell(Arc<Inner>);

struct Inner {
    button: UnixStream,
    bell: UnixStream,
    rung: AtomicBool,
}

impl Doorbell {
    /// A new pair.
    pub fn new() -> std::io::Result<Self> {
        let (button, bell) = UnixStream::pair()?;
        button.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        Ok(Self(Arc::new(Inner { button, bell, rung: AtomicBool::new(false) })))
    }

    /// Wakes the main thread; a no-op when it has been woken and has not looked yet.
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // A full socket means it is ringing already.
            let _ = (&self.0.button).write(&[1]);
        }
    }

    /// Called by the main thread before it looks at its queues.
    ///
    /// Always reads: a byte written between the read and the swap of an earlier call lies there though `rung` is false, and
    /// would keep the main thread awake. The swap (not a store) makes what a ringer queued before it visible, also when
    /// that ringer found the bell rung and wrote nothing.
    pub fn quiet(&self) {
        let mut bytes = [0; 16];
        let _ = (&self.0.bell).read(&mut bytes);
        self.0.rung.swap(false, Ordering::AcqRel);
    }

    /// The descriptor that becomes readable.
    pub fn descriptor(&self) -> RawFd {
        self.0.bell.as_raw_fd()
    }
}
