//! Documents addressed by the SHA-256 of their canonical JSON.
use crate::canonical::CanonicalError;

/// A JSON document in canonical form with its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    json: String,
    id: [u8; 32],
}
impl Document {
    pub fn from_json(json: &str) -> Result<Self, CanonicalError> {
        let _ = json;
        todo!()
    }
    pub fn json(&self) -> &str {
        &self.json
    }
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }
}
