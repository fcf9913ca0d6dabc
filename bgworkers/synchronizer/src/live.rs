//! The live subscription of a connection.

/// An open live subscription.
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// Whether its stored events have all come.
    pub caught_up: bool,
    /// Events that came for it.
    pub delivered: u64,
}
