//! Documents addressed by the SHA-256 of their canonical JSON.
use crate::canonical::{CanonicalError, canonical_json};
use sha2::{Digest, Sha256};

/// A JSON document in canonical form with its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    json: String,
    id: [u8; 32],
}

impl Document {
    /// Brings `json` into canonical form and computes its address.
    pub fn from_json(json: &str) -> Result<Self, CanonicalError> {
        let json = canonical_json(json)?;
        let id = Sha256::digest(&json).into();
        Ok(Self { json, id })
    }

    /// The canonical form. It can hold `\u0000`, which `jsonb` refuses.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// SHA-256 of the canonical form.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_address_does_not_depend_on_the_writing() {
        let document = Document::from_json("{}").unwrap();
        assert_eq!(
            crate::hex::encode(document.id()),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        let one = Document::from_json("{\"b\":1.0,\"a\":\"\\u0041\"}").unwrap();
        let other = Document::from_json(" { \"a\" : \"A\", \"b\" : 1 } ").unwrap();
        assert_eq!(one, other);
        assert_eq!(one.json(), "{\"a\":\"A\",\"b\":1}");
    }
}
