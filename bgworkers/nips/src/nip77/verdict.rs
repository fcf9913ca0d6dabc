//! What relays mean that do not go along.
use crate::nip01::{ClosePrefix, NoticeClass};
use serde::{Deserialize, Serialize};

/// How long a relay that does not speak NIP-77 is not asked again, seconds.
const UNSUPPORTED: i64 = 7 * 86_400;
/// The same after it refused, seconds.
const REFUSED: i64 = 86_400;
/// The same after a session broke, seconds; doubled each time up to [`UNSUPPORTED`].
const BROKEN: i64 = 3_600;
/// Texts kept of another's, bytes.
const MAX_SOFTWARE: usize = 200;

/// Why a window was not reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The relay does not speak NIP-77: not to be asked for days.
    Unsupported,
    /// More records than the relay compares. Only this is a reason to ask for less time.
    TooLarge {
        /// How many it would compare.
        max: Option<u64>,
    },
    /// The relay does not want to.
    Refused(ClosePrefix),
    /// The session broke, or what came made no sense.
    Broken,
}

impl Verdict {
    /// From a `NEG-ERR`, and a `CLOSED` of our session: its text and fourth element.
    pub fn from_error(text: &str, max: Option<u64>) -> Self {
        let lower = text.to_lowercase();
        if max.is_some() || is_too_large(&lower) {
            return Self::TooLarge { max };
        }
        match ClosePrefix::parse(text) {
            ClosePrefix::Unsupported | ClosePrefix::Invalid => Self::Unsupported,
            ClosePrefix::Duplicate => Self::Broken,
            ClosePrefix::Error if is_unknown(&lower) => Self::Unsupported,
            ClosePrefix::Error => match NoticeClass::parse(text).as_close() {
                // `closed: …` of NIP-77 is an idle session; other texts may still say who is meant.
                Some(prefix @ (ClosePrefix::RateLimited | ClosePrefix::AuthRequired | ClosePrefix::Restricted))
                    if !lower.starts_with("closed") =>
                {
                    Self::Refused(prefix)
                }
                _ => Self::Broken,
            },
            prefix => Self::Refused(prefix),
        }
    }

    /// From a `NOTICE` while a session waits for its answer; `None`: it may mean anything, wait on.
    pub fn from_notice(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        if is_too_large(&lower) {
            return Some(Self::TooLarge { max: None });
        }
        if is_unknown(&lower) {
            return Some(Self::Unsupported);
        }
        match NoticeClass::parse(text) {
            NoticeClass::Unsupported | NoticeClass::Invalid => Some(Self::Unsupported),
            NoticeClass::RateLimited | NoticeClass::Subscription => Some(Self::Refused(ClosePrefix::RateLimited)),
            NoticeClass::AuthRequired => Some(Self::Refused(ClosePrefix::AuthRequired)),
            NoticeClass::Restricted => Some(Self::Refused(ClosePrefix::Restricted)),
            NoticeClass::Other => None,
        }
    }

    /// Nothing came for so long that nothing will (5–10 s are enough); `answered`: whether this relay ever sent a `NEG-MSG`.
    pub fn from_silence(answered: bool) -> Self {
        if answered { Self::Broken } else { Self::Unsupported }
    }
}

/// Too many records; too many sessions, requests or bytes of one message are another matter.
fn is_too_large(lower: &str) -> bool {
    const OTHER: [&str; 8] = ["request", "concurrent", "subscri", "message", "connection", "session", "msg", "reqs"];
    let large = ["too many", "too big", "too large"].iter().any(|words| lower.contains(words));
    large && !OTHER.iter().any(|word| lower.contains(word)) && !lower.trim_start().starts_with("rate-limited")
}

/// The verb itself is what the relay complains of.
fn is_unknown(lower: &str) -> bool {
    const WORDS: [&str; 10] = [
        "unknown",
        "unsupported",
        "not supported",
        "unrecogni",
        "disabled",
        "not enabled",
        "not implemented",
        "bad msg",
        "could not parse",
        "invalid",
    ];
    let names_it = lower.contains("neg-") || lower.contains("negentropy") || lower.contains("nip-77");
    let session = lower.contains("subscription") || lower.contains("handle");
    (names_it || !session) && WORDS.iter().any(|word| lower.contains(word))
}

/// What is known of a relay's NIP-77; kept with what else was learned of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NegSupport {
    /// Whether a session ever came to its end.
    pub proven: bool,
    /// Not to be tried before, unix seconds; 0: at any time.
    pub not_before: i64,
    /// Broken sessions since the last good one.
    pub broken: u8,
    /// NIP-11 `software` and `version` when this was learned.
    software: String,
}

impl NegSupport {
    /// Whether a session may be tried. `software`: NIP-11 `software` and `version` as one text; another one than before
    /// makes the relay a new one.
    pub fn may_try(&self, now: i64, software: &str) -> bool {
        now >= self.not_before || self.software != shortened(software)
    }

