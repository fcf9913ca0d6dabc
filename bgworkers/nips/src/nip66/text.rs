//! Texts of strangers on their way into tags.

/// Most characters of one tag value, URLs aside.
const MAX_VALUE: usize = 64;
/// Letters of a geohash.
const BASE32: &str = "0123456789bcdefghjkmnpqrstuvwxyz";
/// Characters of a geohash beyond which no clock on Earth can place a relay.
const MAX_GEOHASH: usize = 12;

/// Why a text is no geohash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeohashError {
    /// Empty or too long.
    #[error("a geohash has 1 to 12 characters")]
    Length,
    /// Another character.
    #[error("{0:?} is no character of a geohash")]
    Character(char),
}

/// Whether `text` is a geohash in lower case.
///
/// # Errors
/// What is wrong with it.
pub fn check_geohash(text: &str) -> Result<(), GeohashError> {
    if let Some(other) = text.chars().find(|c| !BASE32.contains(*c)) {
        return Err(GeohashError::Character(other));
    }
    if text.is_empty() || text.len() > MAX_GEOHASH { Err(GeohashError::Length) } else { Ok(()) }
}

/// A `g` tag for the place and for every larger cell around it, the finest first: relays match tag values as a whole, so
/// that only this finds a relay by its region. `precision`: most characters.
pub fn geohash_tags(geohash: &str, precision: usize) -> Vec<Vec<String>> {
    if check_geohash(geohash).is_err() {
        return Vec::new();
    }
    let longest = geohash.len().min(precision);
    (1..=longest).rev().filter_map(|length| geohash.get(..length)).map(|cell| super::tag("g", cell)).collect()
}

/// A short text without control characters and outer white space; `None` if nothing is left or it is longer than a label.
pub fn short(text: &str) -> Option<String> {
    let text = text.trim();
    let is_plain = !text.is_empty() && text.chars().count() <= MAX_VALUE && !text.chars().any(is_invisible);
    is_plain.then(|| text.to_owned())
}

/// JSON in other words: some relays (strfry) escape U+007F where others do not, and then compute another id of the event
/// it is in.
pub fn portable(json: &str) -> String {
    json.replace('\u{7f}', "\\u007f")
}

/// Control characters, and those that turn the direction of what follows.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
}
