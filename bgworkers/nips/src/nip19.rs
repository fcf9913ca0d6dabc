//! NIP-19: bech32 names of keys, events and relays.
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Checksum, Hrp};

/// Longest string decoded, bytes (NIP-19).
pub const MAX_LENGTH: usize = 5_000;
/// Most relay hints kept of one string.
pub const MAX_RELAYS: usize = 64;
/// Most strings [`find_nip19`] returns.
pub const MAX_FOUND: usize = 500;

/// What a NIP-19 string names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nip19 {
    /// `npub`
    Pubkey([u8; 32]),
    /// `note`
    Note([u8; 32]),
    /// `nprofile`
    Profile {
        /// The key.
        pubkey: [u8; 32],
        /// Where it may be found, as written.
        relays: Vec<String>,
    },
    /// `nevent`
    Event {
        /// The event id.
        id: [u8; 32],
        /// Where it may be found, as written.
        relays: Vec<String>,
        /// Its author.
        author: Option<[u8; 32]>,
        /// Its kind.
        kind: Option<u32>,
    },
    /// `naddr`
    Address {
        /// The `d` tag; may be empty.
        identifier: String,
        /// Where it may be found, as written.
        relays: Vec<String>,
        /// Its author.
        author: [u8; 32],
        /// Its kind.
        kind: u32,
    },
    /// `nrelay` (deprecated)
    Relay {
        /// The URL, as written.
        relay: String,
    },
}

/// Why a text was not decoded. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nip19Error {
    /// It is, or tries to be, an `nsec`.
    #[error("a secret key (nsec) is refused")]
    Secret,
    /// Anything else.
    #[error("not a NIP-19 string")]
    Invalid,
}

/// Bech32 with the length NIP-19 allows instead of the 1,023 of the code.
enum Long {}

impl Checksum for Long {
    type MidstateRepr = <Bech32 as Checksum>::MidstateRepr;
    const CODE_LENGTH: usize = MAX_LENGTH;
    const CHECKSUM_LENGTH: usize = Bech32::CHECKSUM_LENGTH;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = Bech32::TARGET_RESIDUE;
}

/// `npub1…` of a public key.
pub fn npub(pubkey: &[u8; 32]) -> String {
    encode("npub", pubkey)
}

/// `note1…` of an event id.
pub fn note(id: &[u8; 32]) -> String {
    encode("note", id)
}

fn encode(hrp: &'static str, data: &[u8]) -> String {
    // Neither can fail: the prefixes are constants of four letters, and 32 bytes are within the code's length.
    Hrp::parse(hrp).ok().and_then(|hrp| bech32::encode_lower::<Long>(hrp, data).ok()).unwrap_or_default()
}

/// Decodes a whole string: all lower or all upper case, original bech32 checksum, no `nostr:` before it. TLVs of unknown
/// type and optional ones of the wrong length are skipped.
pub fn decode(text: &str) -> Result<Nip19, Nip19Error> {
    if is_secret(text) {
        return Err(Nip19Error::Secret);
    }
    decode_public(text).ok_or(Nip19Error::Invalid)
}

/// The 32 bytes of a secret key as its owner keeps it: `nsec1…` or 64 hex digits of either case, white space around it
/// aside. Whether they are a key the curve decides. The error names neither.
///
/// # Errors
/// [`Nip19Error::Invalid`] for anything else.
pub fn secret_key(text: &str) -> Result<[u8; 32], Nip19Error> {
    let text = text.trim();
    if text.len() == 64 {
        return bigbrotr_models::hex::decode(&text.to_ascii_lowercase()).ok_or(Nip19Error::Invalid);
    }
    let checked = CheckedHrpstring::new::<Bech32>(text).map_err(|_| Nip19Error::Invalid)?;
    if checked.hrp().to_lowercase() != "nsec" {
        return Err(Nip19Error::Invalid);
    }
    checked.byte_iter().collect::<Vec<u8>>().try_into().map_err(|_| Nip19Error::Invalid)
}

/// An nsec with a typing error is still most of a secret.
fn is_secret(text: &str) -> bool {
    let text = text.trim();
    let starts = |text: &str, prefix: &str| text.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix));
    let rest = if starts(text, "nostr:") { text.get(6..).unwrap_or_default() } else { text };
    starts(rest, "nsec1")
}

