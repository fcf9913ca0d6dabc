//! From JSON text to the members of an event, each checked while it is read.

use super::{EventError, MAX_EVENT_BYTES};
use crate::hex;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// The members found so far.
#[derive(Default)]
pub(super) struct Draft {
    pub id: Option<[u8; 32]>,
    pub pubkey: Option<[u8; 32]>,
    pub created_at: Option<i64>,
    pub kind: Option<u16>,
    pub tags: Option<Vec<Vec<String>>>,
    pub content: Option<String>,
    pub sig: Option<[u8; 64]>,
}

/// Reads one JSON object; absent members are left `None`.
pub(super) fn draft(json: &[u8]) -> Result<Draft, EventError> {
    if json.len() > MAX_EVENT_BYTES {
        return Err(EventError::TooLarge { limit: MAX_EVENT_BYTES });
    }
    // Once for the whole text, which is faster than per string and covers members that are skipped.
    text_draft(std::str::from_utf8(json).map_err(|_| EventError::InvalidUtf8)?)
}

/// As [`draft`], of what is known to be UTF-8.
pub(super) fn text_draft(text: &str) -> Result<Draft, EventError> {
    if text.len() > MAX_EVENT_BYTES {
        return Err(EventError::TooLarge { limit: MAX_EVENT_BYTES });
    }
    if let Some(first) = text.trim_start_matches([' ', '\t', '\n', '\r']).chars().next()
        && matches!(first, '[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n')
    {
        return Err(EventError::NotAnObject);
    }
    let progress = Progress { field: Cell::new(Field::Unknown), refusal: Cell::new(None) };
    let mut parser = serde_json::Deserializer::from_str(text);
    parser
        .deserialize_map(ObjectVisitor(&progress))
        .and_then(|draft| parser.end().map(|()| draft))
        .map_err(|error| progress.refusal.get().unwrap_or_else(|| classify(&error, text, progress.field.get())))
}

/// What the parser was at when it failed; serde's own errors carry nothing but text.
struct Progress {
    field: Cell<Field>,
    refusal: Cell<Option<EventError>>,
}

impl Progress {
    fn refuse<E: Error>(&self, refusal: EventError) -> E {
        self.refusal.set(Some(refusal));
        E::custom("")
    }
}

/// The reason behind an error that serde_json found by itself.
fn classify(error: &serde_json::Error, text: &str, field: Field) -> EventError {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    if message.starts_with("lone leading surrogate") || message.starts_with("unexpected end of hex escape") {
        return EventError::LoneSurrogate;
    }
    // "out of range" comes only from a number that a member with a meaning holds.
    if !error.is_data() && !message.starts_with("number out of range") {
        return EventError::BadJson { line, column };
    }
    match field {
        Field::Id | Field::Pubkey | Field::Sig => EventError::BadHex(field.name()),
        Field::CreatedAt | Field::Kind => not_stored_as_integer(text, line, column, field),
        Field::Tags => EventError::BadTag,
        Field::Content => EventError::BadContent,
        Field::Unknown => EventError::BadJson { line, column },
    }
}

/// A number that did not fit: too large, or not an integer? Tells by the digits before the place of the error.
fn not_stored_as_integer(text: &str, line: usize, column: usize, field: Field) -> EventError {
    let number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let line = text.as_bytes().split(|&byte| byte == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let (before, after) = line.split_at_checked(column).unwrap_or((line, &[]));
    let head = before.iter().rev().take_while(|byte| number(byte));
    let tail = after.iter().take_while(|byte| number(byte));
    let mut token = head.chain(tail).peekable();
    if token.peek().is_some() && token.all(|byte| byte.is_ascii_digit() || *byte == b'-') {
        field.out_of_range()
    } else {
        EventError::NotAnInteger(field.name())
    }
}

/// The members of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Pubkey,
    CreatedAt,
    Kind,
    Tags,
    Content,
    Sig,
    Unknown,
}

impl Field {
    fn of(name: &str) -> Self {
        match name {
            "id" => Self::Id,
            "pubkey" => Self::Pubkey,
            "created_at" => Self::CreatedAt,
            "kind" => Self::Kind,
            "tags" => Self::Tags,
            "content" => Self::Content,
            "sig" => Self::Sig,
            _ => Self::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Pubkey => "pubkey",
            Self::CreatedAt => "created_at",
            Self::Kind => "kind",
            Self::Tags => "tags",
            Self::Content => "content",
            Self::Sig => "sig",
            Self::Unknown => "",
        }
    }

