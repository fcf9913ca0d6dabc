//! Events that are odd: valid ones that poor archives lose, and invalid ones that poor archives take.

use crate::{Generator, relay::Dialect, signed, signed::Variant};

/// A name for messages, and the event.
pub type Odd = (&'static str, String);

/// Valid events. Those that need not have a date of their own have `at`.
pub fn valid(generator: &mut Generator, at: i64) -> Vec<Odd> {
    let tag = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let controls: String = (1..=31).chain([127]).filter_map(char::from_u32).collect();
    let mut odd = vec![
        ("NUL", generator.event(1, at, &[tag(&["t", "a\0b"])], "nul \0 inside")),
        ("controls", generator.event(1, at, &[tag(&["t", &controls])], &controls)),
        ("line separators", generator.event(1, at, &[], "\u{2028}\u{2029}\u{85}\u{feff}</script>&<>\\/\"'")),
        ("far characters", generator.event(1, at, &[], "\u{ffff}\u{10ffff}\u{fffd}\u{1f468}\u{200d}\u{1f469}")),
        ("long tag", generator.event(1, at, &[tag(&["t", &"x".repeat(100_000)])], "")),
        ("long name of a tag", generator.event(1, at, &[tag(&[&"n".repeat(3_000), "x"])], "")),
        ("long d", generator.event(30_023, at, &[tag(&["d", &"d".repeat(9_000)])], "")),
        ("many tags", {
            let tags: Vec<_> = (0..5_000).map(|n| tag(&["p", &format!("{n:064x}")])).collect();
            generator.event(3, at, &tags, "")
        }),
        ("long tag list", generator.event(1, at, &[(0..3_000).map(|n| n.to_string()).collect()], "")),
        ("large content", generator.event(30_023, at, &[tag(&["d", "large"])], &"word ".repeat(120_000))),
        ("tag of an empty string", generator.event(1, at, &[tag(&[""])], "")),
        ("tag without a value", generator.event(1, at, &[tag(&["e"]), tag(&["p", ""])], "")),
        ("upper-case hex in a tag", generator.event(1, at, &[tag(&["e", &"AB".repeat(32)])], "")),
        ("reaction to nothing", generator.event(7, at, &[], "")),
        ("relay list of nonsense", generator.event(10_002, at, &[tag(&["r", "not a url"])], "")),
        ("expired", generator.event(1, at, &[tag(&["expiration", &(at + 1).to_string()])], "gone")),
        ("odd expiration", generator.event(1, at, &[tag(&["expiration", "soon"])], "")),
        ("protected", generator.event(1, at, &[tag(&["-"])], "")),
        ("kind 0 without JSON", generator.event(0, at, &[], "{broken")),
        ("largest kind", generator.event(65_535, at, &[], "")),
        ("smallint overflow", generator.event(32_768, at, &[], "")),
        ("first second", generator.event(1, 0, &[], "1970")),
        ("before Nostr", generator.event(1, 1_000_000, &[], "1970")),
        ("after 2038", generator.event(1, 4_102_444_800, &[], "2100")),
        ("beyond JavaScript", generator.event(1, (1 << 53) + 1, &[], "far")),
        ("beyond timestamptz", generator.event(1, 9_224_318_016_000, &[], "farther")),
        ("last second", generator.event(1, i64::MAX, &[], "the end")),
        ("escaped", Dialect::Escaped.apply(&generator.event(1, at, &[], "a/b \u{e9}\u{1f600}")).into_owned()),
        ("pretty", Dialect::Pretty.apply(&generator.event(1, at, &[], "pretty")).into_owned()),
        ("unknown members", Dialect::ExtraMembers.apply(&generator.event(1, at, &[], "more")).into_owned()),
    ];
    for (name, variant, content) in [
        ("id of verbatim controls", Variant::Verbatim, "\u{1}\u{1b}[0m"),
        ("id of an escaped DEL", Variant::EscapedDel, "a\u{7f}b"),
        ("id of upper-case escapes", Variant::UpperCase, "\u{1b}[1m"),
    ] {
        odd.push((name, variant.event(generator.author(0), 1, at, &[], content)));
    }
    odd
}

/// Events that must not enter, with `at` as their date where they have one.
pub fn invalid(generator: &mut Generator, at: i64) -> Vec<Odd> {
    let good = generator.event(1, at, &[], "good in itself, but not as it is sent");
    let other = generator.event_by(1, 1, at, &[], "of somebody else");
    let member = |event: &str, name: &str| {
        let event: serde_json::Value = serde_json::from_str(event).unwrap_or_default();
        event[name].as_str().unwrap_or_default().to_owned()
    };
    let with = |name: &str, value: &str| good.replace(&member(&good, name), value);
    let keys = generator.author(0);
    let time = at.to_string();
    let texts = |created_at: &str, kind: &str, tags: &str, content: &str| {
        signed::event_of_texts(keys, created_at, kind, tags, content)
    };
    let body = |text: &str| format!(r#""{text}""#);
    vec![
        ("content changed", good.replace("good", "evil")),
        ("id of another event", with("id", &member(&other, "id"))),
        ("signature of another event", with("sig", &member(&other, "sig"))),
        ("signature of zeros", with("sig", &"0".repeat(128))),
        ("key of somebody else", {
            let pubkey = member(&other, "pubkey");
            let preimage = signed::id_preimage(&pubkey, at, 1, &[], "stolen");
            let id = signed::sha256(preimage.as_bytes());
            signed::json_event(&signed::hex(&id), &pubkey, at, 1, &[], "stolen", &signed::sign(keys, &id))
        }),
        ("key not on the curve", {
            let pubkey = "f".repeat(64);
            let id = signed::sha256(signed::id_preimage(&pubkey, at, 1, &[], "off").as_bytes());
            signed::json_event(&signed::hex(&id), &pubkey, at, 1, &[], "off", &signed::sign(keys, &id))
        }),
        ("short id", with("id", &"ab".repeat(31))),
        ("id that is no hex", with("id", &"zz".repeat(32))),
        ("upper-case hex", Dialect::UpperHex.apply(&good).into_owned()),
        ("double member", Dialect::DuplicateKeys.apply(&good).into_owned()),
        ("double id", good.replacen('{', &format!(r#"{{"id":"{}","#, "0".repeat(64)), 1)),
        ("missing signature", good.replace(r#","sig""#, r#","gis""#)),
        ("kind 65536", texts(&time, "65536", "[]", &body("kind 65536"))),
        ("kind 65537", texts(&time, "65537", "[]", &body("kind 65537"))),
        ("kind of 2^32 + 1", texts(&time, "4294967297", "[]", &body("kind 2^32+1"))),
        ("negative kind", texts(&time, "-1", "[]", &body("kind -1"))),
        ("kind as text", texts(&time, "\"1\"", "[]", &body("kind as text"))),
        ("kind as float", texts(&time, "1", "[]", &body("float kind")).replace(r#""kind":1"#, r#""kind":1.0"#)),
        ("negative time", texts("-5", "1", "[]", &body("before 1970"))),
        ("time as float", good.replace(&time, &format!("{time}.0"))),
        ("time with exponent", texts("1700000000", "1", "[]", &body("exp")).replace("1700000000", "1.7e9")),
        ("time as text", texts(&format!("\"{time}\""), "1", "[]", &body("text time"))),
        ("time beyond bigint", texts("9223372036854775808", "1", "[]", &body("2^63"))),
        ("time beyond 64 bits", texts("18446744073709551616", "1", "[]", &body("2^64"))),
        ("tag without a name", texts(&time, "1", "[[]]", &body("empty tag"))),
        ("tag with a number", texts(&time, "1", r#"[["t",5]]"#, &body("number"))),
        ("tag with null", texts(&time, "1", r#"[["t",null]]"#, &body("null"))),
        ("tag in a tag", texts(&time, "1", r#"[["t",["x"]]]"#, &body("nested"))),
        ("tags that are no list", texts(&time, "1", "{}", &body("object"))),
        ("content that is no text", texts(&time, "1", "[]", "null")),
        ("lone surrogate", texts(&time, "1", "[]", &body(r"half \ud83d of it"))),
        ("raw control character", texts(&time, "1", "[]", &body("raw \u{1} control"))),
        ("deep nesting", {
            let nest = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
            good.replacen('{', &format!(r#"{{"nest":{nest},"#), 1)
        }),
        ("cut off", good.get(..good.len() / 2).unwrap_or_default().to_owned()),
        ("list", "[]".to_owned()),
        ("text", r#""event""#.to_owned()),
        ("null", "null".to_owned()),
    ]
}

/// A valid event that is larger than the default of `bigbrotr.max_event_size`.
pub fn oversize(generator: &mut Generator, at: i64) -> String {
    generator.event(1, at, &[], &"x".repeat(1_200_000))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::truth::is_archivable;

    #[test]
    fn valid_ones_are_valid_and_invalid_ones_are_not() {
        let mut generator = Generator::new(1);
        for (name, event) in valid(&mut generator, 1_700_000_123) {
            assert!(is_archivable(&event), "{name}");
        }
        let invalid = invalid(&mut generator, 1_700_000_123);
        for (name, event) in &invalid {
            assert!(!is_archivable(event), "{name}: {event}");
        }
        assert_eq!(invalid.iter().map(|(_, event)| event).collect::<HashSet<_>>().len(), invalid.len());
        assert!(!is_archivable(&oversize(&mut generator, 5)));
    }

    #[test]
    fn ids_of_variants_differ_from_the_usual_ones() {
        let mut generator = Generator::new(1);
        let usual = generator.event(1, 5, &[], "\u{1}\u{1b}\u{7f}");
        let ids: HashSet<_> = Variant::ALL
            .iter()
            .map(|variant| variant.event(generator.author(0), 1, 5, &[], "\u{1}\u{1b}\u{7f}"))
            .chain([usual])
            .collect();
        assert_eq!(ids.len(), 4);
    }
}
