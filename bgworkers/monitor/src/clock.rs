//! Is this machine's clock right? Relays refuse events whose `created_at` is too far off, and the times of everything recorded would
//! be wrong. The `Date` headers of NIP-11 answers tell: one may be wrong, half of them are not.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The newest answers count.
const NEWEST: usize = 101;
/// Fewer say nothing.
const FEWEST: usize = 10;
/// Seconds; the header has whole ones, and answers take a while.
const TOLERANCE: i64 = 60;
/// How often it is told.
const AGAIN: Duration = Duration::from_secs(6 * 3600);

/// Seconds by which other clocks are ahead of ours.
#[derive(Debug, Default)]
pub struct Clocks {
    ahead: Mutex<VecDeque<i64>>,
    told_at: Mutex<Option<Instant>>,
}

impl Clocks {
    /// Notes the `Date` header (RFC 9110 §6.6.1) of an answer that came just now.
    pub fn note(&self, date: Option<&str>, now: SystemTime) {
        let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return };
        let ahead = match theirs.duration_since(now) {
            Ok(ahead) => i64::try_from(ahead.as_secs()).unwrap_or(i64::MAX),
            Err(behind) => -i64::try_from(behind.duration().as_secs()).unwrap_or(i64::MAX),
        };
        let mut all = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == NEWEST {
            all.pop_front();
        }
        all.push_back(ahead);
    }

    /// What to say if most of them say that our clock is off; not twice within hours.
    pub fn complaint(&self) -> Option<String> {
        let off = self.median().filter(|ahead| ahead.abs() >= TOLERANCE)?;
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if told_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return None;
        }
        *told_at = Some(Instant::now());
        let (seconds, way) = (off.unsigned_abs(), if off > 0 { "behind" } else { "ahead" });
        Some(format!(
            "the clock of this machine is {seconds} s {way}, by what most relays' web servers say: relays may refuse the events of this monitor, and what it records has wrong times; see that the machine's time is synchronized (NTP)"
        ))
    }

    fn median(&self) -> Option<i64> {
        let all = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<i64> = all.iter().copied().collect();
        drop(all);
        sorted.sort_unstable();
        (sorted.len() >= FEWEST).then(|| sorted.get(sorted.len() / 2).copied()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn most_clocks_are_believed_and_it_is_told_now_and_then() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let clocks = Clocks::default();
        for _ in 0..9 {
            clocks.note(Some("Sun, 06 Nov 1994 09:49:37 GMT"), now);
        }
        assert_eq!(clocks.complaint(), None, "too few");
        for date in [None, Some(""), Some("yesterday"), Some("Sun, 06 Nov 1994 08:48:50 GMT")] {
            clocks.note(date, now);
        }
        let said = clocks.complaint().unwrap_or_default();
        assert!(said.starts_with("the clock of this machine is 3600 s behind"), "{said}");
        assert_eq!(clocks.complaint(), None, "not again at once");
        tokio::time::advance(AGAIN).await;
        assert!(clocks.complaint().is_some());
        for _ in 0..NEWEST {
            clocks.note(Some("Sun, 06 Nov 1994 08:49:30 GMT"), now);
        }
        tokio::time::advance(AGAIN).await;
        assert_eq!(clocks.complaint(), None, "it has been set right");
    }
}
