//! Canonical JSON: keys by code point, no white space, NIP-01 escapes, numbers in plain decimal without trailing zeros.

/// Why a text has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {offset}")]
pub struct CanonicalError {
    pub message: &'static str,
    pub offset: usize,
}
/// The canonical form of one JSON value given as text. Iterative: depth is bounded by `MAX_DEPTH`, not by the stack.
pub fn canonical_json(json: &str) -> Result<String, CanonicalError> {
    let _ = json;
    todo!()
}