fn decode_public(text: &str) -> Option<Nip19> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let checked = CheckedHrpstring::new::<Long>(text).ok()?;
    let hrp = checked.hrp().to_lowercase();
    let characters = checked.data_part_ascii_no_checksum().len();
    let data: Vec<u8> = checked.byte_iter().collect();
    // Padding: fewer than five bits left over, all zero.
    let spare = characters.checked_mul(5)?.checked_sub(data.len() * 8)?;
    let last =
        checked.data_part_ascii_no_checksum().last().copied().and_then(|c| bech32::Fe32::from_char(c.into()).ok());
    if spare >= 5 || last.is_some_and(|last| last.to_u8() & ((1 << spare) - 1) != 0) {
        return None;
    }
    match hrp.as_str() {
        "npub" => Some(Nip19::Pubkey(data.try_into().ok()?)),
        "note" => Some(Nip19::Note(data.try_into().ok()?)),
        "nprofile" => {
            let tlv = Tlv::read(&data)?;
            Some(Nip19::Profile { pubkey: tlv.special?.try_into().ok()?, relays: tlv.relays })
        }
        "nevent" => {
            let tlv = Tlv::read(&data)?;
            Some(Nip19::Event {
                id: tlv.special?.try_into().ok()?,
                relays: tlv.relays,
                author: tlv.author,
                kind: tlv.kind,
            })
        }
        "naddr" => {
            let tlv = Tlv::read(&data)?;
            let identifier = std::str::from_utf8(tlv.special?).ok()?.to_owned();
            Some(Nip19::Address { identifier, relays: tlv.relays, author: tlv.author?, kind: tlv.kind? })
        }
        "nrelay" => {
            let tlv = Tlv::read(&data)?;
            Some(Nip19::Relay { relay: std::str::from_utf8(tlv.special?).ok()?.to_owned() })
        }
        _ => None,
    }
}

#[derive(Default)]
struct Tlv<'a> {
    special: Option<&'a [u8]>,
    relays: Vec<String>,
    author: Option<[u8; 32]>,
    kind: Option<u32>,
}

impl<'a> Tlv<'a> {
    fn read(mut data: &'a [u8]) -> Option<Self> {
        let mut tlv = Self::default();
        while let Some((&kind, rest)) = data.split_first() {
            let (&length, rest) = rest.split_first()?;
            let (value, rest) = rest.split_at_checked(length.into())?;
            data = rest;
            match kind {
                0 => tlv.special = tlv.special.or(Some(value)),
                1 if tlv.relays.len() < MAX_RELAYS => tlv.relays.extend(String::from_utf8(value.to_vec()).ok()),
                2 => tlv.author = tlv.author.or(value.try_into().ok()),
                3 => tlv.kind = tlv.kind.or(value.try_into().ok().map(u32::from_be_bytes)),
                _ => {}
            }
        }
        Some(tlv)
    }
}

impl Nip19 {
    /// The relays named, as written.
    pub fn relays(&self) -> &[String] {
        match self {
            Self::Pubkey(_) | Self::Note(_) => &[],
            Self::Profile { relays, .. } | Self::Event { relays, .. } | Self::Address { relays, .. } => relays,
            Self::Relay { relay } => std::slice::from_ref(relay),
        }
    }

    /// The object of `nip19_decode`: `type`, `data` (hex), `relays`, `author`, `kind`, `identifier`, absent members left
    /// out. U+0000, which `jsonb` cannot hold, becomes U+FFFD.
    pub fn to_json(&self) -> String {
        let mut object = serde_json::Map::new();
        let mut set = |key: &str, value: serde_json::Value| {
            object.insert(key.into(), value);
        };
        let (name, data, author, kind) = match self {
            Self::Pubkey(pubkey) => ("npub", Some(pubkey), None, None),
            Self::Note(id) => ("note", Some(id), None, None),
            Self::Profile { pubkey, .. } => ("nprofile", Some(pubkey), None, None),
            Self::Event { id, author, kind, .. } => ("nevent", Some(id), author.as_ref(), *kind),
            Self::Address { author, kind, .. } => ("naddr", None, Some(author), Some(*kind)),
            Self::Relay { .. } => ("nrelay", None, None, None),
        };
        set("type", name.into());
        if let Some(data) = data {
            set("data", to_hex(data).into());
        }
        if !self.relays().is_empty() {
            set("relays", self.relays().iter().map(|relay| relay.replace('\0', "\u{fffd}")).collect());
        }
        if let Some(author) = author {
            set("author", to_hex(author).into());
        }
        if let Some(kind) = kind {
            set("kind", kind.into());
        }
        if let Self::Address { identifier, .. } = self {
            set("identifier", identifier.replace('\0', "\u{fffd}").into());
        }
        serde_json::Value::Object(object).to_string()
    }
}

