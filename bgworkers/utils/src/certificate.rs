//! What a server's certificate says (RFC 5280), for people: nothing here decides whether it is trusted.

use crate::error::clip;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use x509_parser::{
    certificate::X509Certificate,
    error::X509Error,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{
        OID_KEY_TYPE_EC_PUBLIC_KEY, OID_KEY_TYPE_GOST_R3410_2012_256, OID_KEY_TYPE_GOST_R3410_2012_512,
        OID_PKCS1_RSAENCRYPTION, OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA,
        OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ECDSA_WITH_SHA512, OID_SIG_ED448, OID_SIG_ED25519, Oid,
    },
    prelude::FromDer,
    public_key::PublicKey,
    x509::{AttributeTypeAndValue, SubjectPublicKeyInfo, X509Name},
};

/// Certificates of more bytes are not read.
const MAX_BYTES: usize = 64 * 1024;
/// Alternative names kept; a certificate of a large host has a hundred.
const MAX_NAMES: usize = 128;
/// Bytes of a serial number shown; RFC 5280 allows 20.
const MAX_SERIAL: usize = 64;
/// Shortest RSA keys that are checked, bits.
const MIN_RSA: u32 = 2048;
/// Parts of a distinguished name shown.
const MAX_ATTRIBUTES: usize = 32;

/// The fields of a certificate. Texts are cut to 200 characters and have no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Distinguished name, such as `C=US, O=Example, CN=relay.example`; empty if the certificate has none.
    pub subject: String,
    /// Its first common name.
    pub subject_cn: Option<String>,
    /// Distinguished name of whoever signed it.
    pub issuer: String,
    /// Its first common name.
    pub issuer_cn: Option<String>,
    /// Valid from, unix seconds.
    pub not_before: i64,
    /// Valid until, unix seconds.
    pub not_after: i64,
    /// Names and addresses it is for, sorted, each once, at most 128.
    pub sans: Vec<String>,
    /// Serial number, lower-case hex without leading zero bytes.
    pub serial: String,
    /// Such as `ecdsa-with-SHA256`; the object identifier if the name is not known.
    pub signature_algorithm: String,
    /// `RSA`, `EC`, `Ed25519` and so on; the object identifier if the name is not known.
    pub key_algorithm: String,
    /// Size of the public key, bits.
    pub key_bits: Option<u32>,
}

impl Certificate {
    /// Reads a certificate in DER; `None` if it is none, or of more than 64 KiB. Never panics, whatever the bytes are.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let parsed = parse(der)?;
        let (algorithm, key_bits) = key(parsed.public_key());
        let mut sans = names(&parsed);
        sans.sort_unstable();
        sans.dedup();
        Some(Self {
            subject: distinguished(parsed.subject()),
            subject_cn: common_name(parsed.subject()),
            issuer: distinguished(parsed.issuer()),
            issuer_cn: common_name(parsed.issuer()),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            sans,
            serial: serial(parsed.raw_serial()),
            signature_algorithm: named(&parsed.signature_algorithm.algorithm, &SIGNATURES),
            key_algorithm: algorithm,
            key_bits,
        })
    }
}

/// SHA-256 of a certificate in DER, lower-case hex: what people compare.
pub fn fingerprint(der: &[u8]) -> String {
    bigbrotr_models::hex::encode(&Sha256::digest(der))
}

/// Whether a certificate is signed by the key it is about. Where the signature is of a kind that cannot be checked here, that it names itself as its
/// issuer is enough: it is not trusted either way.
pub fn is_self_signed(der: &[u8]) -> bool {
    let Some(parsed) = parse(der) else { return false };
    if parsed.subject().as_raw() != parsed.issuer().as_raw() {
        return false;
    }
    match parsed.verify_signature(None) {
        Ok(()) => true,
        // An authority and a certificate of the same name; short RSA keys are not checked.
        Err(X509Error::SignatureVerificationError) => {
            let (algorithm, bits) = key(parsed.public_key());
            algorithm == "RSA" && bits < Some(MIN_RSA)
        }
        Err(_) => true,
    }
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    if der.len() > MAX_BYTES {
        return None;
    }
    X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)
}

