#![allow(clippy::unwrap_used)]

use super::*;
use crate::test_data;
use proptest::prelude::*;
use secp256k1::SecretKey;
use serde_json::{Value, json};

fn keypair() -> Keypair {
    Keypair::from_secret_key(SECP256K1, &SecretKey::from_byte_array(&[7; 32]).unwrap())
}

/// A good event as a JSON value, to be spoiled.
fn good() -> Value {
    let event = Event::sign(&keypair(), 1_700_000_000, 1, vec![vec!["t".into(), "x".into()]], "hello");
    serde_json::from_str(&event.to_json()).unwrap()
}

fn code(json: &str) -> &'static str {
    Event::from_json(json.as_bytes()).map_or_else(|error| error.code(), |_| "accepted")
}

/// What comes back from the table, `jsonb` having written the tags its own way.
fn through_the_table(event: &Event) -> Event {
    let tags: Value = serde_json::from_str(&event.stored_tags()).unwrap();
    let jsonb = serde_json::to_string_pretty(&tags).unwrap();
    let content = event.stored_content();
    assert!(!jsonb.contains("\\u0000") && !content.contains('\0'));
    let raw = event.raw();
    Event::from_stored(
        event.id,
        event.pubkey,
        event.created_at,
        event.kind,
        &jsonb,
        &content,
        event.sig,
        raw.as_deref(),
    )
    .unwrap()
}

fn assert_round_trip(event: &Event) {
    let stored = through_the_table(event);
    assert_eq!(&stored, event);
    assert_eq!(&Event::from_json(stored.to_json().as_bytes()).unwrap(), event);
    if let Some(raw) = event.raw() {
        use sha2::Digest;
        assert_eq!(sha2::Sha256::digest(raw)[..], event.id[..]);
    }
}

#[test]
fn vectors_are_accepted_in_every_form_or_refused() {
    let mut forms = 0;
    for case in test_data::vectors("event-vectors.json") {
        for (form, signed) in case["variants"].as_object().unwrap() {
            let name = format!("{} ({form})", case["name"]);
            let event = json!({
                "id": signed["id"], "pubkey": case["pubkey"], "created_at": case["created_at"], "kind": case["kind"],
                "tags": case["tags"], "content": case["content"], "sig": signed["sig"],
            })
            .to_string();
            let parsed = Event::from_json(event.as_bytes());
            if case["accept"] == json!(false) {
                let expected =
                    if case["kind"] == json!(65536) { "kind_out_of_range" } else { "created_at_out_of_range" };
                assert_eq!(parsed.unwrap_err().code(), expected, "{name}");
                assert_eq!(Event::compute_id_from_json(event.as_bytes()), None, "{name}");
                continue;
            }
            let parsed = parsed.unwrap();
            let expected = match form.as_str() {
                "json" => IdForm::Json,
                "verbatim" => IdForm::Verbatim,
                "del" => IdForm::Del,
                "upper" => IdForm::Upper,
                other => panic!("unknown form {other}"),
            };
            assert_eq!(parsed.form, expected, "{name}");
            assert_round_trip(&parsed);
            assert_eq!(Event::compute_id_from_json(event.as_bytes()), Some(parsed.id), "{name}");
            parsed.verify().unwrap();
            forms += 1;
        }
    }
    assert_eq!(forms, 14);
}

#[test]
fn real_events_parse_verify_and_survive_the_table() {
    let Some(text) = test_data::real("real-events.jsonl") else { return };
    let mut count = 0;
    for line in text.lines() {
        let event = Event::from_json(line.as_bytes()).unwrap();
        assert_round_trip(&event);
        assert_eq!(event.clone().verify().unwrap().into_inner(), event);
        count += 1;
    }
    assert_eq!(count, 722);
}

#[test]
fn only_majority_form_without_nul_needs_no_raw_bytes() {
    let plain = Event::sign(&keypair(), 1, 1, vec![vec!["t".into(), "\u{1}\u{7f}".into()]], "\u{1b}");
    assert_eq!(plain.raw(), None);
    let nul = Event::sign(&keypair(), 1, 1, vec![vec!["t".into(), "\0".into()]], "");
    assert_eq!(nul.raw().unwrap()[..5], *b"[0,\"9");
    assert_eq!(nul.stored_tags(), "[[\"t\",\"\u{fffd}\"]]");
}

