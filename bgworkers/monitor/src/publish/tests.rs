//! What needs neither a database nor a relay.

use std::time::Duration;

use bigbrotr_core::{Config, Row, Value};
use bigbrotr_models::{AddressPolicy, RelayUrl, Signer};

use super::auth::Auth;
use super::due::Due;
use super::plan::{Plan, is_private};

fn config(relays: &[&str]) -> Config {
    Config {
        publish_enabled: true,
        publish_relays: relays.iter().map(|relay| (*relay).to_owned()).collect(),
        ..Config::default()
    }
}

/// With a key file of its own.
fn planned(mut config: Config) -> Plan {
    use std::os::unix::fs::PermissionsExt;
    let path =
        std::env::temp_dir().join(format!("bigbrotr-publish-{}-{:x}", std::process::id(), rand::random::<u64>()));
    std::fs::write(&path, "07".repeat(32)).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("changed");
    config.secret_key_file = Some(path.to_string_lossy().into_owned());
    let plan = Plan::new(&config);
    std::fs::remove_file(&path).expect("removed");
    plan.expect("a key").expect("a plan").0
}

fn values(plan: &Plan, kind: u16, name: &str) -> Vec<String> {
    let own = plan.own.iter().find(|draft| draft.kind == kind).expect("that kind");
    own.tags.iter().filter(|tag| tag[0] == name).map(|tag| tag[1..].join(" ")).collect()
}

#[test]
fn nothing_is_planned_unless_somebody_asked_for_it() {
    assert!(matches!(Plan::new(&Config::default()), Ok(None)));
    assert!(matches!(Plan::new(&config(&[])), Ok(None)));
    let off = Config { publish_enabled: false, ..config(&["wss://relay.damus.io"]) };
    assert!(matches!(Plan::new(&off), Ok(None)));
}

#[test]
fn a_key_that_cannot_be_used_is_explained_without_it() {
    let error = Plan::new(&config(&["wss://relay.damus.io"])).expect_err("no file");
    assert!(error.contains("bigbrotr.secret_key_file is not set") && error.contains("HINT"), "{error}");
    let missing = Config { secret_key_file: Some("/nowhere/key".into()), ..config(&["wss://relay.damus.io"]) };
    let error = Plan::new(&missing).expect_err("no file");
    assert!(error.contains("/nowhere/key") && error.contains("HINT"), "{error}");
}

