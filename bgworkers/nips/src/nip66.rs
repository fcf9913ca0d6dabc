//! NIP-66: what a monitor publishes about itself and about relays. Pure builders; signing and sending is not done here.
//!
//! Only tags the text of the NIP names are written, and `L`/`l` of NIP-32 after its example. What is not known is left
//! out, never guessed: no `T`, because neither a document nor a probe shows for whom a relay is meant.

mod announcement;
mod document;
mod labels;
mod report;
#[cfg(test)]
mod tests;
mod text;

pub use announcement::{Announcement, DEFAULT_PROFILE, MAX_PROFILE, ProfileError, check_profile, profile, relay_list};
pub use report::{Measured, Place, RelayReport};
pub use text::{GeohashError, check_geohash};

use bigbrotr_models::{Document, Signer, VerifiedEvent};

/// Kind of a profile (NIP-01).
pub const PROFILE_KIND: u16 = 0;
/// Kind of a relay list (NIP-65).
pub const RELAY_LIST_KIND: u16 = 10002;
/// Kind of a monitor's announcement.
pub const ANNOUNCEMENT_KIND: u16 = 10166;
/// Kind of a report on one relay.
pub const REPORT_KIND: u16 = 30166;

/// An event without its author and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// One of the kinds of this module.
    pub kind: u16,
    /// Each with a name and at least one value.
    pub tags: Vec<Vec<String>>,
    /// JSON or nothing.
    pub content: String,
}

impl Draft {
    /// Value of the `d` tag; empty where there is none.
    pub fn d(&self) -> &str {
        let tag = self.tags.iter().find(|tag| tag.first().is_some_and(|name| name == "d"));
        tag.and_then(|tag| tag.get(1)).map_or("", String::as_str)
    }

    /// SHA-256 over everything but the round-trip times, which are never the same twice: whether there is news.
    pub fn fingerprint(&self) -> [u8; 32] {
        let lasting = |tag: &&Vec<String>| !tag.first().is_some_and(|name| name.starts_with("rtt-"));
        let tags: Vec<_> = self.tags.iter().filter(lasting).collect();
        let json = serde_json::json!([self.kind, tags, self.content]).to_string();
        // An array of arrays of strings always has a canonical form.
        Document::from_json(&json).map_or([0; 32], |document| *document.id())
    }

    /// The event, at `created_at` in unix seconds.
    pub fn sign(self, signer: &Signer, created_at: i64) -> VerifiedEvent {
        signer.sign(created_at, self.kind, self.tags, self.content)
    }
}

/// A tag of one value.
fn tag(name: &str, value: impl Into<String>) -> Vec<String> {
    vec![name.to_owned(), value.into()]
}
