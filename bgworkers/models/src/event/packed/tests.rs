#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn event(tags: &[&[&str]], content: &str) -> Event {
    let tags = tags.iter().map(|tag| tag.iter().map(|element| (*element).to_owned()).collect()).collect();
    Event {
        id: [1; 32],
        pubkey: [2; 32],
        created_at: 1_700_000_000,
        kind: 1,
        tags,
        content: content.to_owned(),
        sig: [3; 64],
        form: IdForm::Json,
    }
}

fn read(event: &Event) -> Event {
    let body = event.pack();
    assert_eq!(Packed::sig_of(&body).unwrap(), event.sig);
    Packed::open(&body).unwrap().to_event(event.id, event.pubkey, event.created_at, event.kind).unwrap()
}

#[test]
fn stored_bytes_never_change() {
    // Written by version 1: what an archive holds must be read by every later release.
    let stored = event(&[&["e", &"ab".repeat(32), "wss://nos.lol"], &["t", ""]], "gm nostr 🫂");
    let mut body = vec![0x10];
    body.extend([3; 64]);
    body.push(32);
    body.extend([0xab; 32]);
    body.extend(b"e\xfe\xf8\xfewss://nos.lol\xfdt\xfe\xfd\xfcgm nostr \xf0\x9f\xab\x82");
    let plain = Packed::open(&body).unwrap();
    assert_eq!(plain.to_event(stored.id, stored.pubkey, stored.created_at, 1).unwrap(), stored);
    // A changed dictionary makes every stored event unreadable.
    assert_eq!(crate::hex::encode(&Sha256::digest(include_bytes!("dictionary.txt"))), DICTIONARY_SHA256);
}

const DICTIONARY_SHA256: &str = "b4fd0499966ea260ee5c2d1a180fe9e2b58313d923884ea205d972cb403fecff";

#[test]
fn hashes_take_their_bytes_and_text_is_compressed() {
    let id = "0123456789abcdef".repeat(4);
    let tags: Vec<Vec<&str>> = (0..20).map(|_| vec!["p", id.as_str(), "wss://relay.damus.io"]).collect();
    let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
    let packed = event(&tags, &"all work and no play ".repeat(10)).pack();
    assert!(packed.len() < 65 + 20 * 32 + 120, "{} bytes", packed.len());
}

#[test]
fn odd_strings_come_back() {
    let digits = "f".repeat(200);
    let long = "ab".repeat(500);
    for content in
        ["", "\0", "x\0y", "ÿ\u{fffd}\u{10ffff}", &digits[..31], &digits[..32], &digits[..65], &digits[..97], &long]
    {
        for tags in [&[][..], &[&[""][..]], &[&["", ""][..], &["\0"]], &[&[&digits[..63], &digits[..], "a"][..]]] {
            let event = event(tags, content);
            assert_eq!(read(&event), event);
            let body = event.pack();
            let raw = Packed::open(&body).unwrap().raw(&event.pubkey, event.created_at, event.kind).unwrap();
            assert_eq!(raw, event.raw(), "{event:?}");
        }
    }
    for form in IdForm::ALL {
        let event = Event { form, ..event(&[&["t", "\u{1b}"]], "\u{7f}") };
        assert_eq!(read(&event), event);
        let body = event.pack();
        assert_eq!(Packed::open(&body).unwrap().raw(&event.pubkey, event.created_at, 1).unwrap(), event.raw());
    }
}

#[test]
fn size_is_known_without_unpacking() {
    let size = |event: &Event| Packed::size_of(&event.pack()).unwrap();
    assert_eq!(size(&event(&[], "gm")), 3);
    assert!((100_000..100_010).contains(&size(&event(&[], &"xyz ".repeat(25_000)))));
}

#[test]
fn knows_what_may_expire() {
    assert!(Packed::may_expire(&event(&[&["expiration", "1"]], "").pack()));
    assert!(!Packed::may_expire(&event(&[&["e", "expiration"]], "expiration").pack()));
}

proptest! {
    #[test]
    fn any_event_comes_back(
        tags in proptest::collection::vec(proptest::collection::vec("[0-9a-f]{0,140}|\\PC{0,20}|.{0,8}", 1..5), 0..8),
        content in "([0-9a-f]{20,90}|.{0,30}|\\PC{0,200}){0,4}",
    ) {
        let event = Event { tags, ..event(&[], &content) };
        prop_assert_eq!(read(&event), event);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_an_event_and_never_a_panic(
        content in ".{0,60}", cut in 0..200usize, place in 0..200usize, byte in any::<u8>(),
    ) {
        let mut body = event(&[&["e", &"ab".repeat(32)], &["t", "nostr"]], &content).pack();
        body.truncate(cut.max(1));
        let place = place % body.len();
        body[place] = byte;
        if let Ok(packed) = Packed::open(&body) {
            let _ = (packed.tags(), packed.content(), packed.raw(&[0; 32], 0, 1));
        }
    }
}
