//! Events that are new while a subscription is open.

use std::time::Duration;

/// How a subscription gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Every n-th of a subscription is never sent; 1: all of them.
    pub lose_every: Option<u64>,
    /// How long after it came an event is sent.
    pub delay: Duration,
    /// The relay ends the subscription itself.
    pub end: Option<LiveEnd>,
}

/// When a subscription is ended by CLOSED; of both, what comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveEnd {
    /// After this many new events.
    pub after_events: Option<u64>,
    /// This long after its EOSE.
    pub after: Option<Duration>,
    /// Text of the CLOSED.
    pub text: String,
}
