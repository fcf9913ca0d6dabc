//! A verifier that judges as webpki does, remembers what it was shown and lets the handshake go on, so that the protocol of a server with a
//! bad certificate is known too. Who uses it must ask for the [`CapturingVerifier::verdict`] before anything is sent.

use rustls::{
    DigitallySignedStruct, Error as RustlsError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Certificates kept of a chain; a leaf, two intermediates and a needless root are usual.
const MAX_CERTIFICATES: usize = 8;
/// Bytes kept of one certificate.
const MAX_CERTIFICATE: usize = 64 * 1024;

/// The verifier of one connection.
#[derive(Debug)]
pub(super) struct CapturingVerifier {
    inner: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
    condemned: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<Vec<u8>>,
    verdict: Verdict,
}

/// What webpki says of the certificate.
#[derive(Debug, Clone, Default)]
pub(super) enum Verdict {
    /// Nothing yet: none was shown.
    #[default]
    None,
    /// Good.
    Good,
    /// Bad, and why.
    Bad(RustlsError),
}

impl CapturingVerifier {
    pub(super) fn new(inner: Arc<WebPkiServerVerifier>, provider: Arc<CryptoProvider>) -> Self {
        Self { inner, provider, seen: Mutex::default(), condemned: Notify::new() }
    }

    /// The server's chain in DER, leaf first.
    pub(super) fn take_chain(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.lock().chain)
    }

    /// Whether the certificate is good. Anything else than [`Verdict::Good`] must end the connection.
    pub(super) fn verdict(&self) -> Verdict {
        self.lock().verdict.clone()
    }

    /// Resolves once the certificate was found to be bad.
    pub(super) async fn condemned(&self) {
        self.condemned.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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
        let verdict = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let mut seen = self.lock();
        seen.chain = std::iter::once(end_entity)
            .chain(intermediates)
            .take(MAX_CERTIFICATES)
            .filter(|der| der.len() <= MAX_CERTIFICATE)
            .map(|der| der.to_vec())
            .collect();
        match verdict {
            Ok(_) => seen.verdict = Verdict::Good,
            Err(error) => {
                seen.verdict = Verdict::Bad(error);
                self.condemned.notify_one();
            }
        }
        Ok(ServerCertVerified::assertion())
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
