//! TLS in front of a test relay, with certificates good and bad, and openssl's server for what rustls does not serve.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener as StdListener},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

/// Years a good certificate is valid in.
pub const GOOD_YEARS: (i32, i32) = (2020, 2090);

/// Somebody who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate chain with its key.
#[derive(Clone)]
pub struct Identity {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8.
    pub key: Vec<u8>,
    /// Both as PEM, for openssl.
    pub pem: String,
}

fn params(name: &str, (from, to): (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params
}

fn identity(certificate: &rcgen::Certificate, key: &KeyPair) -> Identity {
    Identity {
        chain: vec![certificate.der().to_vec()],
        key: key.serialize_der(),
        pem: pem("CERTIFICATE", certificate.der()) + &pem("PRIVATE KEY", &key.serialize_der()),
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * at) & 63];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A certificate that signed itself.
///
/// # Panics
/// If it cannot be made.
pub fn self_signed(name: &str) -> Identity {
    let key = KeyPair::generate().expect("a key");
    identity(&params(name, GOOD_YEARS).self_signed(&key).expect("a certificate"), &key)
}

impl Authority {
    /// An authority of this name.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(name: &str) -> Self {
        let mut params = params(name, GOOD_YEARS);
        params.subject_alt_names.clear();
        params.use_authority_key_identifier_extension = false;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    /// A certificate for `name`, valid in the years given.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn issue(&self, name: &str, years: (i32, i32)) -> Identity {
        let key = KeyPair::generate().expect("a key");
        identity(&params(name, years).signed_by(&key, &self.0).expect("a certificate"), &key)
    }

    fn root(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        roots
    }
}

/// TLS before a plain server; it ends with this.
pub struct TlsFront {
    port: u16,
    task: AbortHandle,
}

impl TlsFront {
    /// Starts it on the runtime of the caller. `clients`: whose certificates clients must show.
    ///
    /// # Panics
    /// If the certificate does not fit its key, or no port is free.
    pub async fn start(
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
        behind: SocketAddr,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(versions).expect("versions of rustls");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.root()), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::try_from(identity.key.clone()).expect("PKCS#8");
        let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a pair")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(mut secure) = acceptor.accept(stream).await
                        && let Ok(mut plain) = TcpStream::connect(behind).await
                    {
                        let _ = copy_bidirectional(&mut secure, &mut plain).await;
                    }
                });
            }
        });
        Self { port, task: task.abort_handle() }
    }

    /// The relay's URL under a host name that leads to loopback.
    pub fn url(&self, host: &str) -> String {
        format!("wss://{host}:{}", self.port)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `openssl s_server`; it ends with this.
pub struct Openssl {
    port: u16,
    process: Child,
    _pem: tempfile::NamedTempFile,
}

impl Openssl {
    /// Starts it with these further arguments; `None` if there is no openssl here, or it cannot do that.
    ///
    /// # Panics
    /// If it does not listen within 10 s.
    pub fn start(identity: &Identity, arguments: &[&str]) -> Option<Self> {
        let pem = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(pem.path(), &identity.pem).expect("written");
        // Free a moment ago; openssl takes no port of the system's choice.
        let port = StdListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}"), "-cert"]).arg(pem.path());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().ok()?;
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Ok(Some(status)) = process.try_wait() {
                let mut said = String::new();
                let _ = process.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
                eprintln!("openssl s_server {arguments:?} ended with {status}: {said}");
                return None;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "openssl s_server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { port, process, _pem: pem })
    }

    /// The URL under a host name that leads to loopback.
    pub fn url(&self, host: &str) -> String {
        format!("wss://{host}:{}", self.port)
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
