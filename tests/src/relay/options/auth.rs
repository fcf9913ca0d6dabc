//! NIP-42.

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nobody is asked.
    None,
    /// REQ, COUNT, EVENT and NEG-OPEN are refused with `auth-required:` until the challenge is answered.
    Required,
    /// As [`Auth::Required`], but what is not allowed is not answered at all.
    Silent,
    /// As [`Auth::Required`], but any other message before AUTH ends the connection, after a NOTICE.
    First,
    /// The AUTH is accepted, and the answer is `restricted:` for everybody.
    Restricted,
    /// Every AUTH is answered with `OK` false.
    Rejected,
    /// As [`Auth::Required`], but an accepted AUTH gets no `OK`.
    Unconfirmed,
}

/// How challenges are sent, by relays that ask for AUTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// One, at once.
    AtConnect,
    /// One, after the first refusal.
    OnRefusal,
    /// This many at once; the last is good.
    Several(usize),
    /// One of about this many bytes, and it is good.
    Oversize(usize),
    /// A new one with each refusal; the last is good.
    Renewed,
    /// None: nobody can authenticate.
    Never,
}
