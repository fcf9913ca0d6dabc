//! Whole inputs to begin with, and words of each format. Made here; `BIGBROTR_DATA`, a folder with `real-events.jsonl` and
//! `seed-relays.txt`, adds real ones.

use std::{env, fs, path::Path};

use bigbrotr_models::{Event, sighting};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use secp256k1::{Keypair, SECP256K1};

type Words = &'static [&'static [u8]];

pub const URL_WORDS: Words = &[
    b"wss://",
    b"ws://",
    b"http://",
    b"https://",
    b"//",
    b"@",
    b":80",
    b":443",
    b"/",
    b"?",
    b"#",
    b".onion",
    b".b32.i2p",
    b".loki",
    b"[::1]",
    b"[::ffff:127.0.0.1]",
    b"127.0.0.1",
    b"2130706433",
    b"0x7f000001",
    b"0177.0.0.1",
    b"localhost",
    b".local",
    b"xn--",
    b"%2e",
    b"%00",
    b"\xe3\x80\x82",
    b"\xef\xbc\x8f",
    b"file:///",
    b"javascript:",
    b"example.com",
    b"wss:",
];
pub const JSON_WORDS: Words = &[
    b"\"id\":",
    b"\"pubkey\":",
    b"\"created_at\":",
    b"\"kind\":",
    b"\"tags\":",
    b"\"content\":",
    b"\"sig\":",
    b"[\"EVENT\",",
    b"[\"OK\",",
    b"[\"EOSE\",",
    b"[\"CLOSED\",",
    b"[\"NOTICE\",",
    b"[\"AUTH\",",
    b"[\"COUNT\",",
    b"[\"NEG-MSG\",",
    b"[\"NEG-ERR\",",
    b"\"ids\":",
    b"\"#e\":",
    b"\"since\":",
    b"\"limit\":",
    b"\"limitation\":",
    b"\"supported_nips\":",
    b"null",
    b"true",
    b"1e400",
    b"-0",
    b"0.1",
    b"\\u2028",
    b"\\/",
    b"{\"a\":{\"a\":{\"a\":",
];
pub const PACKED_WORDS: Words =
    &[b"\xfe", b"\xfd", b"\xfc", b"\xf8", b"\xf9\x20", b"\x10", b"\x14", b"\x18", b"\xff\xff\xff\xff\x7f"];
pub const NIP19_WORDS: Words =
    &[b"nostr:", b"npub1", b"note1", b"nprofile1", b"nevent1", b"naddr1", b"nrelay1", b"nsec1", b"qqqqqqqq", b"@"];
pub const HTTP_WORDS: Words = &[
    b"HTTP/1.1 101 \r\n",
    b"Upgrade: websocket\r\n",
    b"Connection: Upgrade\r\n",
    b"Sec-WebSocket-Accept: ",
    b"\r\n ",
    b"\n\n",
    b"a: b\r\n",
    b"HTTP/1.0 ",
    b"999",
];
pub const DER_WORDS: Words = &[
    b"\x30\x82",
    b"\x30\x80",
    b"\x06\x03\x55\x1d\x11",
    b"\x18\x0f",
    b"\x17\x0d",
    b"\x02\x01",
    b"\x84\xff\xff\xff\xff",
    b"\x0c",
];

/// Lines of a file of real data, if there is one.
fn real(file: &str, most: usize) -> Vec<String> {
    let Some(folder) = env::var_os("BIGBROTR_DATA") else { return Vec::new() };
    let text = fs::read_to_string(Path::new(&folder).join(file)).unwrap_or_default();
    let step = (text.lines().count() / most).max(1);
    text.lines().step_by(step).take(most).map(str::to_owned).collect()
}

fn bytes<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| text.as_ref().to_vec()).collect()
}

