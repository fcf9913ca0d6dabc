//! TLS with rustls and ring, verified against the system's roots, keeping the certificates the server showed, good or bad.

use crate::{
    endpoint::EndpointHost,
    error::{DialError, clip},
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore,
    SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Certificates kept of a chain; a leaf, two intermediates and a needless root are usual.
const MAX_CERTIFICATES: usize = 8;
/// Bytes kept of one certificate.
const MAX_CERTIFICATE: usize = 64 * 1024;

/// What a finished TLS handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub protocol: String,
    /// The cipher suite, such as `TLS13_AES_128_GCM_SHA256`.
    pub cipher: String,
    /// The server's chain in DER, leaf first; at most 8 certificates.
    pub certificates: Vec<Vec<u8>>,
}

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
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.detail)
    }
}

/// The client side of TLS, made once for each dialer.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    verifier: Result<Arc<WebPkiServerVerifier>, String>,
}

impl Tls {
    /// With the roots of the system (reads files: call it once). No roots is no error until a TLS connection is wanted.
    pub(crate) fn system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let trouble = found.errors.first().map(ToString::to_string);
        Self::with_roots(found.certs, trouble)
    }

    pub(crate) fn with_roots(certificates: Vec<CertificateDer<'static>>, trouble: Option<String>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        // One odd certificate in the system's store must not cost the others.
        roots.add_parsable_certificates(certificates);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| trouble.unwrap_or_else(|| error.to_string()));
        Self { provider, verifier }
    }

    /// Shakes hands over `stream`. The caller limits the time.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &EndpointHost,
    ) -> Result<(TlsStream<TcpStream>, TlsInfo), DialError> {
        let failure = |kind, detail: String, certificates| {
            DialError::Tls(Box::new(TlsFailure { kind, detail: clip(&detail), certificates }))
        };
        let verifier = match &self.verifier {
            Ok(verifier) => verifier.clone(),
            Err(detail) => return Err(failure(TlsFailureKind::NoRoots, detail.clone(), Vec::new())),
        };
        let name = match host {
            EndpointHost::Ip(ip) => ServerName::IpAddress((*ip).into()),
            EndpointHost::Name(name) => match ServerName::try_from(name.clone()) {
                Ok(name) => name,
                Err(error) => return Err(failure(TlsFailureKind::WrongName, error.to_string(), Vec::new())),
            },
        };
        // A config of its own for each connection, so that the certificates captured are this connection's. It is a few Arcs.
        let capture =
            Arc::new(CapturingVerifier { inner: verifier, provider: self.provider.clone(), seen: Mutex::default() });
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map(|builder| {
                let mut config =
                    builder.dangerous().with_custom_certificate_verifier(capture.clone()).with_no_client_auth();
                // A resumed session would show no certificate, and the memory of sessions grows with strangers.
                config.resumption = Resumption::disabled();
                config
            })
            .map_err(|error| failure(TlsFailureKind::Other, error.to_string(), Vec::new()))?;

        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => {
                let (_, session) = stream.get_ref();
                let info = TlsInfo {
                    protocol: match session.protocol_version() {
                        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
                        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
                        other => format!("{other:?}"),
                    },
                    cipher: session
                        .negotiated_cipher_suite()
                        .map(|suite| format!("{:?}", suite.suite()))
                        .unwrap_or_default(),
                    certificates: capture.take(),
                };
                Ok((stream, info))
            }
            Err(error) => {
                let certificates = capture.take();
                let mut kind = kind_of(&error);
                if kind == TlsFailureKind::UnknownIssuer && is_self_signed(&certificates, &self.provider) {
                    kind = TlsFailureKind::SelfSigned;
                }
                Err(failure(kind, error.to_string(), certificates))
            }
        }
    }
}

fn kind_of(error: &io::Error) -> TlsFailureKind {
    use TlsFailureKind as Kind;
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) else {
        return Kind::Closed;
    };
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

/// A lone certificate that is its own issuer: it verifies up to the issuer check once it is taken for a root itself.
fn is_self_signed(certificates: &[Vec<u8>], provider: &Arc<CryptoProvider>) -> bool {
    let [der] = certificates else { return false };
    let leaf = CertificateDer::from(der.as_slice());
    let mut roots = RootCertStore::empty();
    if roots.add(leaf.clone().into_owned()).is_err() {
        return false;
    }
    let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build() else {
        return false;
    };
    let Ok(name) = ServerName::try_from("self-signed.invalid") else { return false };
    !matches!(
        verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now()),
        Err(RustlsError::InvalidCertificate(CertificateError::UnknownIssuer))
    )
}

/// Judges as webpki does and remembers what it was shown.
#[derive(Debug)]
struct CapturingVerifier {
    inner: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Vec<Vec<u8>>>,
}

impl CapturingVerifier {
    fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ServerCertVerifier for CapturingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = std::iter::once(end_entity)
            .chain(intermediates)
            .take(MAX_CERTIFICATES)
            .filter(|der| der.len() <= MAX_CERTIFICATE)
            .map(|der| der.to_vec())
            .collect();
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
