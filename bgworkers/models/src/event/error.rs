//! Why bytes are not an acceptable event.

/// Why bytes are not an acceptable event. `code()` is what `quarantine.reason` shows. No variant repeats a stranger's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not JSON. Lines and columns count from 1.
    #[error("not JSON (line {line}, column {column})")]
    BadJson {
        /// Line of the first offending byte.
        line: usize,
        /// Column of it, in bytes.
        column: usize,
    },
    /// JSON, but no object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member of NIP-01 occurs twice: parsers disagree about which one counts.
    #[error("`{0}` occurs more than once")]
    DuplicateKey(&'static str),
    /// A member of NIP-01 is absent.
    #[error("`{0}` is missing")]
    MissingField(&'static str),
    /// Not a string of lower-case hex digits of the right length.
    #[error("`{0}` is not lower-case hex of the right length")]
    BadHex(&'static str),
    /// Not a number, or written with a fraction or an exponent.
    #[error("`{0}` is not an integer")]
    NotAnInteger(&'static str),
    /// Negative or above 2^63 − 1.
    #[error("`created_at` is outside 0 to 2^63 - 1")]
    CreatedAtOutOfRange,
    /// Negative or above 65535.
    #[error("`kind` is outside 0 to 65535")]
    KindOutOfRange,
    /// Not an array of arrays of strings.
    #[error("`tags` is not an array of arrays of strings")]
    BadTag,
    /// A tag without a name.
    #[error("a tag is empty")]
    EmptyTag,
    /// Not a string.
    #[error("`content` is not a string")]
    BadContent,
    /// An escape such as `\ud800` without its other half: no Unicode text, so there are no bytes to hash.
    #[error("a string holds half of a surrogate pair")]
    LoneSurrogate,
    /// Bytes that are no UTF-8.
    #[error("not UTF-8")]
    InvalidUtf8,
    /// Longer than the limit in force.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// No form of the serialisation hashes to the id.
    #[error("the id is not the hash of the event")]
    BadId,
    /// No point of the curve has this x coordinate.
    #[error("the public key is not on the curve")]
    BadPubkey,
    /// The signature is not the author's over this id.
    #[error("bad signature")]
    BadSignature,
    /// `event.raw` is no serialisation of the row it stands in.
    #[error("the stored bytes do not belong to the stored columns")]
    BadRaw,
    /// The packed tags and content of a stored event cannot be read.
    #[error("the stored event is damaged")]
    DamagedBody,
}

impl EventError {
    /// A stable snake_case word, e.g. `bad_id`, `bad_signature`, `duplicate_key`, `kind_out_of_range`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadJson { .. } => "bad_json",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateKey(_) => "duplicate_key",
            Self::MissingField(_) => "missing_field",
            Self::BadHex(_) => "bad_hex",
            Self::NotAnInteger(_) => "not_an_integer",
            Self::CreatedAtOutOfRange => "created_at_out_of_range",
            Self::KindOutOfRange => "kind_out_of_range",
            Self::BadTag => "bad_tag",
            Self::EmptyTag => "empty_tag",
            Self::BadContent => "bad_content",
            Self::LoneSurrogate => "lone_surrogate",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooLarge { .. } => "too_large",
            Self::BadId => "bad_id",
            Self::BadPubkey => "bad_pubkey",
            Self::BadSignature => "bad_signature",
            Self::BadRaw => "bad_raw",
            Self::DamagedBody => "damaged_body",
        }
    }
}
