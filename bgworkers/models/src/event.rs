//! Events (NIP-01): parse, id, signature, storage forms.

mod error;
mod form;
mod packed;
mod parse;
mod stored;

pub use error::EventError;
pub use form::IdForm;
pub use packed::Packed;

use crate::escape::{Controls, push_string};
use crate::hex;
use secp256k1::{Keypair, SECP256K1, XOnlyPublicKey, schnorr::Signature};

/// The longest JSON text taken for an event, in bytes, whatever a caller's own limit is.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// A well-formed event whose id has been recomputed. Its signature has not been checked yet: see [`Event::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// SHA-256 of the serialisation in [`Event::form`].
    pub id: [u8; 32],
    /// The author's x-only public key, not yet known to be a point of the curve.
    pub pubkey: [u8; 32],
    /// Unix seconds, 0 to 2^63 − 1.
    pub created_at: i64,
    /// See [`crate::kind::class`].
    pub kind: u16,
    /// At least one string a tag; strings may hold U+0000.
    pub tags: Vec<Vec<String>>,
    /// Any text, U+0000 included.
    pub content: String,
    /// BIP-340 signature over the id.
    pub sig: [u8; 64],
    /// The serialisation whose hash the id is.
    pub form: IdForm,
}

impl Event {
    /// Parses one JSON event and recomputes its id.
    ///
    /// Strict where implementations disagree about what the event says (repeated members, fractions, upper-case hex, lone
    /// surrogates); unknown members are ignored, as NIP-01's id does not cover them. Depth costs no stack.
    pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
        Self::from_draft(parse::draft(json)?, json.len())
    }

    /// As [`Event::from_json`], of what is known to be UTF-8.
    pub fn from_text(json: &str) -> Result<Self, EventError> {
        Self::from_draft(parse::text_draft(json)?, json.len())
    }

    fn from_draft(draft: parse::Draft, length: usize) -> Result<Self, EventError> {
        let claimed = draft.id.ok_or(EventError::MissingField("id"))?;
        let pubkey = draft.pubkey.ok_or(EventError::MissingField("pubkey"))?;
        let created_at = draft.created_at.ok_or(EventError::MissingField("created_at"))?;
        let kind = draft.kind.ok_or(EventError::MissingField("kind"))?;
        let tags = draft.tags.ok_or(EventError::MissingField("tags"))?;
        let content = draft.content.ok_or(EventError::MissingField("content"))?;
        let sig = draft.sig.ok_or(EventError::MissingField("sig"))?;
        let body = form::Body { pubkey: &pubkey, created_at, kind, tags: &tags, content: &content };
        let form = body.form_of(&claimed, length).map_err(|_| EventError::BadId)?;
        Ok(Self { id: claimed, pubkey, created_at, kind, tags, content, sig, form })
    }

    /// The recomputed id of a JSON event, of which `id` and `sig` may be absent; where a given `id` matches one of the
    /// forms of the serialisation, that one. `None` if it is no event.
    pub fn compute_id_from_json(json: &[u8]) -> Option<[u8; 32]> {
        let draft = parse::draft(json).ok()?;
        let (pubkey, tags, content) = (draft.pubkey?, draft.tags?, draft.content?);
        let body = form::Body {
            pubkey: &pubkey,
            created_at: draft.created_at?,
            kind: draft.kind?,
            tags: &tags,
            content: &content,
        };
        match draft.id {
            Some(claimed) => Some(body.form_of(&claimed, json.len()).map_or_else(|usual| usual, |_| claimed)),
            None => Some(body.id(IdForm::Json, json.len())),
        }
    }

    /// Makes and signs an event in the usual form. A negative `created_at` counts as 0 and empty tags are left out, since
    /// NIP-01 knows neither.
    pub fn sign(
        keypair: &Keypair,
        created_at: i64,
        kind: u16,
        mut tags: Vec<Vec<String>>,
        content: impl Into<String>,
    ) -> VerifiedEvent {
        tags.retain(|tag| !tag.is_empty());
        let (created_at, content) = (created_at.max(0), content.into());
        let pubkey = keypair.x_only_public_key().0.serialize();
        let body = form::Body { pubkey: &pubkey, created_at, kind, tags: &tags, content: &content };
        let id = body.id(IdForm::Json, content.len());
        // Without auxiliary randomness signing cannot fail; BIP-340 allows it.
        let sig = SECP256K1.sign_schnorr_no_aux_rand(&id, keypair).to_byte_array();
        VerifiedEvent(Self { id, pubkey, created_at, kind, tags, content, sig, form: IdForm::Json })
    }

    /// Checks the signature (BIP-340 over the id).
    pub fn verify(self) -> Result<VerifiedEvent, EventError> {
        self.check_signature()?;
        Ok(VerifiedEvent(self))
    }

    /// As [`Event::verify`], of an event that is needed afterwards in any case.
    pub fn check_signature(&self) -> Result<(), EventError> {
        let pubkey = XOnlyPublicKey::from_byte_array(&self.pubkey).map_err(|_| EventError::BadPubkey)?;
        SECP256K1
            .verify_schnorr(&Signature::from_byte_array(self.sig), &self.id, &pubkey)
            .map_err(|_| EventError::BadSignature)
    }

    /// Compact JSON, members in the order id, pubkey, created_at, kind, tags, content, sig.
    pub fn to_json(&self) -> String {
        let mut out = Vec::with_capacity(400 + self.content.len());
        out.extend_from_slice(b"{\"id\":\"");
        hex::push(&mut out, &self.id);
        out.extend_from_slice(b"\",\"pubkey\":\"");
        hex::push(&mut out, &self.pubkey);
        out.extend_from_slice(
            format!("\",\"created_at\":{},\"kind\":{},\"tags\":", self.created_at, self.kind).as_bytes(),
        );
        form::push_tags(&mut out, &self.tags, Controls::Lower);
        out.extend_from_slice(b",\"content\":");
        push_string(&mut out, &self.content, Controls::Lower);
        out.extend_from_slice(b",\"sig\":\"");
        hex::push(&mut out, &self.sig);
        out.extend_from_slice(b"\"}");
        crate::escape::into_string(out)
    }

    fn body(&self) -> form::Body<'_> {
        form::Body {
            pubkey: &self.pubkey,
            created_at: self.created_at,
            kind: self.kind,
            tags: &self.tags,
            content: &self.content,
        }
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
    /// The event itself.
    pub fn into_inner(self) -> Event {
        self.0
    }
}

#[cfg(test)]
mod tests;