#[test]
fn targets_are_few_distinct_and_allowed() {
    let mut urls =
        vec!["wss://relay.damus.io/".to_owned(), "wss://relay.damus.io".to_owned(), "ws://127.0.0.1:7".to_owned()];
    urls.extend((0..30).map(|n| format!("wss://relay-{n}.com")));
    let plan = planned(config(&urls.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(plan.targets.len(), 20);
    assert_eq!(plan.targets[1].url.as_str(), "wss://relay-0.com");
    assert_eq!(plan.remarks.len(), 12, "{:?}", plan.remarks);
    assert!(plan.remarks[0].contains("127.0.0.1"), "{:?}", plan.remarks);
    let error = Plan::new(&config(&["ws://127.0.0.1:7"])).expect_err("nowhere to publish to");
    assert!(error.contains("127.0.0.1"), "{error}");
}

#[test]
fn the_announcement_names_what_runs() {
    let plan = planned(config(&["wss://relay.damus.io"]));
    assert_eq!(values(&plan, 10166, "c"), ["open", "read", "write", "nip11", "ssl", "dns", "http"]);
    assert_eq!(values(&plan, 10166, "frequency"), ["3600"]);
    assert_eq!(values(&plan, 10166, "timeout")[0], "10000 open");
    let some = Config {
        monitor_checks: vec!["nip11".into(), "geo".into(), "net".into()],
        geoip_city_file: Some("city.mmdb".into()),
        publish_interval: Some(Duration::from_secs(60)),
        monitor_geohash: Some("u33".into()),
        ..config(&["wss://relay.damus.io"])
    };
    let plan = planned(some);
    assert_eq!(values(&plan, 10166, "c"), ["nip11", "geo"]);
    assert_eq!(values(&plan, 10166, "frequency"), ["3600"], "not more often than relays are checked");
    assert_eq!(values(&plan, 10166, "g"), ["u33", "u3", "u"]);
}

#[test]
fn an_empty_profile_is_not_published() {
    let described = Config { monitor_profile: Some("{}".into()), ..config(&["wss://relay.damus.io"]) };
    assert_eq!(planned(described).own.iter().map(|draft| draft.kind).collect::<Vec<_>>(), [0, 10002, 10166]);
    let plan = planned(config(&["wss://relay.damus.io"]));
    assert_eq!(plan.own.iter().map(|draft| draft.kind).collect::<Vec<_>>(), [10002, 10166]);
}

#[test]
fn the_public_is_not_told_of_private_publish_relays() {
    let policy = AddressPolicy { allow_private: true };
    let mixed = Config { address_policy: policy, ..config(&["ws://127.0.0.1:7", "wss://relay.damus.io"]) };
    assert_eq!(values(&planned(mixed), 10002, "r"), ["wss://relay.damus.io"]);
    let private = Config { address_policy: policy, ..config(&["ws://127.0.0.1:7"]) };
    assert_eq!(values(&planned(private), 10002, "r"), ["ws://127.0.0.1:7"]);
    for (url, expected) in [
        ("ws://localhost", true),
        ("wss://db", true),
        ("wss://nas.local", true),
        ("ws://10.1.2.3", true),
        ("ws://[::1]", true),
        ("wss://relay.damus.io", false),
        ("ws://8.8.8.8", false),
    ] {
        assert_eq!(is_private(&RelayUrl::parse(url, policy).expect("a URL")), expected, "{url}");
    }
}

fn row(url: &str, dns: &str) -> Row {
    let text = |text: &str| Value::Text(Some(text.to_owned()));
    Row(vec![
        Value::Int(7),
        text(url),
        Value::BigInt(1_700_000_000_900_000),
        Value::Float(12.4),
        Value::Null,
        Value::Null,
        Value::Bool(true),
        text(r#"{"supported_nips":[1]}"#),
        text(dns),
        text(r#"{"country":"DE","geohash":"u33dc0","accuracy_km":5}"#),
        text(r#"{"asn_v6":24940}"#),
        Value::Bytea(Some(vec![1])),
        Value::BigInt(1_700_000_000),
        Value::Null,
        Value::Bool(true),
    ])
}

#[test]
fn a_row_becomes_a_report() {
    let due = Due::read(&row("wss://relay.damus.io", "{}"), AddressPolicy::default()).expect("read");
    assert_eq!(due.created_at(), 1_700_000_001, "later than the one before");
    let report = due.report.expect("a report");
    assert!(!report.is_private);
    let tags: Vec<_> = report.draft.tags.iter().map(|tag| tag.join(" ")).collect();
    let expected = [
        "d wss://relay.damus.io/",
        "n clearnet",
        "rtt-open 12",
        "N 1",
        "R auth",
        "g u33dc",
        "g u33d",
        "g u33",
        "g u3",
        "g u",
        "L ISO-3166-1",
        "l DE ISO-3166-1",
        "L host.as",
        "l AS24940 host.as",
    ];
    assert_eq!(tags, expected);
    assert!(Due::read(&row("nonsense", "{}"), AddressPolicy::default()).expect("read").report.is_none());
}

#[test]
fn a_name_that_leads_inside_is_private() {
    for (dns, expected) in [
        (r#"{"a":["8.8.8.8"]}"#, false),
        (r#"{"a":["8.8.8.8","10.0.0.1"]}"#, true),
        (r#"{"aaaa":["fd00::1"]}"#, true),
        (r#"{"a":"x","aaaa":[7,null]}"#, false),
        ("[]", false),
    ] {
        let due = Due::read(&row("wss://relay.damus.io", dns), AddressPolicy::default()).expect("read");
        assert_eq!(due.report.expect("a report").is_private, expected, "{dns}");
    }
}

fn auth() -> Auth {
    Auth::new(Signer::new(&[3; 32]), "wss://relay.example/".to_owned())
}

#[test]
fn a_challenge_is_answered_when_the_relay_wants_it() {
    let patience = Duration::from_secs(5);
    let mut auth = auth();
    auth.challenged("old");
    auth.challenged("new");
    assert!(auth.answer(1, patience).is_none() && !auth.is_under_way(), "nobody wants it");
    assert!(auth.want() && auth.is_under_way());
    let event = auth.answer(1, patience).expect("an answer");
    assert!(
        event.contains(r#"["challenge","new"]"#) && event.contains(r#"["relay","wss://relay.example/"]"#),
        "{event}"
    );
    assert_eq!(auth.confirmed("another", true), None);
    let id = &event[7..71];
    assert_eq!(auth.confirmed(id, true), Some(true));
    assert!(!auth.is_under_way() && !auth.want(), "it knows us and refuses all the same");
    auth.challenged("again");
    assert!(auth.want());
}

#[test]
fn a_relay_that_plays_with_challenges_gets_few_answers() {
    let mut auth = auth();
    for n in 0..10 {
        auth.challenged(&n.to_string());
        assert_eq!(auth.want(), n < 3);
        assert_eq!(auth.answer(1, Duration::from_secs(1)).is_some(), n < 3);
        // Never confirmed: it may have been accepted.
        if n < 3 {
            assert!(auth.give_up());
        }
    }
}

#[test]
fn without_a_key_nobody_is_told_anything() {
    let mut auth = Auth::new(None, "wss://relay.example/".to_owned());
    auth.challenged("x");
    assert!(!auth.want() && !auth.was_challenged() && auth.answer(1, Duration::ZERO).is_none());
}
