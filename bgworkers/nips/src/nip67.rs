//! NIP-67: the completeness hint of `EOSE`.

/// What a relay says about the answer that `EOSE` ends. Presence is definitive, absence means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EoseHint {
    /// Everything that matches was sent.
    Finish,
    /// There is more: paginate.
    More,
}

impl EoseHint {
    /// The hint named by one element of the message; unknown ones are to be ignored.
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("finish") {
            Some(Self::Finish)
        } else if text.eq_ignore_ascii_case("more") {
            Some(Self::More)
        } else {
            None
        }
    }
}
