//! What a relay says.
use super::{ClosePrefix, MAX_CHALLENGE, MAX_NEG_MESSAGE, MAX_SUBSCRIPTION_ID, MAX_TEXT, scan};
use crate::nip67::EoseHint;
use std::borrow::Cow;

/// A message from a relay, borrowed from its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayMessage<'a> {
    /// `["EVENT", sub, event]`.
    Event {
        /// Subscription id.
        sub: Cow<'a, str>,
        /// The raw text of the event, brackets matched and not parsed: `models::Event::from_json` does that.
        event_json: &'a str,
    },
    /// `["EOSE", sub, hint…]`.
    Eose {
        /// Subscription id.
        sub: Cow<'a, str>,
        /// NIP-67.
        hint: Option<EoseHint>,
    },
    /// `["CLOSED", sub, message]`.
    Closed {
        /// Subscription id.
        sub: Cow<'a, str>,
        /// At most [`MAX_TEXT`] bytes.
        message: Cow<'a, str>,
    },
    /// `["NOTICE", message]`.
    Notice {
        /// At most [`MAX_TEXT`] bytes.
        message: Cow<'a, str>,
    },
    /// `["OK", id, accepted, message]`.
    Ok {
        /// The event id, as sent.
        id: Cow<'a, str>,
        /// Whether the event was accepted.
        accepted: bool,
        /// At most [`MAX_TEXT`] bytes.
        message: Cow<'a, str>,
    },
    /// `["AUTH", challenge]` (NIP-42).
    Auth {
        /// At most [`MAX_CHALLENGE`] bytes.
        challenge: Cow<'a, str>,
    },
    /// `["COUNT", sub, {"count": n}]` (NIP-45).
    Count {
        /// Query id.
        sub: Cow<'a, str>,
        /// The raw object.
        json: &'a str,
    },
    /// `["NEG-MSG", sub, hex]` (NIP-77).
    NegMsg {
        /// Subscription id.
        sub: Cow<'a, str>,
        /// The message in hex, as sent; at most 2 × [`MAX_NEG_MESSAGE`] digits.
        hex: Cow<'a, str>,
    },
    /// `["NEG-ERR", sub, reason, max?]` (NIP-77).
    NegErr {
        /// Subscription id.
        sub: Cow<'a, str>,
        /// At most [`MAX_TEXT`] bytes.
        reason: Cow<'a, str>,
        /// Largest number of records the relay admits.
        max: Option<u64>,
    },
    /// A well-formed array with another verb.
    Unknown {
        /// At most [`MAX_TEXT`] bytes.
        verb: Cow<'a, str>,
    },
}

