//! Other ways to write the same event.

use std::{borrow::Cow, fmt::Write};

use serde_json::Value;

/// Members in the order of NIP-01.
const MEMBERS: [&str; 7] = ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"];

/// How a relay writes the events it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As the bytes it was given.
    #[default]
    AsHeld,
    /// Members in another order, with white space of every sort.
    Pretty,
    /// `\/`, and `\uXXXX` for all that is not ASCII and for one letter that occurs in names of members too.
    Escaped,
    /// With members nobody knows.
    ExtraMembers,
    /// Invalid: `content` twice, the first one forged.
    DuplicateKeys,
    /// Invalid: hex in upper case.
    UpperHex,
}

impl Dialect {
    /// Those in which a valid event stays valid.
    pub const VALID: [Self; 4] = [Self::AsHeld, Self::Pretty, Self::Escaped, Self::ExtraMembers];
    /// Those that no archive may accept.
    pub const INVALID: [Self; 2] = [Self::DuplicateKeys, Self::UpperHex];

    /// The event in this dialect. What is no JSON object stays as it is.
    pub fn apply(self, event: &str) -> Cow<'_, str> {
        if self == Self::AsHeld {
            return Cow::Borrowed(event);
        }
        match serde_json::from_str(event) {
            Ok(value @ Value::Object(_)) => Cow::Owned(self.write(&value)),
            _ => Cow::Borrowed(event),
        }
    }

    fn write(self, event: &Value) -> String {
        let plain = || join(MEMBERS.iter().map(|name| (*name, &event[*name])), ",", ":", "{", "}");
        match self {
            Self::AsHeld => plain(),
            Self::Pretty => {
                join(MEMBERS.iter().rev().map(|name| (*name, &event[*name])), ",\r\n\t", " :\n ", "{ ", "\n}")
            }
            Self::Escaped => escape(&plain()),
            Self::ExtraMembers => plain().replacen(
                '{',
                r#"{"seen_on":["wss://relay.invalid/"],"meta":{"a":[{"id":"x"}],"n":1.5e9},"ots":null,"#,
                1,
            ),
            Self::DuplicateKeys => plain().replacen('{', r#"{"content":"forged","#, 1),
            Self::UpperHex => {
                let mut event = event.clone();
                for name in ["id", "pubkey", "sig"] {
                    let upper = event[name].as_str().map(str::to_ascii_uppercase);
                    event[name] = upper.into();
                }
                join(MEMBERS.iter().map(|name| (*name, &event[*name])), ",", ":", "{", "}")
            }
        }
    }
}

fn join<'a>(
    members: impl Iterator<Item = (&'a str, &'a Value)>,
    comma: &str,
    colon: &str,
    open: &str,
    close: &str,
) -> String {
    let members: Vec<_> = members.map(|(name, value)| format!("\"{name}\"{colon}{value}")).collect();
    format!("{open}{}{close}", members.join(comma))
}

/// Neither `/` nor `i` is part of a JSON escape, number or literal of an event.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    for c in json.chars() {
        match c {
            '/' => out.push_str("\\/"),
            'i' => out.push_str("\\u0069"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generator, signed};

    #[test]
    fn valid_dialects_are_the_same_event_and_invalid_ones_are_not_read_strictly() {
        let event =
            Generator::new(1).event(1, 5, &[vec!["t".into(), "a/b\u{1}\u{7f}".into()]], "ünï/\\ \u{1f600}\0\n\"");
        let value: Value = serde_json::from_str(&event).expect("JSON");
        for dialect in Dialect::VALID {
            let written = dialect.apply(&event);
            let read: Value = serde_json::from_str(&written).expect("JSON");
            assert_eq!(signed::verify(&read), Ok(()), "{dialect:?}");
            assert!(MEMBERS.iter().all(|name| read[*name] == value[*name]), "{dialect:?}");
            assert_eq!(written == event, dialect == Dialect::AsHeld);
            assert!(crate::truth::is_archivable(&written), "{dialect:?}");
        }
        for dialect in Dialect::INVALID {
            assert!(!crate::truth::is_archivable(&dialect.apply(&event)), "{dialect:?}");
        }
        assert_eq!(Dialect::Pretty.apply("{broken"), "{broken");
    }
}
