//! Events (NIP-01): parse, id, signature, storage forms.

/// Which serialisation of the id array hashes to the id (protocol digest §1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    Json,
    Verbatim,
    Del,
    Upper,
}

/// Why bytes are not an acceptable event. `code()` is what `quarantine.reason` shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("bad signature")]
    BadSignature,
}
impl EventError {
    /// A stable snake_case word, e.g. `bad_id`, `bad_signature`, `duplicate_key`, `kind_out_of_range`.
    pub fn code(&self) -> &'static str {
        todo!()
    }
}

/// A well-formed event whose id has been recomputed. Its signature has not been checked yet: see [`Event::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: [u8; 32],
    pub pubkey: [u8; 32],
    pub created_at: i64,
    pub kind: u16,
    pub tags: Vec<Vec<String>>,
    pub content: String,
    pub sig: [u8; 64],
    pub form: IdForm,
}
impl Event {
    /// Parses one JSON event and recomputes its id.
    pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
        let _ = json;
        todo!()
    }
    /// Checks the signature (BIP-340 over the id).
    pub fn verify(self) -> Result<VerifiedEvent, EventError> {
        todo!()
    }
    /// Compact JSON, members in the order id, pubkey, created_at, kind, tags, content, sig.
    pub fn to_json(&self) -> String {
        todo!()
    }
    /// Rebuilds an event from its stored columns; `raw` as in the table (`event.raw`), which is exact when present.
    /// Nothing is verified.
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
        let _ = (id, pubkey, created_at, kind, tags_json, content, sig, raw);
        todo!()
    }
    /// Tags as JSON text for a `jsonb` column: U+0000 replaced by U+FFFD.
    pub fn stored_tags(&self) -> String {
        todo!()
    }
    /// Content for a `text` column: U+0000 replaced by U+FFFD.
    pub fn stored_content(&self) -> std::borrow::Cow<'_, str> {
        todo!()
    }
    /// The exact bytes whose SHA-256 is the id, where the usual form built from the stored columns does not reproduce them.
    pub fn raw(&self) -> Option<Vec<u8>> {
        todo!()
    }
}
/// An event whose id and signature have both been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEvent(Event);
impl std::ops::Deref for VerifiedEvent {
    type Target = Event;
    fn deref(&self) -> &Event {
        &self.0
    }
}
impl VerifiedEvent {
    pub fn into_inner(self) -> Event {
        self.0
    }
}
