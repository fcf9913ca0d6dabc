//! The observatory's own key.

use crate::{Event, VerifiedEvent};
use secp256k1::{Keypair, SECP256K1, SecretKey};

/// Signs events. Shows nothing of the secret key, not even in `Debug`.
#[derive(Clone)]
pub struct Signer(Keypair);

impl Signer {
    /// A signer for a secret key; `None` if the 32 bytes are no scalar of the curve (zero, or not below its order).
    pub fn new(secret: &[u8; 32]) -> Option<Self> {
        let secret = SecretKey::from_byte_array(secret).ok()?;
        Some(Self(Keypair::from_secret_key(SECP256K1, &secret)))
    }

    /// The x-only public key.
    pub fn pubkey(&self) -> [u8; 32] {
        self.0.x_only_public_key().0.serialize()
    }

    /// As [`Event::sign`].
    pub fn sign(
        &self,
        created_at: i64,
        kind: u16,
        tags: Vec<Vec<String>>,
        content: impl Into<String>,
    ) -> VerifiedEvent {
        Event::sign(&self.0, created_at, kind, tags, content)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(&crate::hex::encode(&self.pubkey())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_with_its_own_key_and_never_shows_it() {
        let signer = Signer::new(&[7; 32]).expect("a valid key");
        let event = signer.sign(1_700_000_000, 1, Vec::new(), "x");
        assert_eq!(event.pubkey, signer.pubkey());
        assert!(event.check_signature().is_ok());
        assert!(!format!("{signer:?}").contains("0707"));
    }

    #[test]
    fn refuses_what_is_no_scalar() {
        assert!(Signer::new(&[0; 32]).is_none());
        assert!(Signer::new(&[0xff; 32]).is_none());
    }
}