#[test]
fn to_json_is_compact_and_in_the_order_of_the_contract() {
    let event = Event::sign(&keypair(), 12, 7, vec![vec!["e".into(), "a\"\0".into()]], "x\ny/\u{7f}é");
    assert_eq!(
        event.to_json(),
        format!(
            "{{\"id\":\"{}\",\"pubkey\":\"{}\",\"created_at\":12,\"kind\":7,\"tags\":[[\"e\",\"a\\\"\\u0000\"]],\
             \"content\":\"x\\ny/\u{7f}é\",\"sig\":\"{}\"}}",
            hex::encode(&event.id),
            hex::encode(&event.pubkey),
            hex::encode(&event.sig)
        )
    );
}

#[test]
fn refusals_have_their_own_codes() {
    let refused = |key: &str, value: Value| {
        let mut event = good();
        event[key] = value;
        code(&event.to_string())
    };
    assert_eq!(code(&good().to_string()), "accepted");
    let upper = good()["pubkey"].as_str().unwrap().to_uppercase();
    for (key, value, expected) in [
        ("id", json!("00"), "bad_hex"),
        ("id", json!(1), "bad_hex"),
        ("id", json!(null), "bad_hex"),
        ("id", json!("0".repeat(64)), "bad_id"),
        ("pubkey", json!(upper), "bad_hex"),
        ("sig", json!("g".repeat(128)), "bad_hex"),
        ("sig", json!(["a"]), "bad_hex"),
        ("created_at", json!(-1), "created_at_out_of_range"),
        ("created_at", json!(1u64 << 63), "created_at_out_of_range"),
        ("created_at", json!(u64::MAX), "created_at_out_of_range"),
        ("created_at", json!("1700000000"), "not_an_integer"),
        ("created_at", json!(null), "not_an_integer"),
        ("created_at", json!(true), "not_an_integer"),
        ("created_at", json!([1]), "not_an_integer"),
        ("kind", json!(-1), "kind_out_of_range"),
        ("kind", json!(65_536), "kind_out_of_range"),
        ("kind", json!(u64::MAX), "kind_out_of_range"),
        ("kind", json!("1"), "not_an_integer"),
        ("tags", json!(null), "bad_tag"),
        ("tags", json!({}), "bad_tag"),
        ("tags", json!(["t"]), "bad_tag"),
        ("tags", json!([["t", 1]]), "bad_tag"),
        ("tags", json!([["t", null]]), "bad_tag"),
        ("tags", json!([["t", ["x"]]]), "bad_tag"),
        ("tags", json!([["t"], []]), "empty_tag"),
        ("tags", json!([[""]]), "bad_id"),
        ("content", json!(null), "bad_content"),
        ("content", json!(1), "bad_content"),
        ("content", json!("other"), "bad_id"),
    ] {
        assert_eq!(refused(key, value.clone()), expected, "{key} {value}");
    }
    for key in ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"] {
        let mut event = good();
        event.as_object_mut().unwrap().remove(key);
        assert_eq!(Event::from_json(event.to_string().as_bytes()), Err(EventError::MissingField(key)));
    }
}

#[test]
fn numbers_must_be_plain_integers() {
    let text = good().to_string();
    for (number, expected) in [
        ("1700000000", "accepted"),
        ("1700000000.0", "not_an_integer"),
        ("1.7e9", "not_an_integer"),
        ("17E8", "not_an_integer"),
        ("1e400", "not_an_integer"),
        ("1e-400", "not_an_integer"),
        ("0.5", "not_an_integer"),
        ("-0", "created_at_out_of_range"),
        ("-0.0", "not_an_integer"),
        ("-5", "created_at_out_of_range"),
        ("9223372036854775807", "bad_id"),
        ("9223372036854775808", "created_at_out_of_range"),
        ("18446744073709551616", "created_at_out_of_range"),
        ("99999999999999999999999", "created_at_out_of_range"),
        ("-9223372036854775809", "created_at_out_of_range"),
        ("+1", "bad_json"),
        ("01", "bad_json"),
        (".5", "bad_json"),
        ("NaN", "bad_json"),
    ] {
        for around in ["", "\n", " \n  "] {
            let json = text.replace("1700000000", &format!("{around}{number}{around}"));
            assert_eq!(code(&json), expected, "{json}");
        }
    }
    let digits = "9".repeat(400);
    assert_eq!(code(&text.replace("1700000000", &digits)), "created_at_out_of_range");
    assert_eq!(code(&text.replace("\"kind\":1", &format!("\"kind\":{digits}"))), "kind_out_of_range");
    assert_eq!(code(&text.replace("\"kind\":1", "\"kind\":1.0")), "not_an_integer");
    assert_eq!(code(&text.replace("\"kind\":1", "\"kind\":65536.5")), "not_an_integer");
}

