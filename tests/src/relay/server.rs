//! Starting, steering and stopping a relay.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{
    net::{TcpListener as AsyncListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{
    RelayOptions, Served, connection,
    filter::Filter,
    index::{Index, Page, Slot},
    served::{Counters, bump},
    store::Held,
};
use crate::signed::unhex;

/// Threads for all relays of the process.
const THREADS: usize = 2;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("test-relay").enable_all();
        builder.build().expect("a runtime needs only threads and descriptors")
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all connections of one relay share.
pub(crate) struct Shared {
    pub address: SocketAddr,
    pub counters: Counters,
    options: RwLock<Arc<RelayOptions>>,
    index: RwLock<Index>,
    live: Mutex<HashMap<u64, Live>>,
    connections: Mutex<HashMap<u64, AbortHandle>>,
    serial: AtomicU64,
}

struct Live {
    filters: Arc<[Filter]>,
    events: mpsc::UnboundedSender<(Instant, Arc<Slot>)>,
}

/// New events for one subscription, until it is dropped.
pub(crate) struct Subscription {
    shared: Arc<Shared>,
    number: u64,
    /// When each came, and what.
    pub events: mpsc::UnboundedReceiver<(Instant, Arc<Slot>)>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.shared.live).remove(&self.number);
    }
}

impl Shared {
    pub fn options(&self) -> Arc<RelayOptions> {
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn serial(&self) -> u64 {
        bump(&self.serial)
    }

    /// The stored part of an answer and, without a gap or an overlap, what comes after it.
    pub fn subscribe(self: &Arc<Self>, filters: Arc<[Filter]>, options: &RelayOptions) -> (Page, Subscription) {
        let (sender, events) = mpsc::unbounded_channel();
        let number = self.serial();
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let page = index.select(&filters, options);
        lock(&self.live).insert(number, Live { filters, events: sender });
        (page, Subscription { shared: Arc::clone(self), number, events })
    }

    pub fn count(&self, filters: &[Filter]) -> usize {
        let options = self.options();
        self.index.read().unwrap_or_else(PoisonError::into_inner).count(filters, &options)
    }

    /// What NIP-77 compares: `created_at` and id of all that matches, as far as the protocol can express them.
    pub fn records(&self, filter: Filter) -> HashSet<(u64, [u8; 32])> {
        let options = self.options();
        let all = self.index.read().unwrap_or_else(PoisonError::into_inner).all(&[filter], &options);
        let record = |slot: &Arc<Slot>| {
            let id = unhex(slot.event.id.as_deref()?)?;
            Some((u64::try_from(slot.event.created_at).ok().filter(|at| *at < u64::MAX)?, id))
        };
        all.iter().filter_map(record).collect()
    }

    pub fn names_withheld(&self, filter: &Filter, options: &RelayOptions) -> bool {
        self.index.read().unwrap_or_else(PoisonError::into_inner).names_withheld(filter, options)
    }

    /// Stores an event and sends it to the subscriptions it matches. With `unless_known`, an event whose id is held
    /// already is left alone, and the result is false.
    pub fn add(&self, raw: &str, unless_known: bool) -> bool {
        let event = Arc::new(Held::new(raw));
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if unless_known && event.id.as_deref().is_some_and(|id| index.holds(id)) {
            return false;
        }
        let slot = index.insert(Arc::clone(&event));
        for live in lock(&self.live).values() {
            if live.filters.iter().any(|filter| filter.matches_live(&event)) {
                // The receiver is gone only while its subscription is being dropped.
                let _ = live.events.send((Instant::now(), Arc::clone(&slot)));
            }
        }
        true
    }
}

/// A test relay.
pub struct Relay;

impl Relay {
    /// Starts a relay; it answers when this returns. Needs no runtime.
    ///
    /// # Panics
    /// If the port is taken.
    pub fn start(options: RelayOptions) -> RelayHandle {
        Self::try_start(options).expect("the relay's port cannot be opened")
    }

    /// As [`Relay::start`].
    ///
    /// # Errors
    /// If the port cannot be opened.
    pub fn try_start(options: RelayOptions) -> io::Result<RelayHandle> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            counters: Counters::default(),
            index: RwLock::new(Index::new(&options.events)),
            options: RwLock::new(Arc::new(options)),
            live: Mutex::default(),
            connections: Mutex::default(),
            serial: AtomicU64::new(0),
        });
        let _context = runtime().enter();
        let listener = AsyncListener::from_std(listener)?;
        let accepting = runtime().spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(RelayHandle { shared, accepting })
    }
}

async fn accept(listener: AsyncListener, shared: Arc<Shared>) {
    // Dropping the set, when this task is aborted, ends every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors is the only error seen here; it passes when connections end.
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    continue;
                };
                bump(&shared.counters.connections);
                let number = shared.serial();
                let task = connections.spawn(serve(stream, Arc::clone(&shared)));
                lock(&shared.connections).insert(number, task);
            }
            Some(_) = connections.join_next() => {
                lock(&shared.connections).retain(|_, task| !task.is_finished());
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Otherwise the small frames of a dripping answer wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    connection::run(stream, shared).await;
}

/// A running relay. Dropping it stops the relay and closes every connection.
pub struct RelayHandle {
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl RelayHandle {
    /// The relay's WebSocket URL, without a path: `ws://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("ws://{}", self.shared.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Stops listening and closes everything; counters and holdings stay readable.
    pub fn stop(&self) {
        self.accepting.abort();
        self.kill_connections();
    }

    /// Breaks every connection without a closing handshake.
    pub fn kill_connections(&self) {
        for (_, task) in lock(&self.shared.connections).drain() {
            task.abort();
        }
    }

    /// Claimed ids of all events held, newest first. Events without an id are left out.
    pub fn held(&self) -> Vec<String> {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        index.slots().iter().filter_map(|slot| slot.event.id.clone()).collect()
    }

    /// JSON texts of all events held, newest first.
    pub fn held_events(&self) -> Vec<Arc<str>> {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        index.slots().iter().map(|slot| Arc::clone(&slot.event.raw)).collect()
    }

    /// What it did so far.
    pub fn served(&self) -> Served {
        let mut served = self.shared.counters.snapshot();
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        for slot in index.slots() {
            if let (Some(id), 1..) = (&slot.event.id, slot.sent()) {
                *served.sent.entry(id.clone()).or_default() += slot.sent();
            }
        }
        served
    }

    /// The behaviour in force.
    pub fn options(&self) -> RelayOptions {
        RelayOptions::clone(&self.shared.options())
    }

    /// Changes the behaviour from the next message on; `port` and `events` have no effect any more.
    pub fn set_options(&self, options: RelayOptions) {
        *self.shared.options.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }

    /// Changes some of the behaviour: `relay.update(|options| options.cap = Some(10))`.
    pub fn update(&self, change: impl FnOnce(&mut RelayOptions)) {
        let mut options = self.options();
        change(&mut options);
        self.set_options(options);
    }

    /// Whether an event of this kind is among those held back from every answer.
    pub fn withholds(&self, kind: u64) -> bool {
        self.shared.options().withheld_kinds.contains(&kind)
    }

    /// Adds an event, valid or not, known or not; matching subscriptions get it.
    pub fn add(&self, event: &str) {
        self.shared.add(event, false);
    }

    /// WebSockets open now.
    pub fn open_connections(&self) -> u64 {
        self.shared.counters.open.load(Ordering::Relaxed)
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.stop();
    }
}
