//! Tags, content and signature of an event as the bytes of one column.
//!
//! A relay's JSON spends two bytes on each byte of a hash, and JSON's punctuation on every tag; `jsonb` spends eight bytes
//! and more on every tag element. Here hashes are bytes again, and what is left is compressed together with a dictionary
//! of what such text is made of. Against `tags jsonb, content text` this is about half (docs/benchmarks.md).
//!
//! # Layout
//! | bytes | what |
//! |---|---|
//! | 1 | version in the high four bits (1); [`IdForm`] in bits 0–1; bit 2: the text is compressed; bit 3: has an `expiration` tag |
//! | 64 | signature |
//! | varint | length of the binary part |
//! | … | binary part: the bytes of every run of lower-case hexadecimal digits that was taken out of the text |
//! | … | text, or a zstd frame of it without its magic number |
//!
//! The text holds the strings one after another. Bytes that never occur in UTF-8 tell them apart: `FE` ends an element,
//! `FD` the last element of a tag, `FC` the tags; content follows up to the end. `F8` stands for 32 bytes of the binary
//! part, `F9 n` for n.
//!
//! The bytes are stored: neither the layout nor the dictionary may ever change. A new one takes a new version number.

mod text;
mod zstd;

use super::form::{Body, IdForm};
use super::{Event, EventError};
use std::borrow::Cow;

/// Version 1 in the high four bits.
const VERSION: u8 = 1 << 4;
const COMPRESSED: u8 = 1 << 2;
const EXPIRATION: u8 = 1 << 3;
const SIG_BYTES: usize = 64;

/// A packed event, read.
#[derive(Debug)]
pub struct Packed<'a> {
    head: u8,
    /// BIP-340 signature.
    pub sig: [u8; 64],
    binary: &'a [u8],
    text: Cow<'a, [u8]>,
}

impl Event {
    /// Tags, content, signature and form in one piece; [`Packed::open`] reads it.
    pub fn pack(&self) -> Vec<u8> {
        text::with_written(&self.tags, &self.content, |written| self.pack_written(written))
    }

    fn pack_written(&self, writer: &text::Written) -> Vec<u8> {
        let expires = self.tags.iter().any(|tag| tag.first().is_some_and(|name| name == "expiration"));
        let mut out = Vec::with_capacity(1 + SIG_BYTES + 5 + writer.binary.len() + writer.text.len());
        out.push(VERSION | self.form as u8 | if expires { EXPIRATION } else { 0 });
        out.extend_from_slice(&self.sig);
        push_varint(&mut out, writer.binary.len());
        out.extend_from_slice(&writer.binary);
        if zstd::compress(&writer.text, &mut out) {
            out[0] |= COMPRESSED;
        } else {
            out.extend_from_slice(&writer.text);
        }
        out
    }
}

impl<'a> Packed<'a> {
    /// Reads what [`Event::pack`] wrote. Error: `damaged_body`.
    pub fn open(bytes: &'a [u8]) -> Result<Self, EventError> {
        Self::parts(bytes).ok_or(EventError::DamagedBody)
    }

    /// The signature alone, without a look at the rest. Error: `damaged_body`.
    pub fn sig_of(bytes: &[u8]) -> Result<[u8; 64], EventError> {
        bytes.get(1..=SIG_BYTES).and_then(|sig| sig.try_into().ok()).ok_or(EventError::DamagedBody)
    }

    /// Whether there is a tag named `expiration`, without a look at the rest.
    pub fn may_expire(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|head| head & EXPIRATION != 0)
    }

    /// Bytes of tags and content unpacked, about, without a look at the rest. Error: `damaged_body`.
    pub fn size_of(bytes: &[u8]) -> Result<u64, EventError> {
        let size = || {
            let (length, rest) = split_varint(bytes.get(1 + SIG_BYTES..)?)?;
            let text = rest.get(length..)?;
            let compressed = bytes.first()? & COMPRESSED != 0;
            Some(2 * length as u64 + if compressed { zstd::length(text)? } else { text.len() as u64 })
        };
        size().ok_or(EventError::DamagedBody)
    }

    fn parts(bytes: &'a [u8]) -> Option<Self> {
        let (&head, rest) = bytes.split_first()?;
        if head & 0xf0 != VERSION {
            return None;
        }
        let (sig, rest) = rest.split_first_chunk::<SIG_BYTES>()?;
        let (length, rest) = split_varint(rest)?;
        let (binary, rest) = rest.split_at_checked(length)?;
        let text = if head & COMPRESSED == 0 { Cow::Borrowed(rest) } else { Cow::Owned(zstd::decompress(rest)?) };
        Some(Self { head, sig: *sig, binary, text })
    }

    fn form(&self) -> IdForm {
        IdForm::ALL.into_iter().find(|form| *form as u8 == self.head & 0b11).unwrap_or(IdForm::Json)
    }

    /// The tags, U+0000 included. Error: `damaged_body`.
    pub fn tags(&self) -> Result<Vec<Vec<String>>, EventError> {
        text::Reader::new(&self.text, self.binary).tags().ok_or(EventError::DamagedBody)
    }

    /// The content, U+0000 included. Error: `damaged_body`.
    pub fn content(&self) -> Result<String, EventError> {
        text::Reader::new(&self.text, self.binary).content().ok_or(EventError::DamagedBody)
    }

    /// The whole event; neither id nor signature is verified. Errors: `damaged_body`, `created_at_out_of_range`.
    pub fn to_event(&self, id: [u8; 32], pubkey: [u8; 32], created_at: i64, kind: u16) -> Result<Event, EventError> {
        if created_at < 0 {
            return Err(EventError::CreatedAtOutOfRange);
        }
        let (tags, content) = (self.tags()?, self.content()?);
        Ok(Event { id, pubkey, created_at, kind, tags, content, sig: self.sig, form: self.form() })
    }

    /// The exact bytes whose SHA-256 is the id, where the usual form of what `jsonb` and `text` columns show does not
    /// reproduce them: see [`Event::raw`]. Error: `damaged_body`.
    pub fn raw(&self, pubkey: &[u8; 32], created_at: i64, kind: u16) -> Result<Option<Vec<u8>>, EventError> {
        // Elements hold U+0000 as it is, so the text shows it; a marker's count may be 0 only where nothing was taken out.
        if self.form() == IdForm::Json && !self.text.contains(&0) {
            return Ok(None);
        }
        let (tags, content) = (self.tags()?, self.content()?);
        let holds_nul = content.contains('\0') || tags.iter().flatten().any(|element| element.contains('\0'));
        Ok((self.form() != IdForm::Json || holds_nul).then(|| {
            let mut out = Vec::new();
            Body { pubkey, created_at, kind, tags: &tags, content: &content }.write(&mut out, self.form());
            out
        }))
    }
}

/// Seven bits a byte, least significant first.
fn push_varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn split_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests;
