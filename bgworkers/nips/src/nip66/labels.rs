//! NIP-32 labels: a namespace tag `L` once, then its labels with that mark.

use std::collections::BTreeSet;

use super::tag;

/// Most labels of one namespace.
const MAX_LABELS: usize = 20;

/// Country of the address that answered, two letters.
pub const COUNTRY: &str = "ISO-3166-1";
/// Languages, two letters.
pub const LANGUAGE: &str = "ISO-639-1";
/// Autonomous system of the address that answered, as other monitors label it.
pub const AUTONOMOUS_SYSTEM: &str = "host.as";

/// The tags of one namespace; none without labels.
pub fn tags(namespace: &str, labels: impl IntoIterator<Item = String>) -> Vec<Vec<String>> {
    let labels: BTreeSet<String> = labels.into_iter().take(MAX_LABELS).collect();
    let marked = |label: String| vec!["l".to_owned(), label, namespace.to_owned()];
    let namespace = (!labels.is_empty()).then(|| tag("L", namespace));
    namespace.into_iter().chain(labels.into_iter().map(marked)).collect()
}

/// An ISO 3166-1 alpha-2 code.
pub fn country(code: &str) -> Option<String> {
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_uppercase())
}

/// The ISO 639-1 code a language tag (BCP 47) begins with; `None` for languages that have none.
pub fn language(language: &str) -> Option<String> {
    let code = language.trim().split(['-', '_']).next().unwrap_or_default();
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_lowercase())
}