    fn out_of_range(self) -> EventError {
        if self == Self::Kind { EventError::KindOutOfRange } else { EventError::CreatedAtOutOfRange }
    }
}

struct ObjectVisitor<'p>(&'p Progress);

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Draft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft, A::Error> {
        let progress = self.0;
        let mut draft = Draft::default();
        while let Some(field) = map.next_key_seed(KeySeed)? {
            progress.field.set(field);
            match field {
                Field::Id => once(&mut draft.id, map.next_value_seed(HexSeed(progress))?, progress)?,
                Field::Pubkey => once(&mut draft.pubkey, map.next_value_seed(HexSeed(progress))?, progress)?,
                Field::Sig => once(&mut draft.sig, map.next_value_seed(HexSeed(progress))?, progress)?,
                Field::CreatedAt => {
                    let value = map.next_value_seed(IntegerSeed { progress, max: i64::MAX.unsigned_abs() })?;
                    once(&mut draft.created_at, value.cast_signed(), progress)?;
                }
                Field::Kind => {
                    let value = map.next_value_seed(IntegerSeed { progress, max: u64::from(u16::MAX) })?;
                    // The seed has checked the range.
                    once(&mut draft.kind, u16::try_from(value).unwrap_or(u16::MAX), progress)?;
                }
                Field::Tags => once(&mut draft.tags, map.next_value_seed(TagsSeed(progress))?, progress)?,
                Field::Content => once(&mut draft.content, map.next_value_seed(StringSeed)?, progress)?,
                Field::Unknown => {
                    // serde_json skips iteratively.
                    map.next_value::<IgnoredAny>()?;
                }
            }
            progress.field.set(Field::Unknown);
        }
        Ok(draft)
    }
}

fn once<T, E: Error>(slot: &mut Option<T>, value: T, progress: &Progress) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(progress.refuse(EventError::DuplicateKey(progress.field.get().name()))),
    }
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Field;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Field;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Field, E> {
        Ok(Field::of(name))
    }
}

struct HexSeed<'p, const N: usize>(&'p Progress);

impl<'de, const N: usize> DeserializeSeed<'de> for HexSeed<'_, N> {
    type Value = [u8; N];
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<[u8; N], D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for HexSeed<'_, N> {
    type Value = [u8; N];
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lower-case hex")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<[u8; N], E> {
        hex::decode(text).ok_or_else(|| self.0.refuse(EventError::BadHex(self.0.field.get().name())))
    }
}

/// An integer from 0 to `max`, written without fraction and exponent.
struct IntegerSeed<'p> {
    progress: &'p Progress,
    max: u64,
}

impl<'de> DeserializeSeed<'de> for IntegerSeed<'_> {
    type Value = u64;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for IntegerSeed<'_> {
    type Value = u64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        if value <= self.max { Ok(value) } else { Err(self.progress.refuse(self.progress.field.get().out_of_range())) }
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value)
            .map_err(|_| self.progress.refuse(self.progress.field.get().out_of_range()))
            .and_then(|value| self.visit_u64(value))
    }
}

/// Tags whose memory is exactly what they need: a stranger may send 200,000 of them in a megabyte.
struct TagsSeed<'p>(&'p Progress);

impl<'de> DeserializeSeed<'de> for TagsSeed<'_> {
    type Value = Vec<Vec<String>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for TagsSeed<'_> {
    type Value = Vec<Vec<String>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of tags")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut tags, mut elements) = (Vec::new(), Vec::new());
        while let Some(tag) = seq.next_element_seed(TagSeed { progress: self.0, elements: &mut elements })? {
            tags.push(tag);
        }
        Ok(tags)
    }
}

struct TagSeed<'p, 'e> {
    progress: &'p Progress,
    /// Empty between two tags; kept for its memory.
    elements: &'e mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for TagSeed<'_, '_> {
    type Value = Vec<String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for TagSeed<'_, '_> {
    type Value = Vec<String>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        while let Some(element) = seq.next_element_seed(StringSeed)? {
            self.elements.push(element);
        }
        if self.elements.is_empty() {
            return Err(self.progress.refuse(EventError::EmptyTag));
        }
        Ok(self.elements.drain(..).collect())
    }
}

struct StringSeed;

impl<'de> DeserializeSeed<'de> for StringSeed {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for StringSeed {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}
