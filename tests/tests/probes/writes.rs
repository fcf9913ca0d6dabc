use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use bigbrotr_tests::{
    Relay, RelayHandle, RelayOptions,
    relay::{Auth, Document, Write},
};

use crate::support::{SOON, add, checked, last_check, options, start};

/// A key file only root and the server's user may read.
fn key_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "7".repeat(64)).expect("written");
    let server = fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).expect("a user");
    if server == 0 {
        // Root's files may be open to a group: the server's.
        let gid = std::process::Command::new("id").args(["-g", "postgres"]).output().expect("id");
        let gid = String::from_utf8_lossy(&gid.stdout).trim().parse().expect("a group");
        std::os::unix::fs::chown(file.path(), None, Some(gid)).expect("given to the group");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).expect("opened to the group");
    }
    file
}

fn relay(write: Write, nip11: Option<Document>) -> RelayHandle {
    Relay::start(RelayOptions { write, nip11, ..RelayOptions::default() })
}

fn limitation(text: &str) -> Option<Document> {
    Some(Document::nip11(format!(r#"{{"name":"limited","limitation":{text}}}"#)))
}

#[tokio::test]
async fn writing_is_judged_by_the_ok_and_only_where_it_is_allowed() {
    let key = key_file();
    let settings = [("bigbrotr.secret_key_file", &*key.path().to_string_lossy())];
    let (cluster, client) = start(options(&settings)).await;
    let plain = || Some(Document::default());
    let refusing = |text: &str| relay(Write::Refuse(text.to_owned()), plain());
    let auth = Relay::start(RelayOptions { auth: Auth::Required, ..RelayOptions::default() });
    // The relay, whether write_ms is there, what the check says, whether an event was sent.
    let cases: Vec<(RelayHandle, bool, Option<&str>, bool)> = vec![
        (relay(Write::Store, plain()), true, None, true),
        (relay(Write::Store, None), true, None, true),
        (relay(Write::Store, limitation("null")), true, None, true),
        (relay(Write::Store, limitation(r#"{"min_pow_difficulty":10}"#)), true, None, true),
        (refusing("blocked: not you"), false, Some("write: blocked: not you"), true),
        // An event made a moment ago is nobody's duplicate.
        (refusing("duplicate: have it"), false, Some("write: duplicate: have it"), true),
        (relay(Write::Closed("error: no".to_owned()), plain()), false, Some("write: CLOSED error: no"), true),
        (refusing("auth-required: who?"), false, Some("write: auth-required: who?"), true),
        (relay(Write::Silent, plain()), false, Some("write: no OK within 1000 ms"), true),
        (relay(Write::OtherId, plain()), false, Some("write: no OK within 1000 ms"), true),
        (relay(Write::Notice("not here".to_owned()), plain()), false, Some("write: NOTICE not here"), true),
        (auth, false, Some("CLOSED auth-required: "), false),
        (relay(Write::Store, limitation(r#"[{"restricted_writes":true}]"#)), false, None, false),
        (relay(Write::Store, limitation(r#"{"payment_required":"on"}"#)), false, None, false),
        (relay(Write::Store, limitation(r#"{"payment_required":"it depends"}"#)), false, None, false),
        (relay(Write::Store, limitation(r#"{"payment_required":null,"auth_required":"off"}"#)), true, None, true),
        (relay(Write::Store, limitation(r#"{"restricted_writes":true}"#)), false, None, false),
        (relay(Write::Store, limitation(r#"{"payment_required":"true"}"#)), false, None, false),
        (relay(Write::Store, limitation(r#"{"auth_required":1}"#)), false, None, false),
        (relay(Write::Store, limitation(r#"{"min_pow_difficulty":40}"#)), false, None, false),
        (relay(Write::Store, Some(Document::html(503, "busy"))), false, None, false),
        (relay(Write::Store, Some(Document::html(200, "<html>"))), false, None, false),
    ];
    let mut ids = Vec::new();
    for (relay, ..) in &cases {
        ids.push(add(&client, &relay.url()).await);
    }
    for ((relay, written, said, sent), id) in cases.iter().zip(ids) {
        checked(&cluster, &client, id, 2).await;
        let (ok, wrote, class, text) = last_check(&client, id).await;
        let case = format!("{:?} {said:?}: {text:?}", relay.options().write);
        assert_eq!((ok, class, wrote), (true, None, *written), "{case}");
        match said {
            Some(said) => assert!(text.as_deref().is_some_and(|text| text.starts_with(said)), "{case}"),
            None => assert_eq!(text, None, "{case}"),
        }
        let served = relay.served();
        assert_eq!(served.publishes > 0, *sent, "{case}");
        assert!(served.publishes <= served.websockets, "one event a check: {served:?}");
        assert!(served.open_peak <= 2);
    }
    let counts = "SELECT sum((detail ->> 'written')::int) > 0 AND sum((detail ->> 'write_refused')::int) > 0
                         AND sum((detail ->> 'write_not_tried')::int) > 0 FROM bigbrotr.stat_cycles";
    cluster.wait_for(&client, counts, SOON, "the counts").await;
}

#[tokio::test]
async fn without_a_key_or_when_switched_off_nothing_is_written() {
    let key = key_file();
    let path = key.path().to_string_lossy().into_owned();
    for settings in [
        vec![],
        vec![("bigbrotr.secret_key_file", path.as_str()), ("bigbrotr.write_check_enabled", "off")],
        vec![("bigbrotr.secret_key_file", path.as_str()), ("bigbrotr.monitor_checks", "rtt")],
        vec![("bigbrotr.secret_key_file", "/nowhere/at/all")],
    ] {
        let (cluster, client) = start(options(&settings)).await;
        let relay = relay(Write::Store, Some(Document::default()));
        let id = add(&client, &relay.url()).await;
        checked(&cluster, &client, id, 2).await;
        assert_eq!(relay.served().publishes, 0, "{settings:?}");
        assert!(last_check(&client, id).await.0);
        if settings.iter().any(|(_, value)| value.starts_with("/nowhere")) {
            let said = "SELECT detail -> 'off' ->> 'write' = 'bigbrotr.secret_key_file cannot be used' FROM bigbrotr.stat_cycles ORDER BY id DESC LIMIT 1";
            cluster.wait_for(&client, said, Duration::from_secs(10), "the reason").await;
        }
    }
}
