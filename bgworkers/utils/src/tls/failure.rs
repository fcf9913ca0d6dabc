//! What can be wrong with a TLS handshake.

use crate::error::clip;
use rustls::{AlertDescription, CertificateError, Error as RustlsError};
use std::fmt;

/// What was wrong with a TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailureKind {
    /// A certificate is past its `notAfter`.
    Expired,
    /// A certificate is before its `notBefore`.
    NotYetValid,
    /// The certificate is for another name, or the host is no name TLS can ask for.
    WrongName,
    /// The certificate signed itself.
    SelfSigned,
    /// No way from the certificate to a root we trust (often a missing intermediate).
    UnknownIssuer,
    /// The certificate is revoked.
    Revoked,
    /// Any other objection to the certificate.
    BadCertificate,
    /// The server refused us with an alert.
    Alert,
    /// No protocol version or cipher suite in common.
    Incompatible,
    /// What answered does not speak TLS.
    NotTls,
    /// The connection ended within the handshake.
    Closed,
    /// This system has no root certificates.
    NoRoots,
    /// Anything else.
    Other,
}

impl TlsFailureKind {
    /// The name in documents: `expired`, `not_tls` and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongName => "wrong_name",
            Self::SelfSigned => "self_signed",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Revoked => "revoked",
            Self::BadCertificate => "bad_certificate",
            Self::Alert => "alert",
            Self::Incompatible => "incompatible",
            Self::NotTls => "not_tls",
            Self::Closed => "closed",
            Self::NoRoots => "no_roots",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for TlsFailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not yet valid",
            Self::WrongName => "wrong name",
            Self::SelfSigned => "self-signed certificate",
            Self::UnknownIssuer => "unknown issuer",
            Self::Revoked => "certificate revoked",
            Self::BadCertificate => "bad certificate",
            Self::Alert => "refused by the server",
            Self::Incompatible => "no common protocol",
            Self::NotTls => "no TLS there",
            Self::Closed => "closed during the handshake",
            Self::NoRoots => "no root certificates on this system",
            Self::Other => "handshake failed",
        })
    }
}

/// A failed TLS handshake, with the certificates seen until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFailure {
    /// What was wrong.
    pub kind: TlsFailureKind,
    /// More about it.
    pub detail: String,
    /// The server's chain in DER, leaf first, when it was shown; at most 8 certificates.
    pub certificates: Vec<Vec<u8>>,
    /// As [`TlsInfo::protocol`](super::TlsInfo::protocol), where the handshake got that far in spite of the certificate.
    pub protocol: Option<String>,
    /// As [`TlsInfo::cipher`](super::TlsInfo::cipher), likewise.
    pub cipher: Option<String>,
}

impl TlsFailure {
    /// What an error of rustls says about the other side.
    pub(crate) fn of(error: &RustlsError) -> Self {
        Self {
            kind: kind_of(error),
            detail: clip(&error.to_string()),
            certificates: Vec::new(),
            protocol: None,
            cipher: None,
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.detail)
    }
}

fn kind_of(error: &RustlsError) -> TlsFailureKind {
    use TlsFailureKind as Kind;
    match error {
        RustlsError::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Kind::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Kind::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Kind::WrongName,
            CertificateError::UnknownIssuer => Kind::UnknownIssuer,
            CertificateError::Revoked => Kind::Revoked,
            _ => Kind::BadCertificate,
        },
        RustlsError::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | RustlsError::PeerIncompatible(_) => Kind::Incompatible,
        RustlsError::AlertReceived(_) => Kind::Alert,
        RustlsError::InvalidMessage(_) => Kind::NotTls,
        RustlsError::NoCertificatesPresented => Kind::BadCertificate,
        _ => Kind::Other,
    }
}
