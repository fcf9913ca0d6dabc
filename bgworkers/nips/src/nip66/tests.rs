#![allow(clippy::unwrap_used)]
use std::time::Duration;

use bigbrotr_models::{AddressPolicy, RelayUrl, Signer};
use proptest::prelude::*;

use super::*;

fn url(text: &str) -> RelayUrl {
    RelayUrl::parse(text, AddressPolicy::default()).unwrap()
}

fn report(document: Option<&str>, place: Place, measured: Measured) -> Draft {
    RelayReport { url: &url("wss://relay.damus.io"), measured, document, place }.draft()
}

fn of_document(document: &str) -> Draft {
    report(Some(document), Place::default(), Measured::default())
}

fn values(draft: &Draft, name: &str) -> Vec<String> {
    draft.tags.iter().filter(|tag| tag[0] == name).map(|tag| tag[1].clone()).collect()
}

const DOCUMENT: &str = r#"{"name":"n","supported_nips":[42,1,"11",1,"7D","C7",null,-1,"x"],"tags":["Bitcoin","bitcoin"," sfw "],
    "language_tags":["en-GB","de","*","gsw","en"],"limitation":{"auth_required":false,"payment_required":true,"min_pow_difficulty":0},
    "retention":[{"kinds":[4,[40,42]],"time":0},{"kinds":[1,4],"time":3600},{"time":100}],"fees":{"publication":[{"kinds":[7]}]}}"#;

#[test]
fn a_full_report_has_one_value_a_tag() {
    let place = Place {
        geohash: Some("u33dc0cpke".into()),
        accuracy_km: Some(20.0),
        country: Some("de".into()),
        asn: Some(24940),
    };
    let measured = Measured { open_ms: Some(234.4), read_ms: Some(0.2), write_ms: Some(99.5), ..Measured::default() };
    let draft = report(Some(DOCUMENT), place, measured);
    let expected = [
        "d wss://relay.damus.io/",
        "n clearnet",
        "rtt-open 234",
        "rtt-read 1",
        "rtt-write 100",
        "N 1",
        "N 11",
        "N 42",
        "N 7D",
        "N C7",
        "R !auth",
        "R payment",
        "R !pow",
        "k 1",
        "k !4",
        "k 7",
        "k !40",
        "k !41",
        "k !42",
        "t bitcoin",
        "t sfw",
        "g u33d",
        "g u33",
        "g u3",
        "g u",
        "L ISO-3166-1",
        "l DE ISO-3166-1",
        "L ISO-639-1",
        "l de ISO-639-1",
        "l en ISO-639-1",
        "L host.as",
        "l AS24940 host.as",
    ];
    assert_eq!(draft.tags.iter().map(|tag| tag.join(" ")).collect::<Vec<_>>(), expected);
    assert_eq!((draft.kind, draft.content.as_str()), (30166, DOCUMENT));
    assert_eq!(draft.d(), "wss://relay.damus.io/");
    // Only labels have more than one value: their namespace.
    assert!(draft.tags.iter().all(|tag| tag.len() == if tag[0] == "l" { 3 } else { 2 }));
}

#[test]
fn what_is_not_known_is_left_out() {
    let bare = report(None, Place::default(), Measured::default());
    assert_eq!(bare.tags, [["d", "wss://relay.damus.io/"], ["n", "clearnet"]]);
    assert_eq!(bare.content, "");
    for document in ["{}", "[]", "null", "", "{", r#"{"supported_nips":{},"limitation":7,"tags":"x","retention":{}}"#] {
        assert_eq!(of_document(document).tags, bare.tags, "{document}");
    }
    for ms in [f64::NAN, f64::INFINITY, -1.0] {
        let measured = Measured { open_ms: Some(ms), ..Measured::default() };
        assert_eq!(report(None, Place::default(), measured).tags, bare.tags);
    }
}

