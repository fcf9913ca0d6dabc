#![allow(clippy::unwrap_used)]

use super::*;
use crate::canonical::canonical_json;
use proptest::prelude::*;
use secp256k1::{Keypair, SECP256K1, SecretKey};

fn event(created_at: i64, kind: u16, tags: &[&[&str]]) -> Event {
    let keypair = Keypair::from_secret_key(SECP256K1, &SecretKey::from_byte_array(&[7; 32]).unwrap());
    let tags = tags.iter().map(|tag| tag.iter().map(|s| (*s).to_owned()).collect()).collect();
    Event::sign(&keypair, created_at, kind, tags, "").into_inner()
}

fn filter(json: &str) -> Filter {
    Filter::from_json(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn bounds_are_inclusive() {
    let event = event(100, 1, &[]);
    for (json, expected) in [
        (r#"{}"#, true),
        (r#"{"since":100}"#, true),
        (r#"{"since":101}"#, false),
        (r#"{"until":100}"#, true),
        (r#"{"until":99}"#, false),
        (r#"{"since":100,"until":100}"#, true),
        (r#"{"since":101,"until":99}"#, false),
        (r#"{"limit":0}"#, true),
    ] {
        assert_eq!(filter(json).matches(&event), expected, "{json}");
    }
}

#[test]
fn lists_are_alternatives_and_keys_conditions() {
    let event = event(100, 7, &[]);
    let (id, author) = (hex::encode(&event.id), hex::encode(&event.pubkey));
    let zero = "0".repeat(64);
    for (json, expected) in [
        (format!(r#"{{"ids":["{zero}","{id}"]}}"#), true),
        (format!(r#"{{"ids":["{zero}"]}}"#), false),
        (format!(r#"{{"authors":["{author}"],"kinds":[1,7]}}"#), true),
        (format!(r#"{{"authors":["{author}"],"kinds":[1]}}"#), false),
        (r#"{"ids":[]}"#.into(), false),
        (r#"{"authors":[]}"#.into(), false),
        (r#"{"kinds":[]}"#.into(), false),
        (r##"{"#t":[]}"##.into(), false),
    ] {
        assert_eq!(filter(&json).matches(&event), expected, "{json}");
    }
}

#[test]
fn only_the_first_value_of_a_tag_of_that_very_letter_counts() {
    let event =
        event(1, 1, &[&["t", "one", "two"], &["T", "three"], &["tt", "four"], &["d"], &["t", "five"], &["r", ""]]);
    for (json, expected) in [
        (r##"{"#t":["one"]}"##, true),
        (r##"{"#t":["two"]}"##, false),
        (r##"{"#t":["three"]}"##, false),
        (r##"{"#T":["three"]}"##, true),
        (r##"{"#t":["four"]}"##, false),
        (r##"{"#t":["x","five"]}"##, true),
        (r##"{"#t":["five"],"#T":["one"]}"##, false),
        (r##"{"#t":["one"],"#T":["three"]}"##, true),
        (r##"{"#d":[""]}"##, false),
        (r##"{"#r":[""]}"##, true),
        (r##"{"#t":["ONE"]}"##, false),
    ] {
        assert_eq!(filter(json).matches(&event), expected, "{json}");
    }
}

#[test]
fn what_is_no_filter_is_refused_naming_the_key() {
    let upper = "A".repeat(64);
    for (json, key) in [
        (r#"{"id":[]}"#.to_owned(), "\"id\""),
        (r#"{"Kinds":[1]}"#.into(), "Kinds"),
        (r#"{"search":"x"}"#.into(), "\"search\" is not supported"),
        (r##"{"#":["x"]}"##.into(), "\"#\""),
        (r##"{"#tt":["x"]}"##.into(), "#tt"),
        (r##"{"#1":["x"]}"##.into(), "#1"),
        (r##"{"#é":["x"]}"##.into(), "#é"),
        (r##"{"t":["x"]}"##.into(), "\"t\""),
        (r##"{"&t":["x"]}"##.into(), "&t"),
        (r#"{"ids":["abcd"]}"#.into(), "ids"),
        (format!(r#"{{"ids":["{upper}"]}}"#), "ids"),
        (format!(r#"{{"authors":["{upper}"]}}"#), "authors"),
        (format!(r##"{{"#e":["{upper}"]}}"##), "#e"),
        (r##"{"#p":["abcd"]}"##.into(), "#p"),
        (r#"{"ids":"x"}"#.into(), "ids"),
        (r#"{"ids":null}"#.into(), "ids"),
        (r#"{"ids":[1]}"#.into(), "ids"),
        (r#"{"kinds":1}"#.into(), "kinds"),
        (r#"{"kinds":[65536]}"#.into(), "kinds"),
        (r#"{"kinds":[-1]}"#.into(), "kinds"),
        (r#"{"kinds":[1.0]}"#.into(), "kinds"),
        (r#"{"kinds":["1"]}"#.into(), "kinds"),
        (r##"{"#t":[1]}"##.into(), "#t"),
        (r##"{"#t":"x"}"##.into(), "#t"),
        (r#"{"since":-1}"#.into(), "since"),
        (r#"{"since":1.5}"#.into(), "since"),
        (r#"{"since":"1"}"#.into(), "since"),
        (r#"{"until":9223372036854775808}"#.into(), "until"),
        (r#"{"until":1e3}"#.into(), "until"),
        (r#"{"limit":-1}"#.into(), "limit"),
        (r#"{"limit":4294967296}"#.into(), "limit"),
        (r#"{"limit":null}"#.into(), "limit"),
        (r#"{"kinds":[1],"kinds":[2]}"#.into(), "\"kinds\" occurs more than once"),
        ("[]".into(), "not a JSON object"),
        ("".into(), "not a JSON object"),
        ("{} {}".into(), "not a JSON object"),
        (format!("{{\"{}\":1}}", "k".repeat(5000)), "kkk…\""),
        ("{\"a\":".repeat(100_000), "not a JSON object"),
    ] {
        let error = Filter::from_json(&json).unwrap_err().to_string();
        assert!(error.contains(key) && error.len() < 200, "{json:.80}: {error}");
    }
    assert_eq!(filter(r#"{"until":9223372036854775807}"#).until, Some(i64::MAX));
    assert_eq!(filter(r#"{"kinds":[65535],"limit":0}"#).limit, Some(0));
}

#[test]
fn the_canonical_form_is_that_of_the_meaning() {
    assert_eq!(filter("{}").canonical(), "{}");
    assert_eq!(
        hex::encode(&Filter::default().hash()),
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    let one = filter(r##"{"kinds":[3,1,3],"#t":["b","a"],"#T":[],"until":9,"since":1,"limit":5}"##);
    let other = filter(r##"{"limit":5,"since":1,"until":9,"#T":[],"#t":["a","b","a"],"kinds":[1,3]}"##);
    assert_eq!(one.canonical(), r##"{"#T":[],"#t":["a","b"],"kinds":[1,3],"limit":5,"since":1,"until":9}"##);
    assert_eq!(one.hash(), other.hash());
    assert_ne!(one.to_json(), other.to_json());
    assert_eq!(one.to_json(), r##"{"kinds":[3,1,3],"#T":[],"#t":["b","a"],"since":1,"until":9,"limit":5}"##);
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let ids = || prop::option::of(prop::collection::vec(any::<[u8; 32]>(), 0..3));
    let letter =
        prop::char::ranges(vec!['a'..='z', 'A'..='Z'].into()).prop_filter("ids only", |c| !matches!(c, 'e' | 'p'));
    (
        ids(),
        ids(),
        prop::option::of(prop::collection::vec(any::<u16>(), 0..3)),
        prop::collection::btree_map(letter, prop::collection::vec(any::<String>(), 0..3), 0..3),
        prop::option::of(0..=i64::MAX),
        prop::option::of(0..=i64::MAX),
        prop::option::of(any::<u32>()),
    )
        .prop_map(|(ids, authors, kinds, tags, since, until, limit)| Filter {
            ids,
            authors,
            kinds,
            tags,
            since,
            until,
            limit,
        })
}

proptest! {
    #[test]
    fn json_gives_the_filter_back(filter in any_filter()) {
        prop_assert_eq!(&Filter::from_json(&filter.to_json()).unwrap(), &filter);
        let canonical = filter.canonical();
        prop_assert_eq!(&canonical_json(&canonical).unwrap(), &canonical);
        prop_assert_eq!(Filter::from_json(&canonical).unwrap().hash(), filter.hash());
    }

    #[test]
    fn any_text_is_judged_without_panic(text in any::<String>()) {
        let _ = Filter::from_json(&text);
    }
}
