//! NIP-77.

/// Whether, and how, sets of ids are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Negentropy {
    /// It is not spoken.
    Off(NegOff),
    /// It is.
    On(NegOn),
}

impl Negentropy {
    /// Spoken, without any fault.
    pub fn on() -> Self {
        Self::On(NegOn::default())
    }
}

impl Default for Negentropy {
    fn default() -> Self {
        Self::Off(NegOff::Notice)
    }
}

/// How a relay without NIP-77 answers a NEG-OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NegOff {
    /// A NOTICE, as to any message it does not know.
    Notice,
    /// `NEG-ERR` with this text.
    NegErr(String),
    /// `CLOSED` with this text.
    Closed(String),
    /// Nothing.
    Silent,
}

/// How a relay with NIP-77 reconciles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NegOn {
    /// More matching records than this are refused with `blocked: too many query results`.
    pub max_records: Option<usize>,
    /// That refusal names the maximum in a fourth element.
    pub tell_max: bool,
    /// Bytes of a message before hex, at least 4,096; 0: no limit.
    pub frame_limit: u64,
    /// Ids (32 bytes) with their created_at that it claims to hold and does not.
    pub phantoms: Vec<(u64, [u8; 32])>,
    /// What goes wrong.
    pub fault: Option<NegFault>,
}

/// What goes wrong in a reconciliation. Rounds are counted from 1, the NEG-OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NegFault {
    /// This in place of the hex of each answer.
    Garbage(String),
    /// Each answer says that everything differs, so that the rounds never end.
    Endless,
    /// Each answer names this many random ids.
    Flood(usize),
    /// The answers to round n and later never come.
    SilentFrom(u64),
    /// Round n is answered by a NEG-ERR with this text.
    ErrAt(u64, String),
    /// The connection breaks in place of the answer to round n.
    CutAt(u64),
    /// Answers carry a subscription id nobody has.
    ForeignSub,
    /// Answers with the version byte of a later protocol only.
    OtherVersion,
}