    /// A session came to its end (`None`), or did not.
    pub fn learn(&mut self, verdict: Option<Verdict>, now: i64, software: &str) {
        shortened(software).clone_into(&mut self.software);
        let pause = match verdict {
            // That a window was too large shows that it is spoken.
            None | Some(Verdict::TooLarge { .. }) => {
                *self = Self { proven: true, software: std::mem::take(&mut self.software), ..Self::default() };
                return;
            }
            Some(Verdict::Unsupported) => {
                self.proven = false;
                UNSUPPORTED
            }
            Some(Verdict::Refused(ClosePrefix::RateLimited)) => BROKEN,
            Some(Verdict::Refused(_)) => REFUSED,
            Some(Verdict::Broken) => {
                self.broken = self.broken.saturating_add(1);
                (BROKEN << self.broken.saturating_sub(1).min(10)).min(UNSUPPORTED)
            }
        };
        self.not_before = now.saturating_add(pause);
    }
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_SOFTWARE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LARGE: Verdict = Verdict::TooLarge { max: None };

    #[test]
    fn only_a_genuine_overflow_is_too_large() {
        for (text, max, verdict) in [
            ("blocked: too many query results", None, LARGE),
            ("blocked: this query is too big", None, LARGE),
            ("BLOCKED: Too Large", None, LARGE),
            ("blocked: no", Some(500), Verdict::TooLarge { max: Some(500) }),
            ("", Some(0), Verdict::TooLarge { max: Some(0) }),
            ("blocked: not for you", None, Verdict::Refused(ClosePrefix::Blocked)),
            ("restricted: members only", None, Verdict::Refused(ClosePrefix::Restricted)),
            ("auth-required: who are you", None, Verdict::Refused(ClosePrefix::AuthRequired)),
            ("rate-limited: too many", None, Verdict::Refused(ClosePrefix::RateLimited)),
            ("error: too many concurrent NEG requests", None, Verdict::Refused(ClosePrefix::RateLimited)),
            ("error: too many subscriptions", None, Verdict::Refused(ClosePrefix::RateLimited)),
            ("unsupported: negentropy", None, Verdict::Unsupported),
            ("error: negentropy disabled", None, Verdict::Unsupported),
            ("invalid: unknown verb", None, Verdict::Unsupported),
            ("closed: you took too long to respond", None, Verdict::Broken),
            ("closed: unknown subscription handle", None, Verdict::Broken),
            ("CLOSED", None, Verdict::Broken),
            ("error: internal", None, Verdict::Broken),
            ("", None, Verdict::Broken),
        ] {
            assert_eq!(Verdict::from_error(text, max), verdict, "{text}");
        }
    }

    #[test]
    fn notices_tell_what_they_can() {
        for (text, verdict) in [
            ("ERROR: bad msg: negentropy disabled", Some(Verdict::Unsupported)),
            ("unknown message type NEG-OPEN", Some(Verdict::Unsupported)),
            ("invalid: \"value\" does not match any of the allowed types", Some(Verdict::Unsupported)),
            ("could not parse command", Some(Verdict::Unsupported)),
            ("ERROR: negentropy error: too many records", Some(LARGE)),
            ("you are sending too fast", Some(Verdict::Refused(ClosePrefix::RateLimited))),
            ("auth-required: log in", Some(Verdict::Refused(ClosePrefix::AuthRequired))),
            ("welcome to this relay", None),
            ("", None),
        ] {
            assert_eq!(Verdict::from_notice(text), verdict, "{text}");
        }
        assert_eq!(Verdict::from_silence(false), Verdict::Unsupported);
        assert_eq!(Verdict::from_silence(true), Verdict::Broken);
    }

    #[test]
    fn a_relay_without_it_is_asked_again_after_days_or_an_upgrade() {
        let mut support = NegSupport::default();
        assert!(support.may_try(0, "strfry 1"));
        support.learn(Some(Verdict::Unsupported), 1_000, "strfry 1");
        assert!(!support.may_try(1_000 + 6 * 86_400, "strfry 1"));
        assert!(support.may_try(1_001, "strfry 2"));
        assert!(support.may_try(1_000 + 7 * 86_400, "strfry 1"));
        let mut last = 0;
        for now in 0..20 {
            support.learn(Some(Verdict::Broken), now, "");
            assert!(support.not_before - now >= last && support.not_before - now <= UNSUPPORTED);
            last = support.not_before - now;
        }
        support.learn(None, 5, "");
        assert!(support.proven && support.may_try(5, "") && support.broken == 0);
        let json = serde_json::to_string(&support).unwrap();
        assert_eq!(serde_json::from_str::<NegSupport>(&json).unwrap(), support);
        assert_eq!(serde_json::from_str::<NegSupport>("{}").unwrap(), NegSupport::default());
        support.learn(Some(Verdict::Broken), 5, &"é".repeat(500));
        assert!(support.software.len() <= MAX_SOFTWARE);
    }
}
