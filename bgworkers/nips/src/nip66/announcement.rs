//! Who the monitor is: its announcement (10166), profile (0) and relay list (10002).

use std::time::Duration;

use bigbrotr_models::RelayUrl;
use serde_json::Value;

use super::{ANNOUNCEMENT_KIND, Draft, PROFILE_KIND, RELAY_LIST_KIND, tag, text};

/// Largest profile, in bytes.
pub const MAX_PROFILE: usize = 16 << 10;
/// The profile of a monitor nobody has described.
pub const DEFAULT_PROFILE: &str =
    r#"{"name":"bigbrotr monitor","about":"Relay monitor (NIP-66), run with BigBrotr for PostgreSQL","bot":true}"#;
/// A geohash of the operator's own choice may be as fine as he likes.
const FINEST: usize = 12;

/// What a monitor announces (kind 10166).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announcement {
    /// How often a relay that is online is reported.
    pub frequency: Duration,
    /// Time limits by test.
    pub timeouts: Vec<(&'static str, Duration)>,
    /// The checks that run, in lower case.
    pub checks: Vec<&'static str>,
    /// Where the monitor is, if it says so.
    pub geohash: Option<String>,
}

impl Announcement {
    /// The event. The text of the NIP puts the milliseconds of a `timeout` before the name of its test, its example the
    /// other way round: this follows the text.
    pub fn draft(&self) -> Draft {
        let mut tags = vec![tag("frequency", self.frequency.as_secs().to_string())];
        tags.extend(
            self.timeouts
                .iter()
                .map(|(test, limit)| vec!["timeout".to_owned(), limit.as_millis().to_string(), (*test).to_owned()]),
        );
        tags.extend(self.checks.iter().map(|check| tag("c", *check)));
        tags.extend(self.geohash.iter().flat_map(|geohash| text::geohash_tags(geohash, FINEST)));
        Draft { kind: ANNOUNCEMENT_KIND, tags, content: String::new() }
    }
}

/// Why a text is no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// More than [`MAX_PROFILE`].
    #[error("a profile has at most 16 kB")]
    TooLong,
    /// Not JSON, or not an object.
    #[error("a profile is a JSON object, as in the content of a kind 0 event")]
    NotAnObject,
}

/// Whether `json` can be the content of a profile.
///
/// # Errors
/// What is wrong with it.
pub fn check_profile(json: &str) -> Result<(), ProfileError> {
    if json.len() > MAX_PROFILE {
        return Err(ProfileError::TooLong);
    }
    match serde_json::from_str(json) {
        Ok(Value::Object(_)) => Ok(()),
        _ => Err(ProfileError::NotAnObject),
    }
}

/// The profile (kind 0), as the operator wrote it.
pub fn profile(json: &str) -> Draft {
    Draft { kind: PROFILE_KIND, tags: Vec::new(), content: text::portable(json) }
}

/// The relay list (kind 10002, NIP-65): where the monitor publishes.
pub fn relay_list<'a>(relays: impl IntoIterator<Item = &'a RelayUrl>) -> Draft {
    let tags = relays.into_iter().map(|relay| tag("r", relay.as_str())).collect();
    Draft { kind: RELAY_LIST_KIND, tags, content: String::new() }
}
