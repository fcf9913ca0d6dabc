//! Which REQs are answered.

use std::time::Duration;

/// What filters the relay takes. What it does not take is refused by CLOSED, or by NOTICE where it says
/// [`super::RelayOptions::notice_instead_of_closed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// Elements of `ids`, `authors`, `kinds` and tag lists, each.
    pub list: Option<usize>,
    /// Largest `limit`.
    pub limit: Option<usize>,
    /// Filters of one REQ.
    pub filters: Option<usize>,
    /// REQs a second and connection; more are `rate-limited:`.
    pub requests_per_second: Option<u32>,
    /// Filters that name nothing but `limit` match nothing (nostr-relay of PyPI).
    pub only_with_condition: bool,
    /// Filters with `limit: 0`.
    pub limit_zero: LimitZero,
    /// Filters without `limit`.
    pub missing_limit: MissingLimit,
}

/// The answer to `limit: 0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitZero {
    /// EOSE at once, then what is new.
    #[default]
    Live,
    /// As though there were no `limit`.
    Ignored,
    /// `invalid:`.
    Refused,
}

/// The answer to a filter without `limit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingLimit {
    /// As many as `default_limit` and `cap` allow.
    #[default]
    Served,
    /// EOSE and no event.
    Empty,
    /// No answer at all.
    Silent,
}

/// Refuses some REQs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Every n-th REQ of the relay; 1 refuses all, 0 none.
    pub every: u64,
    /// Text of the CLOSED (or NOTICE).
    pub text: String,
    /// Refuse by a NOTICE, without CLOSED.
    pub notice: bool,
}

impl Refusal {
    /// `rate-limited:` for every n-th REQ.
    pub fn rate_limited(every: u64) -> Self {
        Self { every, text: "rate-limited: slow down".into(), notice: false }
    }
}

/// Trouble with REQs whose `until` lies far back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deep {
    /// Far back: more than this many seconds before now.
    pub age: u64,
    /// REQs that name `since` too are spared.
    pub unbounded_only: bool,
    /// What happens.
    pub fault: DeepFault,
}

/// What becomes of such a REQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeepFault {
    /// No answer.
    Silent,
    /// EOSE and no event, whatever there is.
    Empty,
    /// The answer comes this much later.
    Slow(Duration),
    /// CLOSED with this text.
    Closed(String),
}
