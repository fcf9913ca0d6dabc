//! x
/// The machine-readable prefix of `CLOSED` and `OK` messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClosePrefix {
    Duplicate, Pow, Blocked, RateLimited, Invalid, Restricted, Mute, Error, AuthRequired, Unsupported,
}
