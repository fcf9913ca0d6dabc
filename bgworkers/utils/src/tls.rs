//! TLS with rustls and ring, verified against the system's roots, keeping the certificates the server showed, good or bad.

mod failure;
mod verifier;

pub use failure::{TlsFailure, TlsFailureKind};

use crate::{
    certificate,
    endpoint::EndpointHost,
    error::{DialError, clip},
};
use rustls::{
    ClientConfig, ClientConnection, Error as RustlsError, RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use verifier::{CapturingVerifier, Verdict};

/// How long the rest of a handshake may take once the certificate is known to be bad; it only shows protocol and cipher.
const CONDEMNED_LIMIT: Duration = Duration::from_secs(1);

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

    /// Why no certificate can be verified here; `None`: some can.
    pub(crate) fn without_roots(&self) -> Option<&str> {
        self.verifier.as_ref().err().map(String::as_str)
    }

    /// Shakes hands over `stream`. The caller limits the time.
    ///
    /// The handshake with a server of a bad certificate is finished, so that its protocol is known, and nothing is sent after it.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &EndpointHost,
    ) -> Result<(TlsStream<TcpStream>, TlsInfo), DialError> {
        let ours = |kind, detail: &str| {
            let (certificates, protocol, cipher) = (Vec::new(), None, None);
            DialError::Tls(Box::new(TlsFailure { kind, detail: clip(detail), certificates, protocol, cipher }))
        };
        let verifier = match &self.verifier {
            Ok(verifier) => verifier.clone(),
            Err(detail) => return Err(ours(TlsFailureKind::NoRoots, detail)),
        };
        let name = match host {
            EndpointHost::Ip(ip) => ServerName::IpAddress((*ip).into()),
            EndpointHost::Name(name) => ServerName::try_from(name.clone())
                .map_err(|error| ours(TlsFailureKind::WrongName, &error.to_string()))?,
        };
        // A config of its own for each connection, so that the certificates captured are this connection's. It is a few Arcs.
        let capture = Arc::new(CapturingVerifier::new(verifier, self.provider.clone()));
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| ours(TlsFailureKind::Other, &error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(capture.clone())
            .with_no_client_auth();
        // A resumed session would show no certificate, and the memory of sessions grows with strangers.
        config.resumption = Resumption::disabled();

        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let shaken = shake(handshake, &capture).await;
        let verdict = capture.verdict();
        let certificates = capture.take_chain();
        match (shaken, verdict) {
            (Some(Ok(stream)), Verdict::Good) => {
                let (protocol, cipher) = agreed(stream.get_ref().1);
                Ok((stream, TlsInfo { protocol, cipher, certificates }))
            }
            (shaken, Verdict::Bad(error)) => {
                let mut failure = TlsFailure { certificates, ..TlsFailure::of(&error) };
                // Those that openssl makes by default are an authority's too, which webpki objects to first.
                if matches!(failure.kind, TlsFailureKind::UnknownIssuer | TlsFailureKind::BadCertificate)
                    && failure.certificates.first().is_some_and(|leaf| certificate::is_self_signed(leaf))
                {
                    failure.kind = TlsFailureKind::SelfSigned;
                }
                if let Some(Ok(mut stream)) = shaken {
                    let (protocol, cipher) = agreed(stream.get_ref().1);
                    (failure.protocol, failure.cipher) = (Some(protocol), Some(cipher));
                    let _ = timeout(CONDEMNED_LIMIT, stream.shutdown()).await;
                }
                Err(DialError::Tls(Box::new(failure)))
            }
            (Some(Err(error)), _) => Err(DialError::Tls(Box::new(TlsFailure { certificates, ..failed(&error) }))),
            // Every server has to show a certificate, as no pre-shared keys are offered.
            (_, Verdict::None | Verdict::Good) => Err(ours(TlsFailureKind::Other, "no certificate was shown")),
        }
    }
}

/// The handshake, or nothing if it goes on for too long after the certificate was found to be bad.
async fn shake<T>(handshake: impl Future<Output = T>, capture: &CapturingVerifier) -> Option<T> {
    let mut handshake = std::pin::pin!(handshake);
    tokio::select! {
        biased;
        shaken = &mut handshake => Some(shaken),
        () = capture.condemned() => timeout(CONDEMNED_LIMIT, handshake).await.ok(),
    }
}

/// Protocol and cipher suite of a finished handshake.
fn agreed(session: &ClientConnection) -> (String, String) {
    let protocol = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
        other => format!("{other:?}"),
    };
    let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    (protocol, cipher)
}

fn failed(error: &io::Error) -> TlsFailure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>()) {
        Some(error) => TlsFailure::of(error),
        None => TlsFailure {
            kind: TlsFailureKind::Closed,
            detail: clip(&error.to_string()),
            certificates: Vec::new(),
            protocol: None,
            cipher: None,
        },
    }
}