pub(crate) fn to_hex(bytes: &[u8; 32]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect()
}

/// The strings inside `text` that can hold relay hints (nprofile, nevent, naddr, nrelay), with or without `nostr:`, in lower
/// or, as in QR codes, upper case; at most [`MAX_FOUND`]. Linear in the length of `text`.
pub fn find_nip19(text: &str) -> Vec<Nip19> {
    const PREFIXES: [&str; 4] = ["nprofile1", "nevent1", "naddr1", "nrelay1"];
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['n', 'N']) {
        let tail = rest.get(at..).unwrap_or_default();
        let starts = |prefix: &&str| tail.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        let Some(prefix) = PREFIXES.into_iter().find(starts) else {
            rest = tail.get(1..).unwrap_or_default();
            continue;
        };
        let body = tail.get(prefix.len()..).unwrap_or_default();
        let is_digit = |byte: &u8| b"qpzry9x8gf2tvdw0s3jn54khce6mua7l".contains(&byte.to_ascii_lowercase());
        let length = body.bytes().take_while(is_digit).count();
        // What was looked at is never looked at again: the alphabet has no `1`, so no string begins inside another.
        let end = prefix.len() + length;
        out.extend(tail.get(..end).and_then(decode_public));
        if out.len() >= MAX_FOUND {
            break;
        }
        rest = tail.get(end..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn tlv(hrp: &str, fields: &[(u8, &[u8])]) -> String {
        let data: Vec<u8> = fields.iter().flat_map(|(t, v)| [&[*t, v.len() as u8], *v].concat()).collect();
        bech32::encode_lower::<Long>(Hrp::parse(hrp).unwrap(), &data).unwrap()
    }

    #[test]
    fn a_secret_key_is_read_in_both_of_its_forms() {
        let hex = "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa";
        let key = secret_key("nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5\n").unwrap();
        assert_eq!(to_hex(&key), hex);
        assert_eq!(secret_key(&format!(" {} ", hex.to_uppercase())), Ok(key));
        let npub = npub(&key);
        for bad in ["", "nsec1", &hex[1..], &npub, "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe6"] {
            assert_eq!(secret_key(bad), Err(Nip19Error::Invalid), "{bad}");
        }
    }

    #[test]
    fn examples_of_the_nip() {
        let key = decode("npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg").unwrap();
        let hex = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
        assert_eq!(key.to_json(), format!(r#"{{"data":"{hex}","type":"npub"}}"#));
        let Nip19::Pubkey(bytes) = key else { panic!() };
        assert_eq!(npub(&bytes), "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg");
        let profile = "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
        let profile = decode(profile).unwrap();
        assert_eq!(profile.relays(), ["wss://r.x.com", "wss://djbas.sadkb.com"]);
        assert!(profile.to_json().contains("3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d"));
    }

    #[test]
    fn a_secret_is_refused_without_being_repeated() {
        let nsec = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5";
        for text in
            [nsec.to_owned(), nsec.to_uppercase(), format!("nostr:{nsec}"), format!(" {nsec}"), "nsec1broken".into()]
        {
            let error = decode(&text).unwrap_err();
            assert_eq!(error, Nip19Error::Secret, "{text}");
            assert!(!error.to_string().contains("nsec1"));
        }
    }

    #[test]
    fn all_kinds_of_names_are_decoded() {
        let event =
            decode(&tlv("nevent", &[(9, b"?"), (0, &[1; 32]), (1, b"wss://a"), (2, &[2; 32]), (3, &[0, 0, 0, 7])]));
        let want = Nip19::Event { id: [1; 32], relays: vec!["wss://a".into()], author: Some([2; 32]), kind: Some(7) };
        assert_eq!(event, Ok(want));
        let short = decode(&tlv("nevent", &[(0, &[1; 32]), (2, &[2; 31]), (3, &[7]), (1, b"\xff")]));
        assert_eq!(short, Ok(Nip19::Event { id: [1; 32], relays: vec![], author: None, kind: None }));
        let address = decode(&tlv("naddr", &[(0, b""), (2, &[2; 32]), (3, &[0, 0, 117, 48])])).unwrap();
        let json = format!(r#"{{"author":"{}","identifier":"","kind":30000,"type":"naddr"}}"#, "02".repeat(32));
        assert_eq!(address.to_json(), json);
        assert_eq!(decode(&tlv("nrelay", &[(0, b"wss://r")])).unwrap().relays(), ["wss://r"]);
        assert!(decode(&note(&[3; 32]).to_uppercase()).is_ok());
    }

    #[test]
    fn malformed_strings_are_invalid() {
        let good = npub(&[7; 32]);
        let bech32m = bech32::encode::<bech32::Bech32m>(Hrp::parse("npub").unwrap(), &[7; 32]).unwrap();
        let mixed = good.replacen("npub1", "NPUB1", 1);
        let truncated = bech32::encode::<Bech32>(Hrp::parse("nevent").unwrap(), &[0, 32, 1, 1]).unwrap();
        for text in [
            "".into(),
            "npub1".into(),
            "1".into(),
            bech32m,
            mixed,
            truncated,
            good.replacen('q', "p", 1),
            format!("nostr:{good}"),
            format!("{good} "),
            encode("npub", &[7; 31]),
            encode("nfoo", &[7; 32]),
            tlv("nprofile", &[(0, &[1; 31])]),
            tlv("naddr", &[(0, b"x"), (3, &[0, 0, 0, 1])]),
            tlv("nevent", &[(1, b"wss://a")]),
            "x".repeat(100_000),
        ] {
            assert_eq!(decode(&text), Err(Nip19Error::Invalid), "{text}");
        }
    }

    #[test]
    fn long_strings_are_decoded_up_to_the_limit() {
        let hints = |n: usize| {
            let relay = [b'r'; 250];
            let mut fields: Vec<(u8, &[u8])> = vec![(0, &[1; 32])];
            fields.extend(std::iter::repeat_n((1u8, relay.as_slice()), n));
            let data: Vec<u8> = fields.iter().flat_map(|(t, v)| [&[*t, v.len() as u8], *v].concat()).collect();
            use bech32::ByteIterExt;
            use bech32::Fe32IterExt;
            enum Unlimited {}
            impl Checksum for Unlimited {
                type MidstateRepr = u32;
                const CODE_LENGTH: usize = usize::MAX;
                const CHECKSUM_LENGTH: usize = 6;
                const GENERATOR_SH: [u32; 5] = Bech32::GENERATOR_SH;
                const TARGET_RESIDUE: u32 = Bech32::TARGET_RESIDUE;
            }
            let hrp = Hrp::parse("nprofile").unwrap();
            data.into_iter().bytes_to_fes().with_checksum::<Unlimited>(&hrp).chars().collect::<String>()
        };
        assert!(hints(11).len() > 4_000 && hints(11).len() <= MAX_LENGTH);
        assert_eq!(decode(&hints(11)).unwrap().relays().len(), 11);
        assert_eq!(decode(&hints(13)), Err(Nip19Error::Invalid));
    }

    #[test]
    fn hints_are_found_inside_text() {
        let profile = tlv("nprofile", &[(0, &[1; 32]), (1, b"wss://a")]);
        let event = tlv("nevent", &[(0, &[1; 32]), (1, b"wss://b")]);
        let text = format!("hi nostr:{profile}, see {event}. nevent1 nnprofile1x nope npub1 {}", npub(&[1; 32]));
        let found = find_nip19(&text);
        let relays: Vec<&String> = found.iter().flat_map(Nip19::relays).collect();
        assert_eq!(relays, ["wss://a", "wss://b"]);
        assert!(find_nip19(&"nprofile1".repeat(20_000)).is_empty());
        assert_eq!(find_nip19(&format!("{event} ").repeat(MAX_FOUND + 10)).len(), MAX_FOUND);
    }

    proptest! {
        #[test]
        fn keys_round_trip(bytes: [u8; 32]) {
            prop_assert_eq!(decode(&npub(&bytes)), Ok(Nip19::Pubkey(bytes)));
            prop_assert_eq!(decode(&note(&bytes)), Ok(Nip19::Note(bytes)));
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>(), data in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&text);
            let _ = find_nip19(&text);
            for hrp in ["nprofile", "nevent", "naddr", "nrelay", "npub"] {
                let encoded = bech32::encode::<Bech32>(Hrp::parse(hrp).unwrap(), &data).unwrap();
                let _ = decode(&encoded);
                let _ = find_nip19(&format!("é{encoded}é"));
            }
        }
    }
}