/// In the order of the certificate, as people write it.
fn distinguished(name: &X509Name<'_>) -> String {
    let part = |attribute: &AttributeTypeAndValue<'_>| {
        let kind = attribute.attr_type();
        let kind = NAMES
            .iter()
            .find(|(oid, _)| *oid == kind.to_id_string())
            .map_or_else(|| kind.to_id_string(), |(_, name)| (*name).to_owned());
        format!("{kind}={}", text(attribute).replace('\\', "\\\\").replace(',', "\\,"))
    };
    let parts: Vec<String> = name.iter_attributes().take(MAX_ATTRIBUTES).map(part).collect();
    clip(&parts.join(", "))
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().next().map(|attribute| clip(&text(attribute)))
}

/// The value of an attribute, whatever kind of string it is.
fn text(attribute: &AttributeTypeAndValue<'_>) -> String {
    match attribute.as_str() {
        Ok(text) => text.chars().take(200).collect(),
        Err(_) => {
            let bytes = attribute.as_slice();
            String::from_utf8_lossy(bytes.get(..800).unwrap_or(bytes)).into_owned()
        }
    }
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let lists = parsed.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(list) => Some(&list.general_names),
        _ => None,
    });
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(clip(name).to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        GeneralName::URI(text) | GeneralName::RFC822Name(text) => Some(clip(text)),
        _ => None,
    };
    lists.flatten().filter_map(name).take(MAX_NAMES).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn serial(raw: &[u8]) -> String {
    let start = raw.iter().position(|byte| *byte != 0).unwrap_or(raw.len().saturating_sub(1));
    let digits = raw.get(start..).unwrap_or_default();
    bigbrotr_models::hex::encode(digits.get(..MAX_SERIAL).unwrap_or(digits))
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> (String, Option<u32>) {
    let oid = &info.algorithm.algorithm;
    let name = named(oid, &KEYS);
    let bits = match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let modulus = rsa.modulus.iter().position(|byte| *byte != 0).and_then(|start| rsa.modulus.get(start..));
            modulus.and_then(|bytes| Some(bytes.len() * 8 - bytes.first()?.leading_zeros() as usize))
        }
        // A curve has the size of its field, which its name tells; P-521 fills 66 bytes.
        Ok(PublicKey::EC(point)) => Some(point.key_size()).map(|bits| if bits == 528 { 521 } else { bits }),
        Ok(other) => Some(other.key_size()),
        Err(_) => None,
    };
    let bits = match name.as_str() {
        "Ed25519" => Some(256),
        "Ed448" => Some(456),
        _ => bits.filter(|bits| *bits > 0),
    };
    (name, bits.and_then(|bits| u32::try_from(bits).ok()))
}

fn named(oid: &Oid<'_>, names: &[(Oid<'static>, &str)]) -> String {
    let known = names.iter().find(|(known, _)| known == oid);
    known.map_or_else(|| clip(&oid.to_id_string()), |(_, name)| (*name).to_owned())
}

/// Attribute types of distinguished names (RFC 4514 §3 and what is usual besides).
const NAMES: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

static SIGNATURES: [(Oid<'static>, &str); 10] = [
    (OID_PKCS1_SHA1WITHRSA, "sha1WithRSAEncryption"),
    (OID_PKCS1_SHA256WITHRSA, "sha256WithRSAEncryption"),
    (OID_PKCS1_SHA384WITHRSA, "sha384WithRSAEncryption"),
    (OID_PKCS1_SHA512WITHRSA, "sha512WithRSAEncryption"),
    (OID_PKCS1_RSASSAPSS, "RSASSA-PSS"),
    (OID_SIG_ECDSA_WITH_SHA256, "ecdsa-with-SHA256"),
    (OID_SIG_ECDSA_WITH_SHA384, "ecdsa-with-SHA384"),
    (OID_SIG_ECDSA_WITH_SHA512, "ecdsa-with-SHA512"),
    (OID_SIG_ED25519, "Ed25519"),
    (OID_SIG_ED448, "Ed448"),
];

static KEYS: [(Oid<'static>, &str); 6] = [
    (OID_PKCS1_RSAENCRYPTION, "RSA"),
    (OID_KEY_TYPE_EC_PUBLIC_KEY, "EC"),
    (OID_SIG_ED25519, "Ed25519"),
    (OID_SIG_ED448, "Ed448"),
    (OID_KEY_TYPE_GOST_R3410_2012_256, "GOST R 34.10-2012"),
    (OID_KEY_TYPE_GOST_R3410_2012_512, "GOST R 34.10-2012"),
];

#[cfg(test)]
mod tests;
