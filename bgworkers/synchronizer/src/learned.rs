//! What earlier passes learned of a relay (`relay_sync.learned`).

use bigbrotr_nips::nip77::NegSupport;
use bigbrotr_nips::paging::RelayLimits;
use bigbrotr_nips::recheck::Rechecks;
use serde::{Deserialize, Serialize};

/// Smallest `limit` asked of a relay that breaks off or wants less.
pub const MIN_PAGE_LIMIT: u32 = 10;
/// Smallest `limit` asked of a relay only because it wants fewer requests: more requests would not please it.
const MIN_PACED_LIMIT: u32 = 100;
/// Pause between two requests after the first complaint, milliseconds.
const FIRST_PACE_MS: u32 = 250;
/// Longest pause between two requests, milliseconds.
const MAX_PACE_MS: u32 = 8_000;

/// Kept as JSON; members that are missing have their defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    /// Its way of answering.
    pub limits: RelayLimits,
    /// When ranges the relay could not give are asked for again, unix seconds.
    pub retry_open_at: i64,
    /// The `limit` that came through where larger answers broke off.
    pub page_limit: Option<u32>,
    /// It answers those only who have authenticated.
    pub auth: bool,
    /// The public key, in hex, it was last shown.
    pub key: Option<String>,
    /// Pause between two requests, milliseconds.
    pub pace_ms: u32,
    /// Whether and since when it speaks NIP-77.
    pub negentropy: NegSupport,
    /// When what is complete is looked at again.
    pub rechecks: Rechecks,
    /// Events its last comparison named and it did not send.
    pub withheld: u64,
    /// Some of them, in hex.
    pub withheld_ids: Vec<String>,
    /// Until when no live subscription is tried, unix seconds.
    pub no_live_until: i64,
    /// Why.
    pub no_live: Option<String>,
    /// Stretches of time whose every event its live subscription delivered, as pages read afterwards showed.
    pub live_proofs: u8,
}

/// Proofs after which a live subscription is believed.
const BELIEVED: u8 = 3;

impl Learned {
    /// Whether what was delivered live is taken for all there was. Some relays never deliver anything.
    pub fn believes_live(&self) -> bool {
        self.live_proofs >= BELIEVED
    }

    /// The relay said that it is asked too often: half the rate, half the limit.
    pub fn slow_down(&mut self, page_limit: u32) {
        self.pace_ms = self.pace_ms.saturating_mul(2).clamp(FIRST_PACE_MS, MAX_PACE_MS);
        self.page_limit = Some((page_limit / 2).max(MIN_PACED_LIMIT.min(page_limit)));
    }

    /// A whole pass without a complaint: twice the rate again.
    pub fn speed_up(&mut self) {
        self.pace_ms /= 2;
        if self.pace_ms < FIRST_PACE_MS {
            self.pace_ms = 0;
        }
    }

    /// No live subscription for so many seconds.
    pub fn without_live(&mut self, now: i64, seconds: i64, why: &str) {
        self.live_proofs = 0;
        self.no_live_until = now.saturating_add(seconds);
        self.no_live = Some(why.chars().take(200).filter(|c| !c.is_control()).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_complains_is_asked_less_and_forgiven_later() {
        let mut learned = Learned::default();
        let paces: Vec<u32> = (0..8)
            .map(|_| {
                learned.slow_down(500);
                learned.pace_ms
            })
            .collect();
        assert_eq!(paces, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(learned.page_limit, Some(250));
        learned.slow_down(120);
        assert_eq!(learned.page_limit, Some(100));
        learned.slow_down(50);
        assert_eq!(learned.page_limit, Some(50));
        for _ in 0..6 {
            learned.speed_up();
        }
        assert_eq!(learned.pace_ms, 0);
    }

    #[test]
    fn what_an_older_version_wrote_is_read() {
        let learned: Learned = serde_json::from_str(r#"{"limits":{"max_page":7},"unknown":1}"#).expect("read");
        assert_eq!((learned.limits.max_page, learned.pace_ms, learned.key), (7, 0, None));
    }
}
