//! What relays mean by `CLOSED`, `OK false` and `NOTICE`.

/// The machine-readable prefix of `CLOSED` and `OK` texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClosePrefix {
    /// `duplicate:`
    Duplicate,
    /// `pow:`
    Pow,
    /// `blocked:`
    Blocked,
    /// `rate-limited:`
    RateLimited,
    /// `invalid:`
    Invalid,
    /// `restricted:`
    Restricted,
    /// `mute:`
    Mute,
    /// `error:`, or any other
    Error,
    /// `auth-required:` (NIP-42)
    AuthRequired,
    /// `unsupported:`
    Unsupported,
}

impl ClosePrefix {
    const ALL: [Self; 10] = [
        Self::Duplicate,
        Self::Pow,
        Self::Blocked,
        Self::RateLimited,
        Self::Invalid,
        Self::Restricted,
        Self::Mute,
        Self::Error,
        Self::AuthRequired,
        Self::Unsupported,
    ];

    /// The word before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Pow => "pow",
            Self::Blocked => "blocked",
            Self::RateLimited => "rate-limited",
            Self::Invalid => "invalid",
            Self::Restricted => "restricted",
            Self::Mute => "mute",
            Self::Error => "error",
            Self::AuthRequired => "auth-required",
            Self::Unsupported => "unsupported",
        }
    }

    /// The prefix of `text`, in any case; [`Self::Error`] where there is none that is known.
    pub fn parse(text: &str) -> Self {
        let word = text.split(':').next().unwrap_or_default().trim();
        Self::ALL.into_iter().find(|prefix| word.eq_ignore_ascii_case(prefix.as_str())).unwrap_or(Self::Error)
    }
}

/// What a `NOTICE` seems to say. A guess: it has no machine semantics and never ends an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeClass {
    /// Too fast.
    RateLimited,
    /// AUTH is wanted.
    AuthRequired,
    /// Not for us.
    Restricted,
    /// Too many subscriptions, or one of that name is unknown.
    Subscription,
    /// The verb or feature is unknown.
    Unsupported,
    /// The message or filter was not understood.
    Invalid,
    /// Anything else.
    Other,
}

impl NoticeClass {
    /// By keywords; a machine-readable prefix counts first.
    pub fn parse(text: &str) -> Self {
        const WORDS: [(&str, NoticeClass); 33] = [
            ("rate", NoticeClass::RateLimited),
            ("slow down", NoticeClass::RateLimited),
            ("too fast", NoticeClass::RateLimited),
            ("throttl", NoticeClass::RateLimited),
            ("flood", NoticeClass::RateLimited),
            ("too many requests", NoticeClass::RateLimited),
            ("too many messages", NoticeClass::RateLimited),
            ("too many req", NoticeClass::RateLimited),
            ("subscription", NoticeClass::Subscription),
            ("too many concurrent", NoticeClass::Subscription),
            ("auth", NoticeClass::AuthRequired),
            ("login", NoticeClass::AuthRequired),
            ("sign in", NoticeClass::AuthRequired),
            ("restricted", NoticeClass::Restricted),
            ("blocked", NoticeClass::Restricted),
            ("banned", NoticeClass::Restricted),
            ("forbidden", NoticeClass::Restricted),
            ("not allowed", NoticeClass::Restricted),
            ("payment", NoticeClass::Restricted),
            ("whitelist", NoticeClass::Restricted),
            ("allowlist", NoticeClass::Restricted),
            ("too many", NoticeClass::RateLimited),
            ("unknown message", NoticeClass::Unsupported),
            ("unknown command", NoticeClass::Unsupported),
            ("unknown cmd", NoticeClass::Unsupported),
            ("unrecogni", NoticeClass::Unsupported),
            ("unsupported", NoticeClass::Unsupported),
            ("not supported", NoticeClass::Unsupported),
            ("not implemented", NoticeClass::Unsupported),
            ("disabled", NoticeClass::Unsupported),
            ("invalid", NoticeClass::Invalid),
            ("bad ", NoticeClass::Invalid),
            ("could not parse", NoticeClass::Invalid),
        ];
        if text.contains(':') {
            match ClosePrefix::parse(text) {
                ClosePrefix::RateLimited => return Self::RateLimited,
                ClosePrefix::AuthRequired => return Self::AuthRequired,
                ClosePrefix::Blocked | ClosePrefix::Restricted | ClosePrefix::Mute => return Self::Restricted,
                ClosePrefix::Unsupported => return Self::Unsupported,
                ClosePrefix::Invalid | ClosePrefix::Duplicate | ClosePrefix::Pow | ClosePrefix::Error => {}
            }
        }
        let lower = text.to_lowercase();
        let found = WORDS.iter().find(|(word, _)| at_word_start(&lower, word));
        found.map_or(Self::Other, |(_, class)| *class)
    }

    /// The `CLOSED` prefix a relay of today would have sent, where the notice can only mean a refused request.
    pub fn as_close(self) -> Option<ClosePrefix> {
        match self {
            Self::RateLimited | Self::Subscription => Some(ClosePrefix::RateLimited),
            Self::AuthRequired => Some(ClosePrefix::AuthRequired),
            Self::Restricted => Some(ClosePrefix::Restricted),
            Self::Unsupported => Some(ClosePrefix::Unsupported),
            Self::Invalid => Some(ClosePrefix::Invalid),
            Self::Other => None,
        }
    }
}

/// Whether `word` begins a word of `text`: "rate" is not in "generated".
fn at_word_start(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text.get(..at).and_then(|before| before.chars().next_back()).is_some_and(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_in_any_case_and_unknown_ones_are_errors() {
        for prefix in ClosePrefix::ALL {
            assert_eq!(ClosePrefix::parse(&format!("{}: x", prefix.as_str().to_uppercase())), prefix);
        }
        assert_eq!(ClosePrefix::parse("auth-required"), ClosePrefix::AuthRequired);
        assert_eq!(ClosePrefix::parse(" rate-limited : slow"), ClosePrefix::RateLimited);
        for text in ["", ":", "something: else", "blockedx: y", "the relay blocked: you"] {
            assert_eq!(ClosePrefix::parse(text), ClosePrefix::Error, "{text}");
        }
    }

    #[test]
    fn notices_are_classified_by_keywords() {
        for (text, class) in [
            ("ERROR: too many concurrent REQs", NoticeClass::Subscription),
            ("Rate limit exceeded", NoticeClass::RateLimited),
            ("rate-limited: slow down", NoticeClass::RateLimited),
            ("you are sending too fast", NoticeClass::RateLimited),
            ("too many requests", NoticeClass::RateLimited),
            ("Maximum concurrent subscription count reached", NoticeClass::Subscription),
            ("auth-required: please", NoticeClass::AuthRequired),
            ("authentication needed", NoticeClass::AuthRequired),
            ("invalid: bad filter", NoticeClass::Invalid),
            ("ERROR: bad req: unrecognised filter item", NoticeClass::Unsupported),
            ("could not parse command", NoticeClass::Invalid),
            ("your pubkey is banned", NoticeClass::Restricted),
            ("welcome, generated daily", NoticeClass::Other),
            ("", NoticeClass::Other),
        ] {
            assert_eq!(NoticeClass::parse(text), class, "{text}");
        }
    }
}
