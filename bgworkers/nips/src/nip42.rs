//! NIP-42: what an AUTH event holds. Signing it is not done here.

/// Kind of the AUTH event; never stored, never republished.
pub const AUTH_KIND: u16 = 22242;

/// The fields of an AUTH event that are not the key's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFields {
    /// Unix seconds; relays accept about ten minutes either way.
    pub created_at: i64,
    /// Always [`AUTH_KIND`].
    pub kind: u16,
    /// `relay` and `challenge`.
    pub tags: Vec<Vec<String>>,
    /// Empty.
    pub content: String,
}

/// Answers `challenge`, the newest one of this connection, which was made to `relay_url`.
pub fn auth_fields(relay_url: &str, challenge: &str, now: i64) -> AuthFields {
    AuthFields {
        created_at: now,
        kind: AUTH_KIND,
        tags: vec![vec!["relay".into(), relay_url.into()], vec!["challenge".into(), challenge.into()]],
        content: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_relay_and_the_challenge() {
        let fields = auth_fields("wss://relay.example/", "c", 1_700_000_000);
        assert_eq!((fields.kind, fields.created_at), (22242, 1_700_000_000));
        assert_eq!(fields.tags, [["relay", "wss://relay.example/"], ["challenge", "c"]]);
    }
}
