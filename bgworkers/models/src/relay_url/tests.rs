#![allow(clippy::unwrap_used)]

use super::*;
use crate::test_data;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const STRICT: AddressPolicy = AddressPolicy { allow_private: false };
const LENIENT: AddressPolicy = AddressPolicy { allow_private: true };
const ONION: &str = "oxtrdevav64z64yb7x6rjg4ntzqjhedm5b5zjqulugknhzr46ny2qbad";

fn described(text: &str, policy: AddressPolicy) -> Vec<Value> {
    let describe = |extracted: Extracted| match extracted.url {
        Ok(url) => json!({
            "key": url.as_str(),
            "network": url.network().as_str(),
            "flags": extracted.flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>(),
            "recovered": extracted.recovered,
        }),
        Err(error) => json!({ "reject": error.to_string() }),
    };
    extract(text, policy).into_iter().map(describe).collect()
}

/// Keys of the accepted pieces.
fn keys(text: &str) -> Vec<String> {
    extract(text, STRICT).into_iter().filter_map(|extracted| extracted.url.ok()).map(|url| url.key).collect()
}

fn parse(text: &str) -> Result<String, String> {
    RelayUrl::parse(text, STRICT).map(|url| url.key).map_err(|error| error.to_string())
}

fn assert_is_key(url: &RelayUrl, policy: AddressPolicy) {
    let again = extract(&url.key, policy);
    assert_eq!(again.len(), 1, "{url}");
    assert_eq!(again[0].url.as_ref(), Ok(url));
    assert!(!again[0].recovered && again[0].flags.iter().all(|flag| *flag == UrlFlag::PerUserPath), "{url}");
    assert_eq!(RelayUrl::from_key(&url.key).as_ref(), Ok(url));
    assert_eq!(RelayUrl::parse(&url.with_root_slash(), policy).as_ref(), Ok(url));
}

#[test]
fn vectors_hold() {
    let vectors = test_data::vectors("url-vectors.json");
    assert!(vectors.len() > 120);
    for case in vectors {
        let input = case["input"].as_str().unwrap();
        assert_eq!(Value::Array(described(input, STRICT)), case["expected"], "{input:?}");
        for extracted in extract(input, STRICT) {
            if let Ok(url) = extracted.url {
                assert_is_key(&url, STRICT);
            }
        }
    }
}

#[test]
fn seed_urls_give_keys_that_stay_or_reasons() {
    let Some(text) = test_data::real("seed-relays.txt") else { return };
    let mut outcomes = BTreeMap::<String, usize>::new();
    for line in text.lines() {
        for extracted in extract(line, STRICT) {
            let outcome = match &extracted.url {
                Ok(url) => format!("{}{}", url.network(), if extracted.recovered { " (recovered)" } else { "" }),
                Err(error) => error.to_string(),
            };
            *outcomes.entry(outcome).or_default() += 1;
            for flag in &extracted.flags {
                *outcomes.entry(format!("flag: {flag}")).or_default() += 1;
            }
            if let Ok(url) = extracted.url {
                assert_is_key(&url, STRICT);
            }
        }
        for extracted in extract(line, LENIENT) {
            if let Ok(url) = extracted.url {
                assert_is_key(&url, LENIENT);
            }
        }
    }
    for (outcome, count) in &outcomes {
        println!("{count:>6}  {outcome}");
    }
    assert!(outcomes["clearnet"] > 5_000);
}

#[test]
fn recovered_means_that_more_than_white_space_was_removed() {
    for (text, recovered) in [
        (" \t\r\nwss://a.com\u{a0}\u{feff}\u{200d}\u{2060}\u{1}", false),
        ("wss://a.com\u{3000}", false),
        ("(wss://a.com)", true),
        ("“wss://a.com”", true),
        ("'wss://a.com'", true),
        ("`wss://a.com`", true),
        ("wss://a.com!", true),
        ("wss://a.com%0d%0A", true),
        ("wss://a.com%2c%22", true),
        ("wss://a.com)%20 ;\u{200b}>", true),
        (",wss://a.com", true),
        ("xwss://a.com", true),
        ("WSS://wss://a.com", true),
        ("relay: WSS://A.com", true),
    ] {
        let found = extract(text, STRICT);
        assert_eq!(found.len(), 1, "{text:?}");
        assert_eq!(found[0].url.as_ref().map(RelayUrl::as_str), Ok("wss://a.com"), "{text:?}");
        assert_eq!(found[0].recovered, recovered, "{text:?}");
    }
}