#[test]
fn d_has_the_root_slash_and_no_other() {
    let d = |text: &str| {
        let draft =
            RelayReport { url: &url(text), measured: Measured::default(), document: None, place: Place::default() };
        draft.draft().d().to_owned()
    };
    assert_eq!(d("WSS://Relay.Damus.IO:443/"), "wss://relay.damus.io/");
    assert_eq!(d("wss://relay.damus.io:8443"), "wss://relay.damus.io:8443/");
    assert_eq!(d("wss://relay.damus.io/inbox/"), "wss://relay.damus.io/inbox");
}

#[test]
fn the_network_is_that_of_the_host() {
    let onion = "ws://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
    let draft =
        RelayReport { url: &url(onion), measured: Measured::default(), document: None, place: Place::default() };
    assert_eq!(values(&draft.draft(), "n"), ["tor"]);
}

#[test]
fn a_probe_counts_more_than_the_document() {
    let measured = Measured { auth_required: true, ..Measured::default() };
    let draft = report(Some(r#"{"limitation":{"auth_required":false}}"#), Place::default(), measured);
    assert_eq!(values(&draft, "R"), ["auth"]);
}

#[test]
fn requirements_are_read_as_they_are_meant() {
    let draft = of_document(
        r#"{"limitation":{"auth_required":1,"payment_required":"false","restricted_writes":true,"min_pow_difficulty":"20"}}"#,
    );
    assert_eq!(values(&draft, "R"), ["auth", "!payment", "writes", "pow"]);
    assert!(values(&of_document(r#"{"limitation":{"auth_required":"maybe","max_limit":5}}"#), "R").is_empty());
}

#[test]
fn the_cell_is_not_finer_than_the_place_is_known() {
    let cells = |accuracy_km| {
        let place = Place { geohash: Some("u33dc0cpke".into()), accuracy_km, ..Place::default() };
        values(&report(None, place, Measured::default()), "g").len()
    };
    let known = [(Some(1.0), 5), (Some(20.0), 4), (Some(100.0), 3), (Some(1000.0), 2), (Some(5000.0), 1), (None, 4)];
    for (accuracy, length) in known {
        assert_eq!(cells(accuracy), length, "{accuracy:?}");
    }
    for bad in ["", "abc", "U33", "u33dc0cpke0000", "u3\n"] {
        let place = Place { geohash: Some(bad.into()), ..Place::default() };
        assert!(values(&report(None, place, Measured::default()), "g").is_empty(), "{bad:?}");
    }
}

#[test]
fn labels_are_codes_or_nothing() {
    for (country, asn) in [("DEU", 0), ("", -5), ("d\u{e9}", 1 << 40), ("D1", 0)] {
        let place = Place { country: Some(country.into()), asn: Some(asn), ..Place::default() };
        let draft = report(None, place, Measured::default());
        assert!(values(&draft, "l").is_empty() && values(&draft, "L").is_empty(), "{country} {asn}");
    }
}

#[test]
fn a_strangers_document_is_bounded() {
    let many = |what: &str| (0..5000).map(|n| what.replace('#', &n.to_string())).collect::<Vec<_>>().join(",");
    let document = format!(
        r#"{{"supported_nips":[{}],"tags":[{}],"language_tags":[{}],"retention":[{{"kinds":[[0,65535],{}],"time":0}}]}}"#,
        many("#"),
        many("\"t#\""),
        many("\"en-#\",\"x#\""),
        many("#")
    );
    let draft = of_document(&document);
    assert!(draft.tags.len() < 320, "{}", draft.tags.len());
    assert_eq!(draft.content, "", "larger than relays take");
    assert_eq!((values(&draft, "t").len(), values(&draft, "k").len()), (20, 64));
    let odd = r#"{"tags":["a\u0000b","c\nd","e\u202ef","\u200b","  ","é","x\u007f"],"retention":[{"kinds":[70000,-1,1.5,"4",[9,3],[1,2,3]],"time":0}]}"#;
    let draft = of_document(odd);
    assert_eq!(values(&draft, "t"), ["é"]);
    assert!(values(&draft, "k").is_empty());
    let long = format!(r#"{{"tags":["{}"]}}"#, "x".repeat(65));
    assert!(values(&of_document(&long), "t").is_empty());
}

#[test]
fn delete_characters_are_escaped_so_that_every_relay_computes_the_same_id() {
    assert_eq!(of_document("{\"name\":\"a\u{7f}\"}").content, r#"{"name":"a\u007f"}"#);
    assert_eq!(profile("{\"name\":\"\u{7f}\"}").content, r#"{"name":"\u007f"}"#);
}

#[test]
fn news_is_everything_but_round_trip_times() {
    let times = |ms| Measured { open_ms: Some(ms), read_ms: Some(ms), ..Measured::default() };
    let first = report(Some(DOCUMENT), Place::default(), times(5.0)).fingerprint();
    assert_eq!(report(Some(DOCUMENT), Place::default(), times(500.0)).fingerprint(), first);
    assert_eq!(report(Some(DOCUMENT), Place::default(), Measured::default()).fingerprint(), first);
    assert_ne!(report(Some("{}"), Place::default(), times(5.0)).fingerprint(), first);
    let place = Place { country: Some("DE".into()), ..Place::default() };
    assert_ne!(report(Some(DOCUMENT), place, times(5.0)).fingerprint(), first);
}

#[test]
fn an_announcement_follows_the_text_of_the_nip() {
    let announcement = Announcement {
        frequency: Duration::from_secs(3600),
        timeouts: vec![("open", Duration::from_secs(10)), ("nip11", Duration::from_millis(2500))],
        checks: vec!["open", "read", "nip11"],
        geohash: Some("u33".into()),
    };
    let tags: Vec<_> = announcement.draft().tags.iter().map(|tag| tag.join(" ")).collect();
    let expected = [
        "frequency 3600",
        "timeout 10000 open",
        "timeout 2500 nip11",
        "c open",
        "c read",
        "c nip11",
        "g u33",
        "g u3",
        "g u",
    ];
    assert_eq!(tags, expected);
    assert_eq!((announcement.draft().kind, announcement.draft().content.as_str()), (10166, ""));
    assert!(Announcement::default().draft().tags.iter().all(|tag| tag[0] == "frequency"));
}

#[test]
fn a_profile_is_an_object_and_the_default_one_is_valid() {
    assert_eq!(check_profile(DEFAULT_PROFILE), Ok(()));
    assert_eq!(profile(DEFAULT_PROFILE).content, DEFAULT_PROFILE);
    assert_eq!(check_profile("[]"), Err(ProfileError::NotAnObject));
    assert_eq!(check_profile("{"), Err(ProfileError::NotAnObject));
    assert_eq!(check_profile(&"[".repeat(10_000)), Err(ProfileError::NotAnObject));
    let long = format!(r#"{{"about":"{}"}}"#, "x".repeat(20_000));
    assert_eq!(check_profile(&long), Err(ProfileError::TooLong));
}

#[test]
fn a_relay_list_names_each_relay() {
    let relays = [url("wss://a.com/"), url("wss://b.com/x")];
    let draft = relay_list(&relays);
    assert_eq!(draft.tags, [["r", "wss://a.com"], ["r", "wss://b.com/x"]]);
    assert_eq!((draft.kind, draft.d()), (10002, ""));
}

#[test]
fn a_signed_report_is_a_valid_event() {
    let signer = Signer::new(&[7; 32]).unwrap();
    let event = of_document(DOCUMENT).sign(&signer, 1_700_000_000);
    assert_eq!((event.kind, event.created_at, event.pubkey), (30166, 1_700_000_000, signer.pubkey()));
    assert!(event.check_signature().is_ok());
}

proptest! {
    #[test]
    fn no_document_breaks_a_report(document in any::<String>(), members in r#"\{("(tags|retention|fees|limitation|supported_nips)":[\[\]{}0-9",a-z]{0,30},?){0,4}\}"#) {
        for document in [&document, &members] {
            let draft = of_document(document);
            let is_plain = |text: &String| !text.chars().any(char::is_control);
            prop_assert!(draft.tags.iter().all(|tag| tag.len() >= 2 && tag.iter().all(is_plain)));
            draft.fingerprint();
        }
    }
}
