//! `nip66_ssl`: the certificate of a relay, good or bad, and the TLS session it came with.

use bigbrotr_utils::{Certificate, TlsFailure, TlsFailureKind, TlsInfo, certificate};

use super::{Fact, Members};

const KIND: &str = "nip66_ssl";

/// Of a handshake that was good.
pub fn good(session: &TlsInfo) -> Option<Fact> {
    fact(None, &session.certificates, Some(&session.protocol), Some(&session.cipher))
}

/// Of one that was not; `None` where that says something about this system and not about the relay.
pub fn bad(failure: &TlsFailure) -> Option<Fact> {
    if failure.kind == TlsFailureKind::NoRoots {
        return None;
    }
    let (protocol, cipher) = (failure.protocol.as_deref(), failure.cipher.as_deref());
    fact(Some(failure.kind), &failure.certificates, protocol, cipher)
}

fn fact(
    error: Option<TlsFailureKind>,
    chain: &[Vec<u8>],
    protocol: Option<&str>,
    cipher: Option<&str>,
) -> Option<Fact> {
    let mut members = Members::default();
    members.set("valid", Some(error.is_none()));
    members.set("error", error.map(TlsFailureKind::as_str));
    members.set("protocol", protocol);
    members.set("cipher", cipher);
    if let Some(leaf) = chain.first() {
        members.set("fingerprint", Some(certificate::fingerprint(leaf)));
        members.set("chain_length", Some(chain.len()));
        if let Some(certificate) = Certificate::parse(leaf) {
            members.set("subject", Some(certificate.subject));
            members.set("subject_cn", certificate.subject_cn);
            members.set("issuer", Some(certificate.issuer));
            members.set("issuer_cn", certificate.issuer_cn);
            members.set("not_before", Some(certificate.not_before));
            members.set("not_after", Some(certificate.not_after));
            members.list("sans", certificate.sans);
            members.set("serial", Some(certificate.serial));
            members.set("signature_algorithm", Some(certificate.signature_algorithm));
            members.set("key_algorithm", Some(certificate.key_algorithm));
            members.set("key_bits", certificate.key_bits);
        }
    }
    Fact::new(KIND, members)
}
