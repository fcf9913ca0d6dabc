//! NIP-01 identity and signatures, independent of the project's own code.

use secp256k1::{Keypair, SECP256K1, XOnlyPublicKey, schnorr::Signature};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The bytes an id is the SHA-256 of (NIP-01), in the form most implementations write.
pub fn id_preimage(pubkey: &str, created_at: i64, kind: u32, tags: &[Vec<String>], content: &str) -> String {
    json!([0, pubkey, created_at, kind, tags, content]).to_string()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// `N` bytes from lower-case hex of exactly that length.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut out = [0; N];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The x-only public key of a key pair, in hex.
pub fn pubkey(keys: &Keypair) -> String {
    hex(&keys.x_only_public_key().0.serialize())
}

/// A deterministic BIP-340 signature over an id, in hex.
pub fn sign(keys: &Keypair, id: &[u8; 32]) -> String {
    hex(&SECP256K1.sign_schnorr_no_aux_rand(id, keys).to_byte_array())
}

/// A complete signed event as compact JSON, members in the order of NIP-01.
pub fn event(keys: &Keypair, kind: u32, created_at: i64, tags: &[Vec<String>], content: &str) -> String {
    let pubkey = pubkey(keys);
    let id = sha256(id_preimage(&pubkey, created_at, kind, tags, content).as_bytes());
    json_event(&hex(&id), &pubkey, created_at, kind, tags, content, &sign(keys, &id))
}

/// Compact JSON of an event from its parts, members in the order of NIP-01 and nothing checked.
pub fn json_event(
    id: &str,
    pubkey: &str,
    created_at: i64,
    kind: u32,
    tags: &[Vec<String>],
    content: &str,
    sig: &str,
) -> String {
    let (tags, content) = (json!(tags), json!(content));
    format!(
        r#"{{"id":"{id}","pubkey":"{pubkey}","created_at":{created_at},"kind":{kind},"tags":{tags},"content":{content},"sig":"{sig}"}}"#
    )
}

/// Ways to write control characters in the bytes an id is taken of, beside the one most implementations agree on
/// (`\u00xx` in lower case, DEL as it is).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As they are.
    Verbatim,
    /// DEL as `\u007f`.
    EscapedDel,
    /// `\u00XX` in upper case.
    UpperCase,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Verbatim, Self::EscapedDel, Self::UpperCase];

    /// Compact JSON in the usual form, written in this one.
    pub fn apply(self, json: &str) -> String {
        if self == Self::EscapedDel {
            return json.replace('\u{7f}', "\\u007f");
        }
        let mut out = String::with_capacity(json.len());
        let mut rest = json;
        while let Some(at) = rest.find('\\') {
            // An escape is two bytes long, or six.
            let long = rest.as_bytes().get(at + 1) == Some(&b'u');
            let (before, tail) = rest.split_at(at);
            let (escape, tail) = tail.split_at(if long { 6 } else { 2 });
            out.push_str(before);
            match (self, escape.get(2..).and_then(|digits| u32::from_str_radix(digits, 16).ok())) {
                (Self::Verbatim, Some(code)) => out.extend(char::from_u32(code)),
                (_, Some(code)) => out.push_str(&format!("\\u{code:04X}")),
                (_, None) => out.push_str(escape),
            }
            rest = tail;
        }
        out + rest
    }

    /// A signed event whose id is taken of this form; on the wire it is JSON as any other.
    pub fn event(self, keys: &Keypair, kind: u32, created_at: i64, tags: &[Vec<String>], content: &str) -> String {
        let pubkey = pubkey(keys);
        let id = sha256(self.apply(&id_preimage(&pubkey, created_at, kind, tags, content)).as_bytes());
        json_event(&hex(&id), &pubkey, created_at, kind, tags, content, &sign(keys, &id))
    }
}

/// A signed event whose members are given as JSON texts, which need not be what NIP-01 wants; the id is taken of them.
pub fn event_of_texts(keys: &Keypair, created_at: &str, kind: &str, tags: &str, content: &str) -> String {
    let pubkey = pubkey(keys);
    let id = sha256(format!(r#"[0,"{pubkey}",{created_at},{kind},{tags},{content}]"#).as_bytes());
    let (id, sig) = (hex(&id), sign(keys, &id));
    format!(
        r#"{{"id":"{id}","pubkey":"{pubkey}","created_at":{created_at},"kind":{kind},"tags":{tags},"content":{content},"sig":"{sig}"}}"#
    )
}

/// Whether fields, id and signature of an event hold, with the reason if they do not. The id may be of
/// any [`Variant`].
pub fn verify(event: &Value) -> Result<(), &'static str> {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let id: [u8; 32] = text("id").and_then(unhex).ok_or("bad id field")?;
    let pubkey: [u8; 32] = text("pubkey").and_then(unhex).ok_or("bad pubkey field")?;
    let sig: [u8; 64] = text("sig").and_then(unhex).ok_or("bad sig field")?;
    let created_at = event.get("created_at").and_then(Value::as_u64).ok_or("bad created_at field")?;
    let kind = event.get("kind").and_then(Value::as_u64).filter(|kind| *kind <= 65535).ok_or("bad kind field")?;
    let content = text("content").ok_or("bad content field")?;
    let tags = event.get("tags").and_then(Value::as_array).ok_or("bad tags field")?;
    let is_tag = |tag: &Value| tag.as_array().is_some_and(|tag| !tag.is_empty() && tag.iter().all(Value::is_string));
    if !tags.iter().all(is_tag) {
        return Err("bad tags field");
    }
    let preimage = json!([0, hex(&pubkey), created_at, kind, tags, content]).to_string();
    if sha256(preimage.as_bytes()) != id && !Variant::ALL.iter().any(|v| sha256(v.apply(&preimage).as_bytes()) == id) {
        return Err("id does not match");
    }
    let key = XOnlyPublicKey::from_slice(&pubkey).map_err(|_| "pubkey is not on the curve")?;
    SECP256K1.verify_schnorr(&Signature::from_byte_array(sig), &id, &key).map_err(|_| "bad signature")
}