fn made() -> Vec<Event> {
    let Ok(keys) = Keypair::from_seckey_slice(SECP256K1, &[7; 32]) else { return Vec::new() };
    let hex = "ab".repeat(32);
    let tag = |elements: &[&str]| elements.iter().map(|element| (*element).to_owned()).collect::<Vec<_>>();
    [
        (1, vec![], "hello"),
        (
            1,
            vec![tag(&["e", &hex, "wss://relay.example.com", "root"]), tag(&["p", &hex]), tag(&["t"])],
            "\u{0}\n\"\\\u{2028} é 🦀",
        ),
        (3, vec![tag(&["p", &hex, "", "name"])], r#"{"wss://relay.damus.io/":{"read":true}}"#),
        (10002, vec![tag(&["r", "wss://nos.lol/", "read"])], ""),
        (1059, vec![tag(&["expiration", "1700000000"])], &"nostr:npub1qqqq ".repeat(40)),
    ]
    .into_iter()
    .map(|(kind, tags, content)| Event::sign(&keys, 1_700_000_000, kind, tags, content).into_inner())
    .collect()
}

pub fn urls() -> Vec<Vec<u8>> {
    let mut all = bytes([
        "wss://relay.damus.io",
        "ws://nos.lol:8080/path?x#y",
        "WSS://Relay.Example.COM.:443//a/../b/",
        "wss://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
        "ws://[2606:4700::1111]:7777/",
        "wss://user:pass@münchen.de",
        "see wss://a.com,wss://b.com and \"wss:\\/\\/c.com\"",
        "wss%3A%2F%2Frelay.damus.io",
        "wss://wss://nos.lol",
    ]);
    all.extend(bytes(real("seed-relays.txt", 200)));
    all
}

pub fn events() -> Vec<Vec<u8>> {
    let mut all = bytes(made().iter().map(Event::to_json));
    all.extend(bytes(real("real-events.jsonl", 100)));
    all
}

pub fn packed() -> Vec<Vec<u8>> {
    let real = real("real-events.jsonl", 100);
    let real = real.iter().filter_map(|line| Event::from_text(line).ok());
    made().into_iter().chain(real).map(|event| event.pack()).collect()
}

pub fn leaves() -> Vec<Vec<u8>> {
    let sets: [Vec<u64>; 4] =
        [vec![], vec![1, 5, 1 << 33], (1..900).collect(), (0..20_000).step_by(3).map(|n| n * 7).collect()];
    sets.into_iter().map(|set| sighting::serialize(&set.into_iter().collect())).collect()
}

pub fn filters() -> Vec<Vec<u8>> {
    bytes([
        "{}",
        r##"{"kinds":[1,3],"#t":["a","b"],"since":1,"until":2,"limit":3}"##,
        &format!(r#"{{"ids":["{0}"],"authors":["{0}"],"search":"x"}}"#, "ab".repeat(32)),
    ])
}

pub fn documents() -> Vec<Vec<u8>> {
    bytes([
        "{}",
        r#"{"name":"r","supported_nips":[1,"2",11.0,null],"limitation":{"max_limit":500,"auth_required":"true"},"fees":{"x":[{"amount":1e3}]},"software":5}"#,
        "{\"a\":[1.10,-0,1e5,\"\\u0000\\ud83e\\udd80\"],\"é\":{\"z\":1,\"a\":[]}}",
    ])
}

/// The first byte chooses the encoding.
pub fn compressed() -> Vec<Vec<u8>> {
    // {"name":"a relay"} by gzip, and as zlib and raw deflate have it.
    let raw = b"\xab\x56\xca\x4b\xcc\x4d\x55\xb2\x52\x4a\x54\x28\x4a\xcd\x49\xac\x54\xaa\x05\x00";
    let gzip = [&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"[..], raw, b"\x52\xc6\x7f\x8a\x12\x00\x00\x00"].concat();
    let zlib = [&b"\x78\x9c"[..], raw, b"\x37\xbb\x05\xfa"].concat();
    let with = |first: u8, body: &[u8]| [&[first], body].concat();
    vec![with(1, &gzip), with(0, &gzip), with(2, raw), with(2, &zlib), with(4, b"\x8b{}")]
}

pub fn messages() -> Vec<Vec<u8>> {
    let id = "ab".repeat(32);
    let mut all = bytes([
        r#"["EOSE","x"]"#.to_owned(),
        r#"["EOSE","x",{"finish":true}]"#.to_owned(),
        format!(r#"["OK","{id}",true,"duplicate: x"]"#),
        r#"["CLOSED","x","auth-required: y"]"#.to_owned(),
        r#"["NOTICE","too many requests"]"#.to_owned(),
        r#"["AUTH","challenge"]"#.to_owned(),
        r#"["COUNT","x",{"count":5,"approximate":true}]"#.to_owned(),
        r#"["NEG-MSG","x","6100000203"]"#.to_owned(),
        r#"["NEG-ERR","x","blocked: too big",500]"#.to_owned(),
    ]);
    all.extend(events().into_iter().map(|event| [b"[\"EVENT\",\"x\",", event.as_slice(), b"]"].concat()));
    all
}

pub fn nip19() -> Vec<Vec<u8>> {
    let profile = "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
    let key = bigbrotr_nips::nip19::npub(&[7; 32]);
    bytes([profile.to_owned(), format!("hello nostr:{key}, {}", bigbrotr_nips::nip19::note(&[9; 32])), key])
}

pub fn negentropy() -> Vec<Vec<u8>> {
    let mut storage = NegentropyStorageVector::new();
    for n in 50..150_u8 {
        let _ = storage.insert(u64::from(n) * 10, Id::from_byte_array([n; 32]));
    }
    let _ = storage.seal();
    let first = Negentropy::owned(storage, 0).and_then(|mut session| session.initiate());
    let mut all =
        bytes([&b"\x61"[..], b"\x60", b"=zz", b"\x61\x00\x00\x02\x01\x05", b"\x61\n\x61\x00\x00\x02\x01\x05"]);
    all.extend(first.ok());
    all
}

pub fn heads() -> Vec<Vec<u8>> {
    bytes([
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 502 Bad Gateway\n\n",
    ])
}

pub fn locations() -> Vec<Vec<u8>> {
    let mut all = urls();
    all.extend(bytes([
        "/a",
        "//example.com/",
        "https://www.example.com/x?y",
        "http://relay.example.com@127.0.0.1/",
        "http://2130706433/",
        "http://b.b32.i2p/",
        "http://192.0.2.1:81/",
    ]));
    all
}

pub fn frames() -> Vec<Vec<u8>> {
    bytes([
        &b"\x81\x05hello"[..],
        b"\x01\x02he\x80\x03llo",
        b"\x89\x01x\x8a\x01x\x88\x02\x03\xe8",
        b"\x82\x7e\x01\x00",
        b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81\x85\x01\x02\x03\x04hello",
        b"\xc1\x02hi",
    ])
}

pub fn socks() -> Vec<Vec<u8>> {
    bytes([
        &b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"[..],
        b"\x05\x00\x05\x04\x00\x03\x04host\x00\x50",
        b"\x05\x00\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        b"\x05\x02\x01\x00",
        b"\x05\xff",
    ])
}

pub fn dns() -> Vec<Vec<u8>> {
    let question = b"\x05relay\x07example\x03com\x00\x00\x01\x00\x01";
    let head = |answers: u8| [&b"\x12\x34\x81\x80\x00\x01\x00"[..], &[answers], b"\x00\x00\x00\x00", question].concat();
    let record = |kind: u8, data: &[u8]| {
        [&b"\xc0\x0c\x00"[..], &[kind], b"\x00\x01\x00\x00\x00\x3c\x00", &[data.len() as u8], data].concat()
    };
    vec![
        head(0),
        [head(2), record(1, &[9, 9, 9, 9]), record(28, &[0x20; 16])].concat(),
        [head(1), record(5, b"\x01a\xc0\x12")].concat(),
        [head(1), record(5, b"\xc0\x0c")].concat(),
        [head(1), record(16, b"\x05hello")].concat(),
        [head(2), record(2, b"\x02ns\xc0\x12"), record(12, b"\x03ptr\x00")].concat(),
        [head(1), record(6, &[b"\x02ns\xc0\x12\x01m\xc0\x12".as_slice(), &[0; 20]].concat())].concat(),
        [head(1), record(65, b"\x00\x01\x00\x00\x01\x00\x03\x02h2")].concat(),
    ]
}

/// A certificate without a valid signature is one for the parser.
pub fn certificates() -> Vec<Vec<u8>> {
    let element = |tag: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        let mut out = vec![tag];
        match body.len() {
            n @ 0..128 => out.push(n as u8),
            n => out.extend([0x82, (n >> 8) as u8, n as u8]),
        }
        out.extend(body);
        out
    };
    let rsa = element(0x30, &[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"]);
    let name = element(
        0x30,
        &[&element(0x31, &[&element(0x30, &[b"\x06\x03\x55\x04\x03", &element(0x0c, &[b"relay.example.com"])])])],
    );
    let validity = element(0x30, &[&element(0x17, &[b"250101000000Z"]), &element(0x18, &[b"20600101000000Z"])]);
    let key = element(
        0x30,
        &[&rsa, &element(0x03, &[b"\0", &element(0x30, &[&element(0x02, &[&[0x11; 64]]), b"\x02\x03\x01\x00\x01"])])],
    );
    let names = element(0x30, &[&element(0x82, &[b"relay.example.com"]), &element(0x87, &[&[127, 0, 0, 1]])]);
    let extension = element(0x30, &[b"\x06\x03\x55\x1d\x11", &element(0x04, &[&names])]);
    let extensions = element(0xa3, &[&element(0x30, &[&extension])]);
    let body = element(
        0x30,
        &[b"\xa0\x03\x02\x01\x02", b"\x02\x02\x12\x34", &rsa, &name, &validity, &name, &key, &extensions],
    );
    vec![element(0x30, &[&body, &rsa, &element(0x03, &[b"\0", &[0x22; 64]])])]
}