#[test]
fn repeated_members_are_refused_and_unknown_ones_ignored() {
    let text = good().to_string();
    let with = |member: &str| code(&format!("{},{member}}}", &text[..text.len() - 1]));
    for member in
        ["\"kind\":1", "\"content\":\"hello\"", "\"\\u0069d\":\"00\"", "\"tags\":[]", "\"created_at\":1700000000"]
    {
        assert!(["duplicate_key", "bad_hex"].contains(&with(member)), "{member}");
    }
    assert_eq!(with(&format!("\"i\\u0064\":{}", good()["id"])), "duplicate_key");
    let deep = format!("\"x\":{}1{}", "[{\"a\":".repeat(300_000), "}]".repeat(300_000));
    for member in ["\"x\":null", "\"seen_on\":[\"a\",{\"b\":1e999}]", "\"ID\":1", "\"x\":\"\\ud800\"", &deep] {
        assert_eq!(with(member), "accepted", "{:.40}", member);
    }
    assert_eq!(with("\"x\":[1,]"), "bad_json");
    assert_eq!(with(&format!("\"x\":{}", "[".repeat(100_000))), "bad_json");
}

#[test]
fn nesting_costs_no_stack_anywhere() {
    let deep = "[".repeat(1_000_000);
    let text = good().to_string();
    assert_eq!(code(&deep), "not_an_object");
    assert_eq!(code(&"{\"a\":".repeat(1_000_000)), "bad_json");
    assert_eq!(code(&text.replace("[[\"t\",\"x\"]]", &deep)), "bad_tag");
    assert_eq!(code(&text.replace("\"hello\"", &deep)), "bad_content");
    assert_eq!(code(&text.replace("1700000000", &deep)), "not_an_integer");
}

#[test]
fn text_that_is_no_unicode_is_refused() {
    let text = good().to_string();
    for bad in ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\n", "\\ud800\\ud800", "\\uDBFF\\u0041"] {
        assert_eq!(code(&text.replace("hello", bad)), "lone_surrogate", "{bad}");
        assert_eq!(code(&text.replace("\"x\"", &format!("\"{bad}\""))), "lone_surrogate", "{bad}");
    }
    assert_eq!(code(&text.replace("hello", "\\ud83d\\ude00")), "bad_id");
    for bad in [&b"\xff"[..], b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        let mut bytes = text.clone().into_bytes();
        let at = text.find("hello").unwrap();
        bytes.splice(at..at + 5, bad.iter().copied());
        assert_eq!(Event::from_json(&bytes).unwrap_err().code(), "invalid_utf8");
    }
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    let text = good().to_string();
    assert_eq!(code(&format!(" \r\n\t{text} \n")), "accepted");
    for (json, expected) in [
        (String::new(), "bad_json"),
        ("  ".into(), "bad_json"),
        ("{".into(), "bad_json"),
        ("{}".into(), "missing_field"),
        ("null".into(), "not_an_object"),
        ("[]".into(), "not_an_object"),
        ("\"x\"".into(), "not_an_object"),
        ("17".into(), "not_an_object"),
        (format!("{text}x"), "bad_json"),
        (format!("{text}{text}"), "bad_json"),
        (format!("\u{feff}{text}"), "bad_json"),
        (text.replace("hello", "a\nb"), "bad_json"),
        (text.replace("hello", "a\0b"), "bad_json"),
        (text.replace("hello", "\\x"), "bad_json"),
        (text.replace("hello", "\\u12"), "bad_json"),
        (text[..text.len() - 1].to_owned(), "bad_json"),
        (text.replace("\"kind\"", "kind"), "bad_json"),
        (text.replace("}", ",}"), "bad_json"),
    ] {
        assert_eq!(code(&json), expected, "{json}");
    }
    let large = vec![b' '; MAX_EVENT_BYTES + 1];
    assert_eq!(Event::from_json(&large).unwrap_err().code(), "too_large");
}

#[test]
fn a_foreign_signature_or_key_is_refused() {
    let event = Event::sign(&keypair(), 5, 1, vec![], "a").into_inner();
    let other = Event::sign(&keypair(), 5, 1, vec![], "b").into_inner();
    assert!(event.clone().verify().is_ok());
    assert_eq!(Event { sig: other.sig, ..event.clone() }.verify().unwrap_err().code(), "bad_signature");
    assert_eq!(Event { sig: [0xff; 64], ..event.clone() }.verify().unwrap_err().code(), "bad_signature");
    assert_eq!(Event { pubkey: [0xff; 32], ..event }.verify().unwrap_err().code(), "bad_pubkey");
}

