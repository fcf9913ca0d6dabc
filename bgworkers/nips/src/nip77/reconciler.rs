//! One session with one relay.
use crate::nip01::MAX_NEG_MESSAGE;
use crate::paging::Id;
use bigbrotr_models::hex;
use negentropy::{Bound, Error, Item, Negentropy, NegentropyStorageBase, NegentropyStorageVector};
use std::collections::HashSet;
use std::sync::Arc;

/// What one session may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NegLimits {
    /// Largest message sent, bytes before hex; 0 or at least 4,096.
    pub frame: u64,
    /// Messages of the relay in all.
    pub rounds: u32,
    /// Messages of the relay in a row that name no id they did not name before.
    pub idle_rounds: u32,
    /// Ids to be fetched after which the session is closed: the rest is left to another.
    pub ids: usize,
    /// Our items; 40 bytes of memory each.
    pub items: usize,
}

impl Default for NegLimits {
    fn default() -> Self {
        Self { frame: 60_000, rounds: 1_000, idle_rounds: 48, ids: 20_000, items: 250_000 }
    }
}

/// Why a session is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NegError {
    /// More items of ours than the limit.
    #[error("too many items to compare")]
    Items,
    /// No hex, or an odd number of digits.
    #[error("message is not hex")]
    Hex,
    /// Longer than any honest one.
    #[error("message too long")]
    TooLong,
    /// The relay speaks another version of the protocol.
    #[error("another version of the protocol")]
    Version,
    /// Not a negentropy message.
    #[error("malformed message")]
    Malformed,
    /// The limit of rounds.
    #[error("no end after so many rounds")]
    Rounds,
    /// The relay did not notice what only we have: it compared nothing.
    #[error("the relay only pretends to compare")]
    Pretended,
    /// A message before the opening one or after the end.
    #[error("message out of turn")]
    OutOfTurn,
}

impl From<Error> for NegError {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidProtocolVersion | Error::UnsupportedProtocolVersion => Self::Version,
            _ => Self::Malformed,
        }
    }
}

/// What to do after a message of the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Send this `NEG-MSG`, hex.
    Send(String),
    /// All differences are known: send `NEG-CLOSE`.
    Done,
    /// As many ids as allowed are known, and there may be more: send `NEG-CLOSE`.
    Full,
}

/// The differences.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Held by the relay, not by us; ascending.
    pub need: Vec<Id>,
    /// `(created_at, id)` held by us, not by the relay (any more); ascending.
    pub have: Vec<(i64, Id)>,
}

/// Our items, in the order of the protocol; shared so that they need not be held twice.
#[derive(Debug, Clone)]
struct Items(Arc<NegentropyStorageVector>);

impl NegentropyStorageBase for Items {
    fn size(&self) -> Result<usize, Error> {
        self.0.size()
    }

    fn get_item(&self, i: usize) -> Result<Option<Item>, Error> {
        self.0.get_item(i)
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        cb: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.0.iterate(begin, end, cb)
    }

    fn find_lower_bound(&self, first: usize, last: usize, value: &Bound) -> usize {
        self.0.find_lower_bound(first, last, value)
    }
}

/// A session: [`Reconciler::open`], then [`Reconciler::message`] for each `NEG-MSG` until it is done.
#[derive(Debug)]
pub struct Reconciler {
    engine: Negentropy<'static, Items>,
    items: Items,
    probe: Id,
    limits: NegLimits,
    rounds: u32,
    idle: u32,
    need: HashSet<Id>,
    have: HashSet<Id>,
    open: bool,
}

impl Reconciler {
    /// A session over `items`, `(created_at, id)` of all we hold of a window, in any order; negative seconds are left out.
    ///
    /// `probe`: a second of the window and 32 random bytes. Errors: [`NegError::Items`].
    pub fn new(
        items: impl IntoIterator<Item = (i64, Id)>,
        probe: (i64, Id),
        limits: NegLimits,
    ) -> Result<Self, NegError> {
        let items = items.into_iter();
        let expected = items.size_hint().0.min(limits.items).saturating_add(1);
        let mut held = NegentropyStorageVector::with_capacity(expected);
        let mut count = 0usize;
        for (at, id) in items.chain(std::iter::once(probe)) {
            let Ok(at) = u64::try_from(at) else { continue };
            count += 1;
            if count > limits.items.saturating_add(1) {
                return Err(NegError::Items);
            }
            held.insert(at, negentropy::Id::from_byte_array(id))?;
        }
        held.seal()?;
        let items = Items(Arc::new(held));
        Ok(Self {
            engine: Negentropy::owned(items.clone(), limits.frame)?,
            items,
            probe: probe.1,
            limits,
            rounds: 0,
            idle: 0,
            need: HashSet::new(),
            have: HashSet::new(),
            open: false,
        })
    }

    /// The opening message, hex; once.
    pub fn open(&mut self) -> Result<String, NegError> {
        if self.open || self.rounds > 0 {
            return Err(NegError::OutOfTurn);
        }
        self.open = true;
        Ok(hex::encode(&self.engine.initiate()?))
    }

    /// Takes one message of the relay, hex. After an error or anything but [`Reply::Send`] the session is over.
    pub fn message(&mut self, message: &str) -> Result<Reply, NegError> {
        if !std::mem::take(&mut self.open) {
            return Err(NegError::OutOfTurn);
        }
        self.rounds += 1;
        if message.len() > MAX_NEG_MESSAGE * 2 {
            return Err(NegError::TooLong);
        }
        let message = decode(message).ok_or(NegError::Hex)?;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = self.engine.reconcile_with_ids(&message, &mut have, &mut need)?;
        let before = self.need.len() + self.have.len();
        // Both are bounded: an answer names each of ours once, and of others what its bytes hold.
        self.have.extend(have.into_iter().map(negentropy::Id::to_bytes));
        self.need.extend(need.into_iter().map(negentropy::Id::to_bytes));
        self.idle = if self.need.len() + self.have.len() > before { 0 } else { self.idle + 1 };
        match next {
            None if !self.have.contains(&self.probe) => Err(NegError::Pretended),
            None => Ok(Reply::Done),
            Some(_) if self.need.len() >= self.limits.ids => Ok(Reply::Full),
            Some(_) if self.rounds >= self.limits.rounds || self.idle >= self.limits.idle_rounds => {
                Err(NegError::Rounds)
            }
            Some(next) => {
                self.open = true;
                Ok(Reply::Send(hex::encode(&next)))
            }
        }
    }

    /// What was found so far.
    pub fn finish(mut self) -> Reconciled {
        self.have.remove(&self.probe);
        let (found, need) = (&self.have, &mut self.need);
        let mut have = Vec::with_capacity(found.len());
        if let Ok(size) = self.items.size() {
            let _ = self.items.iterate(0, size, &mut |item, _| {
                let (at, id) = (i64::try_from(item.timestamp).unwrap_or(i64::MAX), item.id.to_bytes());
                // Told to be lacking in one place and held in another: only a relay that does not keep the order says so.
                need.remove(&id);
                if found.contains(&id) {
                    have.push((at, id));
                }
                Ok(true)
            });
        }
        let mut need: Vec<Id> = self.need.into_iter().collect();
        need.sort_unstable();
        Reconciled { need, have }
    }
}

/// Bytes of an even number of hex digits in any case.
fn decode(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
