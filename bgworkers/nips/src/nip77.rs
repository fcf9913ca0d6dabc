//! NIP-77: which events a relay holds that we lack, by comparing sets (negentropy), the client's side.
//!
//! * [`Reconciler`]: one session, from the opening message to the ids that differ.
//! * [`Verdict`]: what a relay means that does not go along.
//! * [`NegSync`]: a whole range, window by window, ids fetched by REQ, and what is proven thereby.
//! * [`NegSupport`]: when to try a relay at all.
//!
//! Equality is proven, not assumed: among our items is a made-up one (the *probe*), and a relay that does not tell us that
//! it lacks it has not compared anything (it echoes, or answers the same to everybody).

mod reconciler;
mod sync;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verdict;

pub use reconciler::{NegError, NegLimits, Reconciled, Reconciler, Reply};
pub use sync::{FETCH_IDS, NegAction, NegOpening, NegOutcome, NegSync, NegWindow};
pub use verdict::{NegSupport, Verdict};