/// Why a frame is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No JSON array, nested too deep, or with too many elements.
    #[error("not a message")]
    NotAMessage,
    /// Too few elements.
    #[error("{0} with too few elements")]
    Arity(&'static str),
    /// An element of the wrong type.
    #[error("{0} with an element of the wrong type")]
    Type(&'static str),
    /// An AUTH challenge, subscription id or negentropy message longer than any honest one.
    #[error("{0} too long")]
    TooLong(&'static str),
}

impl<'a> RelayMessage<'a> {
    /// Reads one text frame (its size was capped before). Linear in its length; elements beyond those known are ignored.
    pub fn parse(text: &'a str) -> Result<Self, MessageError> {
        if let Some((sub, event_json)) = scan::event(text)
            && sub.len() <= MAX_SUBSCRIPTION_ID
            && !sub.bytes().any(|byte| byte < 0x20)
        {
            return Ok(Self::Event { sub: Cow::Borrowed(sub), event_json });
        }
        let elements =
            scan::elements(text.strip_prefix('\u{feff}').unwrap_or(text)).ok_or(MessageError::NotAMessage)?;
        let Some(verb) = elements.first().and_then(|raw| string(raw)) else { return Err(MessageError::NotAMessage) };
        let args = Args { verb: "", elements: &elements };
        match verb.as_ref() {
            "EVENT" => {
                let args = Args { verb: "EVENT", ..args };
                Ok(Self::Event { sub: args.sub()?, event_json: args.object(2)? })
            }
            "EOSE" => {
                let args = Args { verb: "EOSE", ..args };
                let hints = elements.iter().skip(2).filter_map(|raw| string(raw));
                Ok(Self::Eose { sub: args.sub()?, hint: hints.filter_map(|hint| EoseHint::parse(&hint)).next() })
            }
            "CLOSED" => {
                let args = Args { verb: "CLOSED", ..args };
                Ok(Self::Closed { sub: args.sub()?, message: args.text_or_empty(2)? })
            }
            "NOTICE" => Ok(Self::Notice { message: Args { verb: "NOTICE", ..args }.text(1)? }),
            "OK" => {
                let args = Args { verb: "OK", ..args };
                let accepted = match args.raw(2)? {
                    "true" => true,
                    "false" => false,
                    _ => return Err(MessageError::Type("OK")),
                };
                Ok(Self::Ok { id: args.text(1)?, accepted, message: args.text_or_empty(3)? })
            }
            "AUTH" => {
                let args = Args { verb: "AUTH", ..args };
                let challenge = args.string(1)?;
                if challenge.len() > MAX_CHALLENGE {
                    return Err(MessageError::TooLong("AUTH challenge"));
                }
                Ok(Self::Auth { challenge })
            }
            "COUNT" => {
                let args = Args { verb: "COUNT", ..args };
                Ok(Self::Count { sub: args.sub()?, json: args.object(2)? })
            }
            "NEG-MSG" => {
                let args = Args { verb: "NEG-MSG", ..args };
                let hex = args.string(2)?;
                if hex.len() > MAX_NEG_MESSAGE * 2 {
                    return Err(MessageError::TooLong("NEG-MSG"));
                }
                Ok(Self::NegMsg { sub: args.sub()?, hex })
            }
            "NEG-ERR" => {
                let args = Args { verb: "NEG-ERR", ..args };
                let max = elements.get(3).and_then(|raw| raw.trim_matches('"').parse().ok());
                Ok(Self::NegErr { sub: args.sub()?, reason: args.text_or_empty(2)?, max })
            }
            _ => Ok(Self::Unknown { verb: cut(verb) }),
        }
    }

    /// The prefix of a `CLOSED` or a refusing `OK`.
    pub fn close_prefix(&self) -> Option<ClosePrefix> {
        match self {
            Self::Closed { message, .. } | Self::Ok { accepted: false, message, .. } => {
                Some(ClosePrefix::parse(message))
            }
            _ => None,
        }
    }
}

struct Args<'e, 'a> {
    verb: &'static str,
    elements: &'e [&'a str],
}

impl<'a> Args<'_, 'a> {
    fn raw(&self, index: usize) -> Result<&'a str, MessageError> {
        self.elements.get(index).copied().ok_or(MessageError::Arity(self.verb))
    }

    fn string(&self, index: usize) -> Result<Cow<'a, str>, MessageError> {
        string(self.raw(index)?).ok_or(MessageError::Type(self.verb))
    }

    fn text(&self, index: usize) -> Result<Cow<'a, str>, MessageError> {
        self.string(index).map(cut)
    }

    fn text_or_empty(&self, index: usize) -> Result<Cow<'a, str>, MessageError> {
        match self.elements.get(index) {
            None | Some(&"null") => Ok(Cow::Borrowed("")),
            Some(_) => self.text(index),
        }
    }

    fn sub(&self) -> Result<Cow<'a, str>, MessageError> {
        let sub = self.string(1)?;
        if sub.len() > MAX_SUBSCRIPTION_ID { Err(MessageError::TooLong("subscription id")) } else { Ok(sub) }
    }

    fn object(&self, index: usize) -> Result<&'a str, MessageError> {
        let raw = self.raw(index)?;
        if raw.starts_with('{') { Ok(raw) } else { Err(MessageError::Type(self.verb)) }
    }
}

