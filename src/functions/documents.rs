//! Canonical JSON and NIP-19.

use bigbrotr_models::canonical;
use bigbrotr_nips::nip19;
use pgrx::pg_extern;

use crate::report::refuse;

#[pg_extern]
fn native_canonical_json(document: &str) -> String {
    canonical::canonical_json(document).unwrap_or_else(|error| {
        refuse(&format!("no canonical form: {error}"), "Give a JSON document of moderate depth.")
    })
}

fn key(bytes: &[u8], what: &str) -> [u8; 32] {
    <[u8; 32]>::try_from(bytes).unwrap_or_else(|_| {
        refuse(
            &format!("{what} has 32 bytes, not {}", bytes.len()),
            "Write it as '\\x…'::bytea with 64 hexadecimal digits.",
        )
    })
}

#[pg_extern]
fn npub(pubkey: &[u8]) -> String {
    nip19::npub(&key(pubkey, "a public key"))
}

#[pg_extern]
fn note(event_id: &[u8]) -> String {
    nip19::note(&key(event_id, "an event id"))
}

#[pg_extern]
fn native_nip19_decode(entity: &str) -> Option<String> {
    match nip19::decode(entity) {
        Ok(entity) => Some(entity.to_json()),
        Err(nip19::Nip19Error::Secret) => refuse(
            "this is a secret key (nsec) and is not decoded",
            "A secret key belongs in no query: it stays in logs and history. Treat it as compromised if it was real.",
        ),
        Err(_) => None,
    }
}
