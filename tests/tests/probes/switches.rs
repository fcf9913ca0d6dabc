use bigbrotr_tests::{
    Relay, RelayOptions,
    relay::{Link, Mode},
};
use serde_json::json;

use crate::support::{add, checked, document, documents, last_check, options, start};

#[tokio::test]
async fn headers_of_the_upgrade_that_stay_are_kept() {
    let (cluster, client) = start(options(&[("bigbrotr.monitor_checks", "http")])).await;
    let lines = [
        ("Server", "nginx/1.25"),
        ("X-Powered-By", "strfry"),
        ("Via", "1.1 one"),
        ("via", "1.1 two"),
        ("Date", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("Set-Cookie", "id=1"),
        ("CF-RAY", "8a"),
        ("Strict-Transport-Security", "max-age=63072000"),
        ("Alt-Svc", "h3=\":443\"; ma=86400"),
    ];
    let upgrade_headers = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let link = Link { upgrade_headers, ..Link::default() };
    let relay = Relay::start(RelayOptions { link, ..RelayOptions::default() });
    let bare = Relay::start(RelayOptions::default());
    let (id, bare_id) = (add(&client, &relay.url()).await, add(&client, &bare.url()).await);
    checked(&cluster, &client, id, 2).await;
    checked(&cluster, &client, bare_id, 1).await;
    let expected = json!({
        "server": "nginx/1.25", "x-powered-by": "strfry", "via": "1.1 one, 1.1 two",
        "strict-transport-security": "max-age=63072000", "alt-svc": "h3=\":443\"; ma=86400",
    });
    assert_eq!(document(&client, id, "nip66_http").await, expected);
    assert!(documents(&client, bare_id, "nip66_http").await.is_empty());
    // Nothing but the connection was asked for.
    let served = relay.served();
    assert_eq!((served.reqs, served.documents), (0, 0), "{served:?}");
    assert!(last_check(&client, id).await.0);
}

#[tokio::test]
async fn one_connection_serves_all_checks_but_the_document() {
    let (cluster, client) = start(options(&[])).await;
    let relay = Relay::start(RelayOptions::default());
    let silent = Relay::start(RelayOptions { mode: Mode::SilentTcp, ..RelayOptions::default() });
    let (id, silent_id) = (add(&client, &relay.url()).await, add(&client, &silent.url()).await);
    checked(&cluster, &client, id, 3).await;
    checked(&cluster, &client, silent_id, 1).await;
    let checks: i64 = client
        .query_one("SELECT count(*) FROM bigbrotr.relay_check WHERE relay_id = $1", &[&id])
        .await
        .expect("a count")
        .get(0);
    let served = relay.served();
    let (checks, most) = (u64::try_from(checks).expect("positive"), u64::try_from(checks).expect("positive") + 1);
    assert!((checks..=most).contains(&served.websockets), "{checks} checks: {served:?}");
    assert!(served.connections <= 2 * most, "{served:?}");
    assert_eq!(last_check(&client, silent_id).await.2.as_deref(), Some("silence"));
}
