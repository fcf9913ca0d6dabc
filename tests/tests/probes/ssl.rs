use bigbrotr_tests::{
    Relay, RelayOptions,
    relay::{Document, Mode},
    tls::{Authority, GOOD_YEARS, Identity, Openssl, TlsFront, self_signed},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{add, checked, document, documents, last_check, options, public_file, start};

const BOTH: Versions = rustls::ALL_VERSIONS;
const TLS12: Versions = &[&rustls::version::TLS12];

/// Host, certificate, protocols, whether the server wants a certificate of ours, what is wrong, protocol agreed on.
type Case = (&'static str, Identity, Versions, bool, Option<&'static str>, Option<&'static str>);
type Versions = &'static [&'static rustls::SupportedProtocolVersion];

fn member<'a>(document: &'a Value, key: &str) -> &'a Value {
    document.get(key).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn every_certificate_has_its_row() {
    let (trusted, stranger) = (Authority::new("trusted root"), Authority::new("a stranger"));
    let roots = public_file(trusted.pem().as_bytes());
    let settings = [("bigbrotr.monitor_checks", "rtt,ssl")];
    let options = options(&settings).with_env("SSL_CERT_FILE", &roots.path().to_string_lossy());
    let (cluster, client) = start(options).await;
    let relay = Relay::start(RelayOptions::default());
    let page = Mode::Http(Document::html(404, "<html>no relay</html>"));
    let page = Relay::start(RelayOptions { mode: page, ..RelayOptions::default() });

    let good = |name: &str| trusted.issue(name, GOOD_YEARS);
    let mut fronts = Vec::new();
    let mut cases: Vec<(i32, &str, Option<&str>, Option<&str>)> = Vec::new();
    let table: Vec<Case> = vec![
        ("good", good("good.localhost"), BOTH, false, None, Some("TLSv1.3")),
        ("older", good("older.localhost"), TLS12, false, None, Some("TLSv1.2")),
        ("expired", trusted.issue("expired.localhost", (2000, 2001)), BOTH, false, Some("expired"), Some("TLSv1.3")),
        ("early", trusted.issue("early.localhost", (2080, 2090)), BOTH, false, Some("not_yet_valid"), Some("TLSv1.3")),
        ("own", self_signed("own.localhost"), BOTH, false, Some("self_signed"), Some("TLSv1.3")),
        ("own12", self_signed("own12.localhost"), TLS12, false, Some("self_signed"), Some("TLSv1.2")),
        ("name", good("other.example"), BOTH, false, Some("wrong_name"), Some("TLSv1.3")),
        (
            "issuer",
            stranger.issue("issuer.localhost", GOOD_YEARS),
            BOTH,
            false,
            Some("unknown_issuer"),
            Some("TLSv1.3"),
        ),
        ("clients", good("clients.localhost"), BOTH, true, Some("alert"), Some("TLSv1.3")),
    ];
    for (host, identity, versions, wants_ours, error, protocol) in table {
        let clients = wants_ours.then_some(&trusted);
        let front = TlsFront::start(&identity, versions, clients, relay.address()).await;
        let id = add(&client, &front.url(&format!("{host}.localhost"))).await;
        cases.push((id, host, error, protocol));
        fronts.push(front);
    }
    for (id, host, error, protocol) in &cases {
        checked(&cluster, &client, *id, 2).await;
        let row = document(&client, *id, "nip66_ssl").await;
        assert_eq!(member(&row, "valid"), &json!(error.is_none()), "{host}: {row}");
        assert_eq!(member(&row, "error").as_str(), *error, "{host}: {row}");
        assert_eq!(member(&row, "protocol").as_str(), *protocol, "{host}: {row}");
        let (ok, _, class, text) = last_check(&client, *id).await;
        assert_eq!((ok, class.as_deref()), (error.is_none(), error.map(|_| "tls")), "{host}: {text:?}");
        for key in ["cipher", "subject", "issuer", "not_before", "not_after", "sans", "serial", "fingerprint"] {
            assert_ne!(member(&row, key), &Value::Null, "{host}: {key} of {row}");
        }
        assert_eq!(member(&row, "key_algorithm"), "EC", "{host}");
    }
    let row = document(&client, cases[0].0, "nip66_ssl").await;
    assert_eq!(member(&row, "subject_cn"), "good.localhost");
    assert_eq!(member(&row, "issuer"), "CN=trusted root");
    assert_eq!(member(&row, "sans"), &json!(["good.localhost"]));
    assert_eq!(member(&row, "not_before"), 1_577_836_800);
    assert_eq!(member(&row, "not_after"), 3_786_912_000_i64);
    assert_eq!((member(&row, "key_bits"), member(&row, "chain_length")), (&json!(256), &json!(1)));
    assert_eq!(member(&row, "signature_algorithm"), "ecdsa-with-SHA256");
    assert_eq!(member(&row, "fingerprint").as_str().map(str::len), Some(64));
    // What it says is in the words of the check too.
    let (.., text) = last_check(&client, cases[2].0).await;
    assert!(text.as_deref().is_some_and(|text| text.contains("expired")), "{text:?}");

    // The certificate of a web page is as good as any.
    let front = TlsFront::start(&good("page.localhost"), BOTH, None, page.address()).await;
    let id = add(&client, &front.url("page.localhost")).await;
    checked(&cluster, &client, id, 1).await;
    assert_eq!(member(&document(&client, id, "nip66_ssl").await, "valid"), true);
    assert_eq!(last_check(&client, id).await.2.as_deref(), Some("http"));
    // Without TLS there is no row; what does not speak it where it should has one.
    let plain = add(&client, &relay.url()).await;
    let mumbling = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let not_tls = add(&client, &format!("wss://{}", mumbling.local_addr().expect("bound"))).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = mumbling.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            // Closed by the other side, so that nothing is lost of it.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    checked(&cluster, &client, plain, 1).await;
    checked(&cluster, &client, not_tls, 1).await;
    assert!(documents(&client, plain, "nip66_ssl").await.is_empty());
    let row = document(&client, not_tls, "nip66_ssl").await;
    assert_eq!(row, json!({"valid": false, "error": "not_tls"}));
}

#[tokio::test]
async fn protocols_that_are_too_old_are_said_to_be() {
    let trusted = Authority::new("trusted root");
    let roots = public_file(trusted.pem().as_bytes());
    let settings = [("bigbrotr.monitor_checks", "ssl")];
    let options = options(&settings).with_env("SSL_CERT_FILE", &roots.path().to_string_lossy());
    let (cluster, client) = start(options).await;
    let identity = trusted.issue("old.localhost", GOOD_YEARS);
    let mut tried = 0;
    for arguments in [
        &["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
        // Ciphers without forward secrecy in the form of GCM, which nobody serious offers alone any more.
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
    ] {
        let Some(server) = Openssl::start(&identity, arguments) else { continue };
        tried += 1;
        let id = add(&client, &server.url("old.localhost")).await;
        checked(&cluster, &client, id, 1).await;
        let row = document(&client, id, "nip66_ssl").await;
        assert_eq!(row, json!({"valid": false, "error": "incompatible"}), "{arguments:?}");
        let (ok, _, class, text) = last_check(&client, id).await;
        assert_eq!((ok, class.as_deref()), (false, Some("tls")), "{text:?}");
        assert!(text.as_deref().is_some_and(|text| text.contains("no common protocol")), "{text:?}");
    }
    if tried == 0 {
        eprintln!("SKIPPED: there is no openssl here that serves protocols this old; scripts/deps installs one");
    }
}
