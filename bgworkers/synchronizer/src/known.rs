//! What is known to be in the archive, so that a copy costs a hash and a look-up instead of a parse and a query.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bigbrotr_models::Event;

/// An event id.
pub type Id = [u8; 32];

/// Events remembered, about. A hundred bytes each, with the bytes they came in.
const REMEMBERED: usize = 200_000;

/// Length and keyed hash (SipHash) of an event as JSON text. Nobody outside can aim at a collision without the key, and
/// by accident one takes 2^64 / 200,000 events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Print(u64, u32);

/// Where the archive has an event, and what of it a pager looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// `event.seq`.
    pub seq: i64,
    /// `event.created_at`.
    pub created_at: i64,
    /// `event.kind`.
    pub kind: u16,
    /// `event.pubkey`.
    pub pubkey: [u8; 32],
}

/// Something a relay sent that is to be archived.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// An event; its id is checked, its signature is not.
    Event(Arc<Event>, Print),
    /// The same bytes as an event that is in the archive.
    Copy(Id, i64),
}

impl Arrival {
    /// The event's id.
    pub fn id(&self) -> Id {
        match self {
            Self::Event(event, _) => event.id,
            Self::Copy(id, _) => *id,
        }
    }

    /// The event's `created_at`.
    pub fn created_at(&self) -> i64 {
        match self {
            Self::Event(event, _) => event.created_at,
            Self::Copy(_, created_at) => *created_at,
        }
    }
}

/// Sequence positions under the archive lock: what was looked up is true while they stand still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AsOf {
    /// Of `event_seq`: moves when anybody archives.
    pub last_seq: i64,
    /// Of `removal_seq`: moves when anything leaves the archive.
    pub last_removal: i64,
}

/// Remembers archived events: two generations, so that forgetting is cheap and bounded. Shared by whoever reads from relays
/// and the archivist, which alone adds to it, after commit.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<Memory>>, RandomState);

#[derive(Default)]
struct Memory {
    young: Generation,
    old: Generation,
    as_of: AsOf,
}

#[derive(Default)]
struct Generation {
    held: HashMap<Id, Held>,
    prints: HashMap<Print, Id>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The print of an event's JSON text, and the event if just these bytes are known to be in the archive.
    pub fn look(&self, json: &str) -> (Print, Option<(Id, Held)>) {
        let print = Print(self.1.hash_one(json), u32::try_from(json.len()).unwrap_or(u32::MAX));
        let memory = self.lock();
        let found = [&memory.young, &memory.old].into_iter().find_map(|generation| {
            let id = generation.prints.get(&print)?;
            Some((*id, *generation.held.get(id)?))
        });
        (print, found)
    }

    /// Where the archive has these ids, as far as is known, and as of when.
    pub fn places(&self, ids: impl Iterator<Item = Id>) -> (Vec<Option<i64>>, AsOf) {
        let memory = self.lock();
        let seq = |id: Id| memory.young.held.get(&id).or_else(|| memory.old.held.get(&id)).map(|held| held.seq);
        (ids.map(seq).collect(), memory.as_of)
    }

    /// Takes in what a committed transaction archived or found there, and how the sequences stood at its end.
    pub fn learn(&self, archived: impl Iterator<Item = (Id, Held, Option<Print>)>, as_of: AsOf) {
        let mut memory = self.lock();
        if memory.as_of.last_removal != as_of.last_removal {
            // Something left the archive, and may have been among what is remembered.
            (memory.young, memory.old) = Default::default();
        }
        memory.as_of = as_of;
        for (id, held, print) in archived {
            if memory.young.held.len() >= REMEMBERED / 2 {
                memory.old = std::mem::take(&mut memory.young);
            }
            memory.young.held.insert(id, held);
            memory.young.prints.extend(print.map(|print| (print, id)));
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        *self.lock() = Memory::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Held = Held { seq: 7, created_at: 1, kind: 1, pubkey: [2; 32] };

    fn as_of(last_removal: i64) -> AsOf {
        AsOf { last_seq: 7, last_removal }
    }

    #[test]
    fn same_bytes_are_a_copy_and_others_are_not() {
        let known = Known::default();
        let (print, found) = known.look("{}");
        assert_eq!(found, None);
        known.learn([([1; 32], HELD, Some(print))].into_iter(), as_of(0));
        assert_eq!(known.look("{}"), (print, Some(([1; 32], HELD))));
        assert_eq!(known.look("{ }").1, None);
        assert_eq!(known.places([[1; 32], [9; 32]].into_iter()), (vec![Some(7), None], as_of(0)));
    }

    #[test]
    fn a_removal_makes_it_forget() {
        let known = Known::default();
        let (print, _) = known.look("{}");
        known.learn([([1; 32], HELD, Some(print))].into_iter(), as_of(0));
        known.learn(std::iter::empty(), as_of(1));
        assert_eq!(known.look("{}").1, None);
    }

    #[test]
    fn memory_is_bounded() {
        let known = Known::default();
        for n in 0..REMEMBERED as u64 * 2 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            known.learn([(id, HELD, Some(Print(n, 0)))].into_iter(), as_of(0));
        }
        let memory = known.lock();
        assert!(memory.young.held.len() + memory.old.held.len() <= REMEMBERED + 1);
        assert!(memory.young.prints.len() + memory.old.prints.len() <= REMEMBERED + 1);
    }
}
