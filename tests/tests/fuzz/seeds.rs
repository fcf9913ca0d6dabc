//! What the inputs begin with.

use bigbrotr_models::{Event, sighting};
use bigbrotr_tests::{Generator, generate::Spec, tls};

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn events_as_text() -> Vec<String> {
    Generator::new(7).corpus(40, &Spec::default()).iter().map(|event| event.to_string()).collect()
}

pub fn urls() -> Vec<Vec<u8>> {
    texts(&[
        "wss://relay.damus.io/",
        "ws://[2001:db8::1]:7777/a/../b%20c?q#f",
        "WSS://user:pw@Relay.Example.COM.:443//x//",
        "wss://faß.de,ws://10.0.0.1|wss://a.iowss://b",
        "\u{200b}<wss://nos.lol>\u{a0}%00",
        "ws://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
        "wss://0x7f.1 wss://2130706433 wss://0177.0.0.1 wss://[::ffff:127.0.0.1]",
        "wss://xn--80ak6aa92e.com/npub1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ])
}

pub fn events() -> Vec<Vec<u8>> {
    events_as_text().into_iter().map(String::into_bytes).collect()
}

pub fn messages() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        r#"["EOSE","s","finish"]"#,
        r#"["CLOSED","s","auth-required: x"]"#,
        r#"["NOTICE","rate-limited: \ud83d\ude00"]"#,
        r#"["OK","0000000000000000000000000000000000000000000000000000000000000000",true,"duplicate:"]"#,
        r#"["AUTH","challenge"]"#,
        r#"["COUNT","q",{"count":5,"approximate":true,"hll":"00"}]"#,
        r#"["NEG-MSG","s","6100000200"]"#,
        r#"["NEG-ERR","s","blocked: too big",100]"#,
    ]);
    seeds.extend(events_as_text().iter().map(|event| format!(r#"["EVENT","s",{event}]"#).into_bytes()));
    seeds
}

pub fn documents() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"name":"n","pubkey":"7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e","supported_nips":[1,"11","C7",42.0],
            "limitation":{"max_limit":"500","auth_required":0,"min_pow_difficulty":null},"fees":{"admission":[{"amount":1e3,"unit":"msats"}]}}"#,
        "\u{feff}{\"name\":\"\\u0000\\ud800\",\"limitation\":null,\"x\":[[[[{}]]]],\"n\":-1.5E-20}",
        "<!doctype html><html></html>",
        r#"{"retention":[{"kinds":[0,[5,7]],"time":null,"count":1}],"relay_countries":"*","tags":{}}"#,
    ])
}

pub fn filters() -> Vec<Vec<u8>> {
    texts(&[
        r##"{"ids":["0000000000000000000000000000000000000000000000000000000000000000"],"kinds":[0,1,30023],"since":1,"until":1700000000,"limit":5,"#e":["a"]}"##,
        r##"{"authors":[],"#t":["nostr","Ü"],"search":"x"}"##,
    ])
}

pub fn names() -> Vec<Vec<u8>> {
    texts(&[
        "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg",
        "nostr:nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p",
        "hello nostr:note1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqsqqqqq! nevent1 naddr1q",
    ])
}

pub fn negentropy() -> Vec<Vec<u8>> {
    texts(&["6100000200", "61000001ff", "6186aacfe200010203", "610000020501020304", "62", "6100000201aa"])
}

pub fn bodies() -> Vec<Vec<u8>> {
    events_as_text().iter().filter_map(|text| Event::from_text(text).ok()).map(|event| event.pack()).collect()
}

pub fn leaves() -> Vec<Vec<u8>> {
    vec![
        sighting::serialize(&(1..300).collect()),
        sighting::serialize(&[5, 1 << 33, 1 << 40].into_iter().collect()),
        sighting::serialize(&(0..100_000).step_by(3).collect()),
    ]
}

pub fn certificates() -> Vec<Vec<u8>> {
    ["relay.example", "127.0.0.1"].into_iter().flat_map(|name| tls::self_signed(name).chain).collect()
}

/// Answers of a name server: a question with an address, an alias, and a name that points at itself.
pub fn dns() -> Vec<Vec<u8>> {
    let head = |answers: u8| [0x12, 0x34, 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0];
    let question = b"\x05relay\x07example\x03com\x00\x00\x01\x00\x01";
    let answer = |kind: u8, data: &[u8]| {
        let mut record = vec![0xc0, 0x0c, 0, kind, 0, 1, 0, 0, 1, 44, 0, data.len() as u8];
        record.extend_from_slice(data);
        record
    };
    let message = |answers: &[Vec<u8>]| [&head(answers.len() as u8)[..], question, &answers.concat()].concat();
    vec![
        message(&[answer(1, &[9, 9, 9, 9])]),
        message(&[answer(5, b"\x03www\xc0\x12"), answer(28, &[0x20; 16])]),
        message(&[answer(2, b"\xc0\x0c"), answer(12, b"\xc0\x0c"), answer(16, b"\x03abc")]),
    ]
}

pub fn heads() -> Vec<Vec<u8>> {
    texts(&[
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServer: nginx\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: //relay.example/\r\nContent-Length: 0\r\n\r\n",
    ])
}