#[test]
fn every_url_of_a_text_is_found_once_and_in_order() {
    assert_eq!(
        keys("wss://b.com,wss://a.com|wss://b.com/ ws://b.comwss://c.com"),
        ["wss://b.com", "wss://a.com", "ws://b.com", "wss://c.com"]
    );
    assert_eq!(keys("see wss://a.com/x, or (wss://b.com). nostr.com"), ["wss://a.com/x"]);
    assert_eq!(keys("a text without any"), Vec::<String>::new());
}

#[test]
fn the_length_limit_holds_per_piece() {
    let long = format!("wss://a.com/{}", "a".repeat(2048));
    let just = format!("wss://a.com/{}", "a".repeat(2048 - 12));
    assert_eq!(just.len(), 2048);
    assert_eq!(parse(&just), Ok(just.clone()));
    assert_eq!(parse(&format!("{}{just}{}", " ".repeat(5_000), "\n".repeat(5_000))), Ok(just.clone()));
    assert_eq!(parse(&format!("{just}a")), Err("too long".into()));
    assert_eq!(keys(&format!("{long} wss://b.com {long}")), ["wss://b.com"]);
    let many: String = (0..20_000).map(|i| format!("wss://r{i}.example.com ")).collect();
    assert_eq!(keys(&many).len(), 20_000);
}

#[test]
fn a_key_never_outgrows_the_limit_on_input() {
    // Each of these labels is longer in ASCII than in UTF-8.
    let host = "ñ.".repeat(20);
    let head = format!("wss://{host}com/");
    let piece = format!("{head}{}", "a".repeat(2048 - head.len()));
    assert_eq!(parse(&piece), Err("too long".into()));
}

#[test]
fn megabytes_of_dirt_end_soon_and_without_panic() {
    for dirt in [
        "wss://",
        "wss://a.b,",
        "w",
        "ws:/",
        "%20",
        "(\"",
        ";>",
        "wss://a%20%20",
        "\u{200b}",
        "wss://[",
        "wwss://.",
        "https://a.com/ws://",
    ] {
        let text = dirt.repeat(1_000_000 / dirt.len());
        assert!(!extract(&text, STRICT).is_empty());
        assert!(!extract(&format!("wss://a.com{text}"), LENIENT).is_empty());
    }
}

#[test]
fn exactly_one_key_is_asked_for() {
    assert_eq!(parse("wss://a.com wss://b.com"), Err("more than one relay URL".into()));
    assert_eq!(parse("wss://a.com wss://A.com/"), Ok("wss://a.com".into()));
    assert_eq!(parse("wss://a.com wss://localhost"), Ok("wss://a.com".into()));
    assert_eq!(parse("wss://localhost wss://10.0.0.1"), Err("single-label host".into()));
    assert_eq!(parse("prose"), Err("scheme is not ws/wss".into()));
    assert_eq!(parse("more prose"), Err("no candidate".into()));
}