/// The text of a raw JSON string; borrowed where it has no escapes.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.bytes().all(|byte| byte != b'\\' && byte >= 0x20) {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let mut end = MAX_TEXT;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or_default()),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn event(text: &str) -> Option<(String, &str)> {
        match RelayMessage::parse(text) {
            Ok(RelayMessage::Event { sub, event_json }) => Some((sub.into_owned(), event_json)),
            _ => None,
        }
    }

    #[test]
    fn events_are_cut_out_of_any_layout() {
        for text in [
            r#"["EVENT","s",{"content":"a]}\"\\"}]"#,
            " [ \"EVENT\" ,\n\"s\"\t, {\"content\":\"a]}\\\"\\\\\"} ] ",
            r#"["EVENT","s",{"content":"a]}\"\\"},"more",1]"#,
            "\u{feff}[\"EVENT\",\"s\",{\"content\":\"a]}\\\"\\\\\"}]",
            r#"["EVENT","\u0073",{"content":"a]}\"\\"}]"#,
        ] {
            assert_eq!(event(text), Some(("s".into(), r#"{"content":"a]}\"\\"}"#)), "{text}");
        }
    }

    #[test]
    fn every_verb_is_read() {
        use RelayMessage as M;
        let parse = |text: &'static str| RelayMessage::parse(text).unwrap();
        assert_eq!(parse(r#"["EOSE","s"]"#), M::Eose { sub: "s".into(), hint: None });
        assert_eq!(parse(r#"["EOSE","s","finish"]"#), M::Eose { sub: "s".into(), hint: Some(EoseHint::Finish) });
        assert_eq!(parse(r#"["EOSE","s","new","more"]"#), M::Eose { sub: "s".into(), hint: Some(EoseHint::More) });
        assert_eq!(parse(r#"["EOSE","s",7]"#), M::Eose { sub: "s".into(), hint: None });
        assert_eq!(parse(r#"["CLOSED","s"]"#), M::Closed { sub: "s".into(), message: "".into() });
        let closed = parse(r#"["CLOSED","s","Auth-Required: no"]"#);
        assert_eq!(closed.close_prefix(), Some(ClosePrefix::AuthRequired));
        assert_eq!(parse(r#"["NOTICE","a\nb"]"#), M::Notice { message: "a\nb".into() });
        assert_eq!(parse(r#"["OK","00",true]"#), M::Ok { id: "00".into(), accepted: true, message: "".into() });
        assert_eq!(parse(r#"["AUTH","c"]"#), M::Auth { challenge: "c".into() });
        assert_eq!(parse(r#"["COUNT","s",{"count":3}]"#), M::Count { sub: "s".into(), json: r#"{"count":3}"# });
        assert_eq!(parse(r#"["NEG-MSG","s","61"]"#), M::NegMsg { sub: "s".into(), hex: "61".into() });
        let neg = M::NegErr { sub: "s".into(), reason: "blocked: x".into(), max: Some(5) };
        assert_eq!(parse(r#"["NEG-ERR","s","blocked: x",5]"#), neg);
        assert_eq!(parse(r#"["NEW",{}]"#), M::Unknown { verb: "NEW".into() });
    }

    #[test]
    fn wrong_arity_and_types_are_typed_errors() {
        for (text, error) in [
            ("", MessageError::NotAMessage),
            ("{}", MessageError::NotAMessage),
            ("[]", MessageError::NotAMessage),
            ("[1]", MessageError::NotAMessage),
            (r#"["EVENT"]"#, MessageError::Arity("EVENT")),
            (r#"["EVENT","s"]"#, MessageError::Arity("EVENT")),
            (r#"["EVENT",{}]"#, MessageError::Type("EVENT")),
            (r#"["EVENT","s","x"]"#, MessageError::Type("EVENT")),
            (r#"["EVENT","s",{}"#, MessageError::NotAMessage),
            (r#"["EVENT","s",{}]]"#, MessageError::NotAMessage),
            (r#"["EVENT","s",{}}]"#, MessageError::NotAMessage),
            (r#"["EOSE"]"#, MessageError::Arity("EOSE")),
            (r#"["OK","00","true",""]"#, MessageError::Type("OK")),
            (r#"["OK","00"]"#, MessageError::Arity("OK")),
            (r#"["AUTH",5]"#, MessageError::Type("AUTH")),
            (r#"["NOTICE"]"#, MessageError::Arity("NOTICE")),
        ] {
            assert_eq!(RelayMessage::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn strangers_cannot_make_it_large_or_deep() {
        let challenge = format!(r#"["AUTH","{}"]"#, "x".repeat(MAX_CHALLENGE + 1));
        assert_eq!(RelayMessage::parse(&challenge), Err(MessageError::TooLong("AUTH challenge")));
        let neg = format!(r#"["NEG-MSG","n","{}"]"#, "0".repeat(MAX_NEG_MESSAGE * 2 + 2));
        assert_eq!(RelayMessage::parse(&neg), Err(MessageError::TooLong("NEG-MSG")));
        let notice = format!(r#"["NOTICE","{}"]"#, "é".repeat(MAX_TEXT));
        match RelayMessage::parse(&notice).unwrap() {
            RelayMessage::Notice { message } => assert!(message.len() <= MAX_TEXT && message.len() > MAX_TEXT - 4),
            other => panic!("{other:?}"),
        }
        for bomb in [
            "[".repeat(10_000),
            "[\"EVENT\",\"s\",".to_owned() + &"{\"a\":".repeat(10_000),
            "[".repeat(10_000) + &"]".repeat(10_000),
        ] {
            assert_eq!(RelayMessage::parse(&bomb), Err(MessageError::NotAMessage));
        }
        let many = format!("[\"EOSE\",\"s\"{}]", ",1".repeat(1_000));
        assert_eq!(RelayMessage::parse(&many), Err(MessageError::NotAMessage));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = RelayMessage::parse(&text);
        }

        #[test]
        fn nearly_messages_never_panic(text in r#"[\[\]{}"\\,: a-cEVNTOS]{0,40}"#) {
            let _ = RelayMessage::parse(&text);
            let _ = RelayMessage::parse(&format!("[\"EVENT\",\"s\",{text}]"));
        }

        #[test]
        fn the_fast_and_the_long_way_agree(body in r#"[\[\]{}"\\,: a-c]{0,20}"#) {
            let fast = format!("[\"EVENT\",\"s\",{{{body}}}]");
            let slow = format!(" {fast}");
            prop_assert_eq!(RelayMessage::parse(&fast).ok(), RelayMessage::parse(&slow).ok());
        }
    }
}
