//! Events as rows: `tags jsonb`, `content text`, and `raw bytea` for what those two cannot hold.

use super::form::{Body, push_tags};
use super::{Event, EventError, IdForm};
use crate::escape::{Controls, into_string};
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// What a text column shows in place of U+0000.
const REPLACEMENT: &str = "\u{fffd}";

impl Event {
    /// Tags as JSON text for a `jsonb` column: U+0000 replaced by U+FFFD.
    pub fn stored_tags(&self) -> String {
        let mut out = Vec::with_capacity(2 + self.tags.len() * 80);
        if self.tags.iter().flatten().any(|element| element.contains('\0')) {
            let replaced: Vec<Vec<String>> =
                self.tags.iter().map(|tag| tag.iter().map(|s| s.replace('\0', REPLACEMENT)).collect()).collect();
            push_tags(&mut out, &replaced, Controls::Lower);
        } else {
            push_tags(&mut out, &self.tags, Controls::Lower);
        }
        into_string(out)
    }

    /// Content for a `text` column: U+0000 replaced by U+FFFD.
    pub fn stored_content(&self) -> Cow<'_, str> {
        if self.content.contains('\0') {
            Cow::Owned(self.content.replace('\0', REPLACEMENT))
        } else {
            Cow::Borrowed(&self.content)
        }
    }

    /// The exact bytes whose SHA-256 is the id, where the usual form built from the stored columns does not reproduce them.
    pub fn raw(&self) -> Option<Vec<u8>> {
        let holds_nul = || self.content.contains('\0') || self.tags.iter().flatten().any(|s| s.contains('\0'));
        (self.form != IdForm::Json || holds_nul()).then(|| {
            let mut out = Vec::new();
            self.body().write(&mut out, self.form);
            out
        })
    }

    /// Rebuilds an event from its stored columns; `raw` as in the table (`event.raw`), which is exact when present.
    /// Neither id nor signature is verified. Errors: `bad_tag`, `bad_raw`, `created_at_out_of_range`.
    #[allow(clippy::too_many_arguments)]
    pub fn from_stored(
        id: [u8; 32],
        pubkey: [u8; 32],
        created_at: i64,
        kind: u16,
        tags_json: &str,
        content: &str,
        sig: [u8; 64],
        raw: Option<&[u8]>,
    ) -> Result<Self, EventError> {
        if created_at < 0 {
            return Err(EventError::CreatedAtOutOfRange);
        }
        let (tags, content, form) = match raw {
            None => {
                let tags: Vec<Vec<String>> = serde_json::from_str(tags_json).map_err(|_| EventError::BadTag)?;
                (tags, content.to_owned(), IdForm::Json)
            }
            Some(raw) => {
                let (tags, content) = parse_raw(raw).ok_or(EventError::BadRaw)?;
                let body = Body { pubkey: &pubkey, created_at, kind, tags: &tags, content: &content };
                let mut out = Vec::with_capacity(raw.len());
                let form = IdForm::ALL.into_iter().find(|&form| {
                    body.write(&mut out, form);
                    out == raw
                });
                (tags, content, form.ok_or(EventError::BadRaw)?)
            }
        };
        if tags.iter().any(Vec::is_empty) {
            return Err(EventError::EmptyTag);
        }
        Ok(Self { id, pubkey, created_at, kind, tags, content, sig, form })
    }
}

/// Tags and content of a serialisation in any form.
fn parse_raw(raw: &[u8]) -> Option<(Vec<Vec<String>>, String)> {
    let raw = std::str::from_utf8(raw).ok()?;
    // The verbatim form is no JSON: its controls have to be escaped before a parser takes it. Between the tokens of the
    // compact form there are none, so every control found is one inside a string.
    let json = if raw.bytes().any(|byte| byte < 0x20) {
        let mut escaped = String::with_capacity(raw.len() + 64);
        for c in raw.chars() {
            if c < ' ' {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            } else {
                escaped.push(c);
            }
        }
        Cow::Owned(escaped)
    } else {
        Cow::Borrowed(raw)
    };
    let (_, _, _, _, tags, content): (u8, IgnoredAny, u64, u16, _, _) = serde_json::from_str(&json).ok()?;
    Some((tags, content))
}
