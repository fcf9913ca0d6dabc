//! How a session ended, and when the relay is asked again.

use std::time::Duration;

use bigbrotr_core::StoreError;
use bigbrotr_nips::nip01::ClosePrefix;
use bigbrotr_nips::paging::Reason;
use bigbrotr_utils::DialError;

/// Head start of a relay whose history is not done, seconds.
const UNFINISHED: f64 = 1800.0;
/// Most head start for what is new, seconds.
const MOST_NOVEL: f64 = 600.0;
/// Pauses from which on nothing hurries, seconds.
const LONG: u64 = 900;

/// Why a session ended before its work was done.
#[derive(Debug)]
pub enum Failure {
    /// The relay cannot be reached, or the connection broke.
    Dial(DialError),
    /// The relay will not answer, and what it said.
    Relay(Reason, String),
    /// It wants fewer requests, and what it said.
    RateLimited(String),
    /// The archive did not take it.
    Store(String),
    /// The worker is leaving.
    Leaving,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Why a pager stopped.
pub struct Stop {
    /// In the words of coverage.
    pub reason: Reason,
    /// In those of the protocol.
    pub cause: StopCause,
}

/// What ended the last answer.
pub enum StopCause {
    /// The connection.
    Dial(DialError),
    /// The relay.
    Closed(ClosePrefix),
    /// Our patience.
    Silent,
}

impl Stop {
    /// The connection broke.
    pub fn broken(error: DialError) -> Self {
        Self { reason: Reason::Disconnected, cause: StopCause::Dial(error) }
    }

    /// Whether asking again at once may do better.
    pub fn is_passing(&self) -> bool {
        match self.reason {
            Reason::Closed => !matches!(self.cause, StopCause::Closed(ClosePrefix::RateLimited)),
            Reason::Oversize | Reason::Disconnected => true,
            _ => false,
        }
    }

    /// With what the relay said last.
    pub fn into_failure(self, said: Option<String>) -> Failure {
        match self.cause {
            StopCause::Dial(error) => Failure::Dial(error),
            StopCause::Closed(ClosePrefix::RateLimited) => {
                Failure::RateLimited(said.unwrap_or_else(|| ClosePrefix::RateLimited.as_str().to_owned()))
            }
            StopCause::Closed(prefix) => {
                Failure::Relay(self.reason, said.unwrap_or_else(|| prefix.as_str().to_owned()))
            }
            StopCause::Silent => Failure::Relay(self.reason, said.unwrap_or_else(|| "no answer".to_owned())),
        }
    }
}

/// What is written when a relay is released.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// Its work was done.
    pub ok: bool,
    /// How long it is left alone, before jitter.
    pub pause: Duration,
    /// How many seconds it is put forward in the queue, compared with others that become due when it does.
    pub head_start: f64,
    /// Failures in a row, this one included.
    pub failures: u32,
    /// Why not ok.
    pub error: Option<String>,
}

/// What a session knows of itself when it ends.
pub struct Ending<'a> {
    /// `Ok`: how long until it is to be asked again.
    pub result: &'a Result<Duration, Failure>,
    /// Failures in a row before this session.
    pub failures: u32,
    /// Whether anything new was archived or proven.
    pub progressed: bool,
    /// New events per request lately.
    pub novelty: f64,
}

impl Ending<'_> {
    /// Pause, place in the queue, and the reason in words.
    pub fn verdict(&self) -> Verdict {
        // What went on a little is not at its end: its pauses do not grow.
        let failures = if self.progressed { 0 } else { self.failures };
        let (pause, error) = match self.result {
            Ok(pause) => {
                return Verdict { ok: true, pause: *pause, head_start: novel(self.novelty), failures: 0, error: None };
            }
            Err(Failure::Leaving) => {
                return Verdict { ok: false, pause: Duration::ZERO, head_start: 0.0, failures, error: None };
            }
            // Our proxy, our limits: nothing that counts against the relay.
            Err(Failure::Dial(error)) if error.is_ours() => {
                let error = Some(format!("{}: {error}", error.class()));
                return Verdict { ok: false, pause: Duration::from_secs(30), head_start: 0.0, failures, error };
            }
            Err(Failure::Dial(error)) => {
                let base = if self.progressed { 1 } else { 5 };
                (growing(base, failures, 3600), format!("{}: {error}", error.class()))
            }
            Err(Failure::Store(error)) => (growing(5, failures, 300), format!("archive: {error}")),
            Err(Failure::RateLimited(text)) => (growing(10, failures, 3600), format!("rate_limited: {text}")),
            Err(Failure::Relay(reason, text)) => {
                let pause = match reason {
                    // Asks again after a day, and longer when it goes on.
                    Reason::NeedsAuth | Reason::Refused | Reason::Unsupported => {
                        growing(86_400, self.failures, 7 * 86_400)
                    }
                    Reason::Timeout => growing(30, failures, 3600),
                    _ => growing(10, failures, 3600),
                };
                (pause, format!("{}: {text}", reason.as_str()))
            }
        };
        let hurries = self.progressed && pause.as_secs() < LONG;
        Verdict {
            ok: false,
            pause,
            head_start: if hurries { UNFINISHED } else { 0.0 },
            failures: failures.saturating_add(1),
            error: Some(error),
        }
    }
}

/// A minute for each doubling of what is new.
fn novel(novelty: f64) -> f64 {
    (60.0 * (1.0 + novelty.max(0.0)).log2()).min(MOST_NOVEL)
}

/// Seconds doubling with the number of failures.
fn growing(base: u64, failures: u32, max: u64) -> Duration {
    Duration::from_secs(base.saturating_mul(1 << failures.min(20)).min(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(result: Result<Duration, Failure>, failures: u32, progressed: bool) -> Verdict {
        Ending { result: &result, failures, progressed, novelty: 0.0 }.verdict()
    }

    #[test]
    fn rate_limited_relays_are_left_alone_from_ten_seconds_to_an_hour() {
        let pause = |failures, progressed| {
            verdict(Err(Failure::RateLimited("slow".into())), failures, progressed).pause.as_secs()
        };
        assert_eq!([0, 1, 2, 5, 9, 50].map(|failures| pause(failures, false)), [10, 20, 40, 320, 3600, 3600]);
        assert_eq!(pause(9, true), 10);
    }

    #[test]
    fn relays_that_refuse_us_are_parked_for_days() {
        let days = |failures| {
            let result = Err(Failure::Relay(Reason::Refused, "no".into()));
            let verdict = verdict(result, failures, false);
            assert_eq!(verdict.head_start, 0.0);
            verdict.pause.as_secs() / 86_400
        };
        assert_eq!([0, 1, 2, 3, 30].map(days), [1, 2, 4, 7, 7]);
    }

    #[test]
    fn what_has_gaps_and_gets_on_comes_first_then_what_is_new() {
        let gaps = verdict(Err(Failure::Dial(DialError::Disconnected)), 0, true);
        let result = Ok(Duration::from_secs(60));
        let novel = Ending { result: &result, failures: 0, progressed: true, novelty: 50.0 }.verdict();
        let dull = Ending { result: &result, failures: 0, progressed: true, novelty: 0.0 }.verdict();
        assert!(gaps.head_start > novel.head_start && novel.head_start > dull.head_start);
        assert_eq!(dull.head_start, 0.0);
        let failing = verdict(Err(Failure::Dial(DialError::Disconnected)), 3, false);
        assert_eq!((failing.head_start, failing.failures), (0.0, 4));
    }
}