#[test]
fn signing_gives_an_event_that_parses_and_verifies() {
    let event = Event::sign(&keypair(), -5, 22_242, vec![vec![], vec!["challenge".into(), "x".into()]], "");
    assert_eq!((event.created_at, event.tags.len()), (0, 1));
    let parsed = Event::from_json(event.to_json().as_bytes()).unwrap();
    assert_eq!(parsed.verify().unwrap(), event);
}

#[test]
fn the_id_is_computed_without_id_and_signature() {
    let id = |event: &Value| Event::compute_id_from_json(event.to_string().as_bytes()).map(|id| hex::encode(&id));
    let mut event = good();
    let expected = event["id"].as_str().unwrap().to_owned();
    assert_eq!(id(&event).as_ref(), Some(&expected));
    event.as_object_mut().unwrap().remove("sig");
    event["id"] = json!("00".repeat(32));
    assert_eq!(id(&event).as_ref(), Some(&expected), "a wrong id is recomputed");
    event.as_object_mut().unwrap().remove("id");
    assert_eq!(id(&event).as_ref(), Some(&expected));
    event.as_object_mut().unwrap().remove("content");
    assert_eq!(id(&event), None);
    assert_eq!(Event::compute_id_from_json(b"[]"), None);
}

#[test]
fn raw_bytes_of_another_event_are_refused() {
    let event = Event::sign(&keypair(), 5, 1, vec![], "a\0").into_inner();
    let raw = event.raw().unwrap();
    let stored = |raw: &[u8], kind| {
        Event::from_stored(event.id, event.pubkey, 5, kind, "[]", "", event.sig, Some(raw)).map_err(|e| e.code())
    };
    assert!(stored(&raw, 1).is_ok());
    assert_eq!(stored(&raw, 2), Err("bad_raw"));
    assert_eq!(stored(b"[0", 1), Err("bad_raw"));
    assert_eq!(stored(b"\xff", 1), Err("bad_raw"));
}

/// Text rich in what serializers disagree about.
fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        '\0',
        '\u{1}',
        '\u{8}',
        '\t',
        '\n',
        '\u{b}',
        '\u{c}',
        '\r',
        '\u{1b}',
        '\u{1f}',
        '"',
        '\\',
        '/',
        '\u{7f}',
        '\u{80}',
        '<',
        '\u{2028}',
        '\u{fffd}',
        '\u{feff}',
        '\u{ffff}',
        '😀',
        '\u{10ffff}',
    ]);
    prop::collection::vec(prop_oneof![special, any::<char>(), prop::char::range('a', 'z')], 0..12)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn any_event_in_any_form_survives_json_and_table(
        created_at in prop_oneof![0..=i64::MAX, 0..10i64],
        kind in any::<u16>(),
        tags in prop::collection::vec(prop::collection::vec(text(), 1..4), 0..4),
        content in text(),
        form in prop::sample::select(IdForm::ALL.to_vec()),
    ) {
        let mut event = Event::sign(&keypair(), created_at, kind, tags, content).into_inner();
        event.id = event.body().id(form, 0);
        let parsed = Event::from_json(event.to_json().as_bytes()).unwrap();
        // A form that differs for no character of this event is reported as the first that gives the same bytes.
        prop_assert_eq!(parsed.body().id(parsed.form, 0), event.id);
        prop_assert_eq!(&Event { form: parsed.form, ..event }, &parsed);
        assert_round_trip(&parsed);
    }

    #[test]
    fn a_foreign_serializer_says_the_same(tags in prop::collection::vec(prop::collection::vec(text(), 1..4), 0..4), content in text()) {
        let event = Event::sign(&keypair(), 1, 1, tags, content);
        let usual = serde_json::to_vec(&json!([0, hex::encode(&event.pubkey), 1, 1, event.tags, event.content])).unwrap();
        use sha2::Digest;
        prop_assert_eq!(&sha2::Sha256::digest(usual)[..], &event.id[..]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..300usize, at in 0..400usize, byte in any::<u8>()) {
        let _ = Event::from_json(&bytes);
        let mut event = good().to_string().into_bytes();
        if let Some(slot) = event.get_mut(at) {
            *slot = byte;
        }
        let _ = Event::from_json(&event);
        event.truncate(cut);
        prop_assert!(Event::from_json(&event).is_err());
    }
}