#[test]
fn overlay_names_are_checked() {
    let bad_checksum = ONION.replacen('o', "p", 1);
    let b32 = "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq";
    for (host, expected) in [
        (format!("{bad_checksum}.onion"), Err("bad onion address")),
        (format!("{}.onion", &ONION[1..]), Err("bad onion address")),
        ("onion.onion".into(), Err("bad onion address")),
        ("onion".into(), Err("single-label host")),
        (format!("{ONION}.onion.to"), Ok(Network::Clearnet)),
        (format!("a.b.{ONION}.onion"), Ok(Network::Tor)),
        (format!("{ONION}.onion."), Ok(Network::Tor)),
        (format!("{b32}.b32.i2p"), Ok(Network::I2p)),
        (format!("{b32}aaaa.b32.i2p"), Ok(Network::I2p)),
        (format!("{b32}aaa.b32.i2p"), Err("bad b32.i2p address")),
        (format!("{}1.b32.i2p", &b32[1..]), Err("bad b32.i2p address")),
        ("b32.i2p".into(), Err("bad b32.i2p address")),
        ("my-relay.nostr.i2p".into(), Ok(Network::I2p)),
        ("i2p".into(), Err("single-label host")),
        (format!("{}.loki", "y".repeat(52)), Ok(Network::Loki)),
        (format!("{}.loki", "l".repeat(52)), Err("bad loki address")),
        ("sub.relay.loki".into(), Ok(Network::Loki)),
        ("relay.onion.example.com".into(), Ok(Network::Clearnet)),
    ] {
        let network = RelayUrl::parse(&format!("ws://{host}"), STRICT).map(|url| url.network());
        assert_eq!(network.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{host}");
    }
}

#[test]
fn hosts_follow_the_rules() {
    for (input, expected) in [
        ("wss://under_score.example.com", Ok("wss://under_score.example.com")),
        ("wss://a-.example.com", Err("bad host label")),
        ("wss://relay.example.com..", Err("bad host label")),
        ("wss://.", Err("bad host label")),
        ("wss://1.2.3.4.5", Err("invalid IPv4 address")),
        ("wss://relay.c0m", Err("bad TLD")),
        ("wss://relay.xn--p1ai", Ok("wss://relay.xn--p1ai")),
        ("wss://relay.рф", Ok("wss://relay.xn--p1ai")),
        ("wss://relay.localhost", Err("special-use name")),
        ("wss://1.0.168.192.in-addr.arpa", Err("special-use name")),
        ("wss://2130706433", Err("non-canonical IPv4 literal")),
        ("wss://user@127.1:80", Err("non-canonical IPv4 literal")),
        ("wss://8.8.8.010", Err("non-canonical IPv4 literal")),
        ("wss://u:p@8.8.8.8:81", Ok("wss://8.8.8.8:81")),
        ("wss://[::ffff:8.8.8.8]", Err("non-global address")),
        ("wss://[2606:4700::0:1]", Ok("wss://[2606:4700::1]")),
        ("wss://[::1", Err("invalid IPv6 address")),
        ("wss://rel%61y.com", Err("percent sign in authority")),
        ("wss://a.com/\\", Err("backslash")),
        ("wss://@/", Err("empty host")),
        ("wss:////a.com", Err("empty host")),
        ("wss://:80", Err("empty host")),
        ("wss://a.com:", Ok("wss://a.com")),
        ("wss://a.com:00", Err("port 0")),
    ] {
        assert_eq!(parse(input), expected.map(str::to_owned).map_err(str::to_owned), "{input}");
    }
    let long = format!("wss://{}com", "abcdefghi.".repeat(26));
    assert_eq!(parse(&long), Err("host too long".into()));
}

#[test]
fn paths_are_kept_only_where_plausible() {
    let hex = "0123456789abcdef".repeat(4);
    let npub = format!("npub1{}", "q".repeat(58));
    for (path, key, flags) in [
        ("/.well-known/x", "", vec!["path dropped"]),
        ("/x./y", "", vec!["path dropped"]),
        ("/a-", "", vec!["path dropped"]),
        ("/a;b", "", vec!["path dropped"]),
        ("/é", "", vec!["path dropped"]),
        ("/a%zz", "", vec!["path dropped"]),
        ("/%2e%2e/a/./b/", "/a/b", vec![]),
        ("/a%2Db%5f", "/a-b_", vec![]),
        ("/~u/_x/a@b:c", "/~u/_x/a@b:c", vec![]),
        ("/?", "", vec!["query dropped"]),
        ("/a?b#c", "/a", vec!["query dropped", "fragment dropped"]),
        ("?x=wss", "", vec!["query dropped"]),
        (&format!("/{npub}"), &format!("/{npub}"), vec!["per-user path"]),
        (&format!("/u/{hex}"), &format!("/u/{hex}"), vec!["per-user path"]),
        (&format!("/{hex}0"), &format!("/{hex}0"), vec![]),
        (&format!("/{hex}/;"), &format!("/{hex}"), vec!["per-user path"]),
    ] {
        let found = &extract(&format!("wss://a.com{path}"), STRICT)[0];
        assert_eq!(found.url.as_ref().map(RelayUrl::as_str), Ok(&*format!("wss://a.com{key}")), "{path}");
        assert_eq!(found.flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>(), flags, "{path}");
    }
}

#[test]
fn an_operator_can_admit_private_hosts() {
    for (input, key) in [
        ("ws://localhost:7777", "ws://localhost:7777"),
        ("ws://127.0.0.1:7777/", "ws://127.0.0.1:7777"),
        ("ws://192.168.1.10:4848", "ws://192.168.1.10:4848"),
        ("ws://[::1]:80", "ws://[::1]"),
        ("ws://[fd00::1]", "ws://[fd00::1]"),
        ("ws://umbrel.local:4848", "ws://umbrel.local:4848"),
        ("ws://Relay", "ws://relay"),
        ("wss://relay.damus.io", "wss://relay.damus.io"),
    ] {
        let url = RelayUrl::parse(input, LENIENT).unwrap();
        assert_eq!((url.as_str(), url.network()), (key, Network::Clearnet));
        assert_is_key(&url, LENIENT);
    }
    for (input, reason) in [
        ("ws://0.0.0.0", "non-global address"),
        ("ws://224.0.0.1", "non-global address"),
        ("ws://203.0.113.1", "non-global address"),
        ("ws://169.254.169.254", "non-global address"),
        ("ws://[::ffff:127.0.0.1]", "non-global address"),
        ("ws://[200::1]", "yggdrasil"),
        ("ws://127.1", "non-canonical IPv4 literal"),
        ("ws://relay.internal", "special-use name"),
        ("ws://relay.test", "special-use name"),
        ("ws://onion", "single-label host"),
        ("ws://short.onion", "bad onion address"),
    ] {
        assert_eq!(RelayUrl::parse(input, LENIENT).unwrap_err().to_string(), reason, "{input}");
    }
}

#[test]
fn operator_input_may_lack_the_scheme() {
    let operator = |text: &str| RelayUrl::parse_operator(text, STRICT).map(|url| url.key).map_err(|e| e.to_string());
    for (input, key) in [
        ("relay.damus.io", "wss://relay.damus.io"),
        (" Relay.Damus.io/ \n", "wss://relay.damus.io"),
        ("relay.damus.io:7777/path", "wss://relay.damus.io:7777/path"),
        ("https://relay.damus.io/", "wss://relay.damus.io"),
        ("HTTP://relay.damus.io", "ws://relay.damus.io"),
        ("\"https://relay.damus.io\",", "wss://relay.damus.io"),
        ("ws://relay.damus.io", "ws://relay.damus.io"),
        ("see wss://relay.damus.io", "wss://relay.damus.io"),
        ("8.8.8.8", "wss://8.8.8.8"),
        ("[2606:4700::1]:81", "wss://[2606:4700::1]:81"),
    ] {
        assert_eq!(operator(input), Ok(key.to_owned()), "{input}");
    }
    for (input, reason) in [
        ("", "no candidate"),
        ("/", "empty host"),
        ("two words", "no candidate"),
        ("https://a.com https://b.com", "no candidate"),
        ("ftp://relay.damus.io", "scheme is not ws/wss"),
        ("wss//relay.damus.io", "scheme is not ws/wss"),
        ("me@relay.damus.io", "scheme is not ws/wss"),
        ("localhost", "single-label host"),
        ("https://", "no candidate"),
        ("wss:relay.damus.io", "invalid port number"),
    ] {
        assert_eq!(operator(input), Err(reason.to_owned()), "{input}");
    }
    assert!(RelayUrl::parse_operator("wss//relay.damus.io", LENIENT).is_err());
    assert_eq!(RelayUrl::parse_operator("localhost:8080", LENIENT).unwrap().as_str(), "wss://localhost:8080");
}

#[test]
fn a_key_is_taken_apart() {
    let onion = format!("ws://{ONION}.onion/a/b");
    for (key, tls, host, port, path, slash) in [
        ("wss://a.com", true, Host::Name("a.com"), 443, "/", "wss://a.com/"),
        ("ws://a.com:443", false, Host::Name("a.com"), 443, "/", "ws://a.com:443/"),
        ("ws://a.com/x:1/y", false, Host::Name("a.com"), 80, "/x:1/y", "ws://a.com/x:1/y"),
        (
            "wss://[2606:4700::1]:81/p",
            true,
            Host::Ip("2606:4700::1".parse().unwrap()),
            81,
            "/p",
            "wss://[2606:4700::1]:81/p",
        ),
        ("wss://[2606:4700::1]", true, Host::Ip("2606:4700::1".parse().unwrap()), 443, "/", "wss://[2606:4700::1]/"),
        ("ws://127.0.0.1:7", false, Host::Ip("127.0.0.1".parse().unwrap()), 7, "/", "ws://127.0.0.1:7/"),
        ("ws://localhost", false, Host::Name("localhost"), 80, "/", "ws://localhost/"),
        (&onion, false, Host::Name(&onion[5..67]), 80, "/a/b", &onion),
    ] {
        let url = RelayUrl::from_key(key).unwrap();
        assert_eq!((url.as_str(), url.is_tls(), url.port(), url.path()), (key, tls, port, path));
        assert_eq!(url.host(), host);
        assert_eq!(url.with_root_slash(), slash);
    }
    assert_eq!(RelayUrl::from_key(&onion).unwrap().network(), Network::Tor);
}

#[test]
fn what_never_was_a_key_is_no_key() {
    for text in [
        "",
        "wss://",
        "ws:///x",
        "a.com",
        "https://a.com",
        "WSS://a.com",
        "wss://A.com",
        "wss://a.com/",
        "wss://a.com/x/",
        "wss://a.com:",
        "wss://a.com:0",
        "wss://a.com:x",
        "wss://a.com:65536",
        "wss://a.com:080",
        "wss://u@a.com",
        "wss://a.com?x",
        "wss://a.com#x",
        "wss://a.com/%20",
        "wss://a b.com",
        "wss://é.com",
        "wss://[::1",
        "wss://[x]",
        "wss://2606:4700::1",
        "wss://:80",
        "ws://127.1",
        "ws://0x7f.1",
        "ws://0177.0.0.1",
        "ws://2130706433",
        "ws://a.0x",
    ] {
        assert_eq!(RelayUrl::from_key(text), Err(RelayUrlError::NotAKey), "{text}");
    }
}

fn url_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "ws://",
        "wss://",
        "WSS://",
        "http://",
        "//",
        "/",
        ":",
        "@",
        "?",
        "#",
        "%",
        "%20",
        "%2F",
        "%7e",
        "%2e",
        ".",
        "..",
        ",",
        "|",
        " ",
        "\n",
        "\u{a0}",
        "\u{200b}",
        "\u{ad}",
        "\u{feff}",
        "(",
        ")",
        "<",
        ">",
        "\"",
        ";",
        "!",
        "\\",
        "[",
        "]",
        "::",
        "::1",
        "[::1]",
        "[2606:4700::1]",
        "127.0.0.1",
        "127.1",
        "8.8.8.8",
        "0x7f",
        "1",
        "80",
        "443",
        ":0",
        ":80",
        ":443",
        "65536",
        "relay",
        "damus.io",
        "example.com",
        "a.b",
        "com",
        "xn--",
        "xn--caf-dma",
        "é",
        "ß",
        "日本",
        "ａ",
        "\u{3002}",
        "-",
        "_",
        "~",
        "localhost",
        "local",
        "onion",
        ".i2p",
        ".loki",
        "b32",
        ONION,
        "npub1",
        "A",
        "z",
        "İ",
        "\u{0}",
        "\u{7f}",
        "😀",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn assert_stable(text: &str) {
    for policy in [STRICT, LENIENT] {
        let mut seen = HashSet::new();
        for extracted in extract(text, policy) {
            if let Ok(url) = extracted.url {
                assert_is_key(&url, policy);
                assert!(seen.insert(url.key.clone()), "twice: {url}");
                if policy == STRICT {
                    assert_eq!(RelayUrl::parse(&url.key, LENIENT).as_ref(), Ok(&url));
                }
                let _ = (url.host(), url.port(), url.path());
            }
        }
        let _ = RelayUrl::parse_operator(text, policy);
    }
    let _ = RelayUrl::from_key(text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn normalising_again_changes_nothing_for_any_text(text in any::<String>()) {
        assert_stable(&text);
        assert_stable(&format!("wss://{text}"));
        assert_stable(&format!("wss://a.com/{text}"));
    }

    #[test]
    fn normalising_again_changes_nothing_for_url_like_text(text in url_like()) {
        assert_stable(&text);
        assert_stable(&format!("wss://{text}"));
        assert_stable(&format!("wss://relay.example.com{text}"));
    }
}
