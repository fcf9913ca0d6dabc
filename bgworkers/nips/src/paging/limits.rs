//! What is learned of one relay's way of answering.
use super::Window;
use super::page::Page;
use serde::{Deserialize, Serialize};

/// Evidence, in bits, that an order is no accident: seven distinct seconds in order have one chance in 5,040.
const ORDER_BITS: u16 = 12;
/// Confirmed bottoms after which a short page is believed without another request.
const CONFIDENT: u16 = 3;
/// With no sign of any cap, this many events are taken not to have been cut.
const TINY: usize = 10;

/// The order in which a relay sends stored events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Too little evidence.
    #[default]
    Unknown,
    /// As NIP-01 has it.
    NewestFirst,
    /// Seen to send an older event before a newer one: which side of an answer is cut is unknown.
    Unordered,
}

/// Kept between the pagers of one relay (`relay_sync`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayLimits {
    /// Largest count ever returned with `EOSE`.
    pub max_page: u32,
    /// Smallest count at which the relay is known to have cut an answer of its own accord (not at our `limit`).
    pub min_cut: Option<u32>,
    /// The order it sends in.
    pub order: Order,
    /// Evidence for [`Order::NewestFirst`], in bits.
    pub order_bits: u16,
    /// Whether an event at `until` is left out; `None`: unknown.
    pub until_exclusive: Option<bool>,
    /// `Some(false)`: an event at `since` was seen; `None`: unknown.
    pub since_exclusive: Option<bool>,
    /// How often a short page was confirmed by an empty one below it, since the cap was last seen to vary.
    pub confidence: u16,
}

impl RelayLimits {
    /// Takes in a page that ended with `EOSE`.
    pub(super) fn learn(&mut self, page: &Page, asked: &Window) {
        self.max_page = self.max_page.max(u32::try_from(page.distinct).unwrap_or(u32::MAX));
        if page.disordered {
            self.order = Order::Unordered;
        } else {
            self.order_bits = self.order_bits.saturating_add(page.order_bits());
            if self.order == Order::Unknown && self.order_bits >= ORDER_BITS {
                self.order = Order::NewestFirst;
            }
        }
        // Harmless if the relay ignores its bounds altogether.
        if asked.until.is_some() && page.newest == asked.until {
            self.until_exclusive = Some(false);
        }
        if asked.since.is_some() && page.oldest == asked.since {
            self.since_exclusive = Some(false);
        }
    }

    /// An answer of `count` events to a request for `limit` turned out to be cut.
    pub(super) fn cut(&mut self, count: usize, limit: u32) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count >= limit || count == 0 {
            return;
        }
        self.min_cut = Some(self.min_cut.map_or(count, |cut| cut.min(count)));
        if self.varies(count) {
            self.confidence = 0;
        }
    }

    /// A short page was followed by an empty one: it had not been cut.
    pub(super) fn confirm(&mut self) {
        self.confidence = self.confidence.saturating_add(1);
    }

    /// Whether a cut at `count` is well below what the relay can return.
    pub(super) fn varies(&self, count: u32) -> bool {
        u64::from(count) * 4 < u64::from(self.max_page) * 3
    }

    /// Whether no cut was ever seen and `count` is too small for one to be likely, our own `limit` apart.
    pub(super) fn tiny(&self, count: usize, limit: u32) -> bool {
        self.min_cut.is_none() && count <= TINY && (count as u64) < u64::from(limit)
    }

    /// Whether an answer of `count` events to `limit` is below what this relay is known to return: less than half of its
    /// largest answer and of the smallest cut seen. `again`: all of them came before within a larger answer, so while
    /// no cut was ever seen, less than the largest is enough.
    pub(super) fn fits(&self, count: usize, limit: u32, again: bool) -> bool {
        let (count, full) = (count as u64, u64::from(self.max_page.min(limit)));
        match self.min_cut {
            None if again && self.max_page < limit => self.tiny(count as usize, limit) || count < full,
            None => self.tiny(count as usize, limit) || count * 2 < full,
            // Cut at odd counts before, it can be cut at odd counts again.
            Some(cut) if self.varies(cut) => self.confidence >= CONFIDENT && count * 4 < full.min(u64::from(cut)),
            Some(cut) => count * 2 < full.min(u64::from(cut)),
        }
    }

    /// Like [`Self::fits`], and believed without a look below.
    pub(super) fn short(&self, count: usize, limit: u32) -> bool {
        self.confidence >= CONFIDENT && self.fits(count, limit, false)
    }
}
