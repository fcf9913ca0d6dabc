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
    serve_with(server_config(certificate, key, rustls::ALL_VERSIONS)).await
}

fn server_config(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

async fn serve_with(config: ServerConfig) -> Server {
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
        assert_eq!(failure.protocol.as_deref(), Some("TLSv1.3"));
        assert!(failure.cipher.is_some_and(|cipher| cipher.starts_with("TLS13_")));
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
async fn the_usual_self_signed_certificate_is_an_authority_and_called_self_signed() {
    let authority = Authority::new("root");
    let mut params = params("localhost", (2020, 2090));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let server = serve(params.self_signed(&key).unwrap().der().clone(), &key).await;
    assert_eq!(failure(&authority, &secure("localhost", &server)).await.kind, TlsFailureKind::SelfSigned);
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_of_a_bad_certificate() {
    let authority = Authority::new("root");
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let key = KeyPair::generate().unwrap();
        let own = params("localhost", (2020, 2090)).self_signed(&key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(own.der().clone(), &key, versions)));
        let (sender, mut heard) = tokio::sync::mpsc::channel(1);
        let server = Server::start(move |stream| {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            async move {
                let mut bytes = Vec::new();
                let mut stream = acceptor.accept(stream).await.unwrap();
                let ended = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await;
                sender.send((ended.is_ok(), bytes)).await.ok();
            }
        })
        .await;
        let failure = failure(&authority, &secure("localhost", &server)).await;
        assert_eq!(failure.kind, TlsFailureKind::SelfSigned);
        assert_eq!(
            failure.protocol.as_deref(),
            Some(if versions[0].version == rustls::ProtocolVersion::TLSv1_2 { "TLSv1.2" } else { "TLSv1.3" })
        );
        assert_eq!(heard.recv().await, Some((true, Vec::new())));
    }
}

#[tokio::test]
async fn a_bad_certificate_is_known_also_of_a_server_that_does_not_finish() {
    let authority = Authority::new("root");
    let key = KeyPair::generate().unwrap();
    let own = params("localhost", (2020, 2090)).self_signed(&key).unwrap();
    let config = Arc::new(server_config(own.der().clone(), &key, &[&rustls::version::TLS12]));
    // Shows its certificate and never answers what follows.
    let server = Server::start(move |mut stream| {
        let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
        async move {
            let mut hello = vec![0; 4096];
            let size = tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await.unwrap();
            session.read_tls(&mut &hello[..size]).unwrap();
            session.process_new_packets().unwrap();
            let mut flight = Vec::new();
            session.write_tls(&mut flight).unwrap();
            stream.write_all(&flight).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        }
    })
    .await;
    let failure = failure(&authority, &secure("localhost", &server)).await;
    assert_eq!((failure.kind, failure.protocol), (TlsFailureKind::SelfSigned, None));
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_of_ours_refuses_with_an_alert() {
    let authority = Authority::new("root");
    let key = KeyPair::generate().unwrap();
    let leaf = params("localhost", (2020, 2090)).signed_by(&key, &authority.0).unwrap();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let server = serve_with(config).await;
        let failure = failure(&authority, &secure("localhost", &server)).await;
        assert_eq!((failure.kind, failure.certificates.len()), (TlsFailureKind::Alert, 1), "{failure}");
    }
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
    assert!(rootless.without_roots().is_some_and(|said| said.contains("ca-certificates")));
    let error = rootless.connect_endpoint(&secure("localhost", &server)).await.err().unwrap();
    assert_eq!((error.class(), error.is_ours()), ("no_roots", true));
    match error {
        DialError::Tls(failure) => assert_eq!(failure.kind, TlsFailureKind::NoRoots),
        other => panic!("{other}"),
    }
}
