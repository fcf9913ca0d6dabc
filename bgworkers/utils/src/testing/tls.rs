use super::servers::{Server, config, dialer, dialer_trusting, echo, endpoint};
use crate::{DialError, Endpoint, Frame, TlsFailure, TlsFailureKind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> Vec<CertificateDer<'static>> {
        vec![self.0.der().clone()]
    }

    /// A server with a certificate for `name`, valid in the years given.
    async fn relay(&self, name: &str, years: (i32, i32)) -> Server {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, years).signed_by(&key, &self.0).unwrap();
        serve(certificate.der().clone(), &key).await
    }
}

fn params(name: &str, (from, to): (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

async fn serve(certificate: CertificateDer<'static>, key: &KeyPair) -> Server {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await
                && let Ok(socket) = tokio_tungstenite::accept_async(stream).await
            {
                echo(socket).await;
            }
        }
    })
    .await
}

fn secure(host: &str, server: &Server) -> Endpoint {
    Endpoint { tls: true, ..endpoint(host, server.port) }
}

async fn failure(authority: &Authority, endpoint: &Endpoint) -> TlsFailure {
    match dialer_trusting(config(), authority.root()).connect_endpoint(endpoint).await.err().unwrap() {
        DialError::Tls(failure) => *failure,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_trusted_relay_opens_and_shows_its_certificate_by_name_and_by_address() {
    let authority = Authority::new("root");
    for host in ["localhost", "127.0.0.1"] {
        let server = authority.relay(host, (2020, 2090)).await;
        let dialer = dialer_trusting(config(), authority.root());
        let (mut connection, info) = dialer.connect_endpoint(&secure(host, &server)).await.unwrap();
        connection.send_text("x".into()).await.unwrap();
        assert_eq!(connection.recv().await.unwrap(), Frame::Text("x".into()));
        let tls = info.tls.unwrap();
        assert_eq!((tls.protocol.as_str(), tls.certificates.len()), ("TLSv1.3", 1));
        assert!(tls.cipher.starts_with("TLS13_"), "{}", tls.cipher);
    }
}

#[tokio::test]
async fn bad_certificates_are_told_apart_and_kept() {
    let authority = Authority::new("root");
    for (years, kind) in [((2000, 2001), TlsFailureKind::Expired), ((2080, 2090), TlsFailureKind::NotYetValid)] {
        let server = authority.relay("localhost", years).await;
        let failure = failure(&authority, &secure("localhost", &server)).await;
        assert_eq!((failure.kind, failure.certificates.len()), (kind, 1), "{failure}");
    }
    let server = authority.relay("relay.example", (2020, 2090)).await;
    assert_eq!(failure(&authority, &secure("localhost", &server)).await.kind, TlsFailureKind::WrongName);
    let server = Authority::new("stranger").relay("localhost", (2020, 2090)).await;
    assert_eq!(failure(&authority, &secure("localhost", &server)).await.kind, TlsFailureKind::UnknownIssuer);
    let key = KeyPair::generate().unwrap();
    let own = params("localhost", (2020, 2090)).self_signed(&key).unwrap();
    let server = serve(own.der().clone(), &key).await;
    let failure = failure(&authority, &secure("localhost", &server)).await;
    assert_eq!((failure.kind, failure.certificates.len()), (TlsFailureKind::SelfSigned, 1), "{failure}");
}

#[tokio::test]
async fn what_does_not_speak_tls_is_said_so() {
    let authority = Authority::new("root");
    let plain = Server::start(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    })
    .await;
    assert_eq!(failure(&authority, &secure("localhost", &plain)).await.kind, TlsFailureKind::NotTls);
    let closing = Server::start(|stream| async move { drop(stream) }).await;
    assert_eq!(failure(&authority, &secure("localhost", &closing)).await.kind, TlsFailureKind::Closed);
    let silent = Server::start(|stream| async move {
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let dialer = dialer_trusting(config(), authority.root());
    let error = dialer.connect_endpoint(&secure("localhost", &silent)).await.err().unwrap();
    assert_eq!(error, DialError::Timeout { stage: crate::Stage::Tls, after: config().connect_timeout });
}

#[tokio::test]
async fn without_roots_tls_fails_and_plain_connections_work() {
    let server = Server::websocket(echo).await;
    let rootless = dialer(config());
    assert!(rootless.connect_endpoint(&server.endpoint()).await.is_ok());
    match rootless.connect_endpoint(&secure("localhost", &server)).await.err().unwrap() {
        DialError::Tls(failure) => assert_eq!(failure.kind, TlsFailureKind::NoRoots),
        other => panic!("{other}"),
    }
}
