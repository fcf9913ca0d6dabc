//! What is understood of documents that strangers wrote, and that none of them makes a view fail.

use tokio_postgres::Client;

use crate::support::{database, quote, rows, text};

/// A relay with this document, newest of its type.
pub async fn show(client: &Client, relay: i32, kind: &str, document: &str, at: i64) {
    let document = quote(document);
    let sql = format!(
        "SELECT bigbrotr.record_metadata({relay}, '{kind}', bigbrotr.content_hash({document}::jsonb), {document}, {at})"
    );
    text(client, &sql).await;
}

pub async fn add_relay(client: &Client, url: &str) -> i32 {
    text(client, &format!("SELECT bigbrotr.add_relay('{url}')")).await.and_then(|id| id.parse().ok()).expect("an id")
}

async fn info(client: &Client, document: &str, columns: &str) -> String {
    let shown = format!(
        "BEGIN; SELECT bigbrotr.record_metadata(bigbrotr.add_relay('wss://a.com'), 'nip11_info', bigbrotr.content_hash({0}), {0}, 1700000000)",
        quote(document)
    );
    client.batch_execute(&shown).await.unwrap_or_else(|error| panic!("{document}: {error:?}"));
    let row = rows(client, &format!("SELECT {columns} FROM bigbrotr.relay_info")).await;
    client.batch_execute("ROLLBACK").await.expect("undone");
    row.into_iter().next().expect("a row")
}

#[tokio::test]
async fn each_member_of_a_nip11_document_is_read_as_it_is_meant() {
    let (_, client) = database().await;
    let key = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d";
    let npub = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6";
    let nprofile = "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
    for (document, columns, expected) in [
        (format!(r#"{{"pubkey":"{key}"}}"#), "encode(pubkey, 'hex')", key),
        (format!(r#"{{"pubkey":" {}\n"}}"#, key.to_uppercase()), "encode(pubkey, 'hex')", key),
        (format!(r#"{{"pubkey":"{npub}"}}"#), "encode(pubkey, 'hex')", key),
        (format!(r#"{{"pubkey":"nostr:{npub}","self":"{npub}"}}"#), "encode(self, 'hex')", key),
        (format!(r#"{{"pubkey":"{nprofile}"}}"#), "encode(pubkey, 'hex')", key),
        (format!(r#"{{"pubkey":"{}"}}"#, &key[1..]), "pubkey", "NULL"),
        (r#"{"pubkey":"nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"}"#.into(), "pubkey", "NULL"),
        (r#"{"pubkey":"npub1qqqq","name":"n"}"#.into(), "pubkey, name", "NULL|n"),
        (r#"{"pubkey":["x"],"self":7,"contact":{},"name":"n"}"#.into(), "pubkey, self, contact, name", "NULL|NULL|NULL|n"),
        (r#"{"name":["n"],"description":{"a":1},"software":null,"version":"  "}"#.into(), "name, description, software, version", "NULL|NULL|NULL|NULL"),
        (r#"{"name":"a\uFFFDb","icon":"i","banner":"b"}"#.into(), "name, icon, banner", "a\u{FFFD}b|i|b"),
        (r#"{"supported_nips":[1,"11",11,"042",9.0,1.5,-1,null,{},[5],"C7","7d","NIP-65",99999999999,"x"]}"#.into(), "supported_nips, supported_nip_names", "{1,9,11,42,65}|{7D,C7}"),
        (r#"{"supported_nips":11}"#.into(), "supported_nips", "{11}"),
        (r#"{"supported_nips":"11"}"#.into(), "supported_nips", "{11}"),
        (r#"{"supported_nips":"1, 11; nip-50 EE"}"#.into(), "supported_nips, supported_nip_names", "{1,11,50}|{EE}"),
        (r#"{"supported_nips":{"1":true}}"#.into(), "supported_nips", "NULL"),
        (r#"{"supported_nips":[]}"#.into(), "supported_nips", "NULL"),
        (r#"{"limitation":null,"name":"n"}"#.into(), "name, max_limit, auth_required", "n|NULL|NULL"),
        (r#"{"limitation":"none"}"#.into(), "max_limit", "NULL"),
        (r#"{"limitation":[{"max_limit":5}]}"#.into(), "max_limit", "5"),
        (r#"{"limitation":[null]}"#.into(), "max_limit", "NULL"),
        (r#"{"limitation":{"max_limit":"500","max_subscriptions":" 20 ","max_message_length":"1e3"}}"#.into(), "max_limit, max_subscriptions, max_message_length", "500|20|1000"),
        (r#"{"limitation":{"max_limit":500.9,"max_subscriptions":1e2,"max_filters":"7.0"}}"#.into(), "max_limit, max_subscriptions, max_filters", "500|100|7"),
        (r#"{"limitation":{"max_limit":-1,"max_subscriptions":true,"max_subid_length":"many"}}"#.into(), "max_limit, max_subscriptions, max_subid_length", "NULL|NULL|NULL"),
        (r#"{"limitation":{"max_limit":9223372036854775807,"max_event_tags":9223372036854775808,"max_content_length":1e400,"default_limit":"99999999999999999999"}}"#.into(), "max_limit, max_event_tags, max_content_length, default_limit", "9223372036854775807|NULL|NULL|NULL"),
        (r#"{"limitation":{"min_pow_difficulty":"30","created_at_lower_limit":-31536000,"created_at_upper_limit":2147483648}}"#.into(), "min_pow_difficulty, created_at_lower_limit, created_at_upper_limit", "30|-31536000|2147483648"),
        (r#"{"limitation":{"min_pow_difficulty":100000}}"#.into(), "min_pow_difficulty", "NULL"),
        (r#"{"limitation":{"auth_required":1,"payment_required":"true","restricted_writes":"No"}}"#.into(), "auth_required, payment_required, restricted_writes", "t|t|f"),
        (r#"{"limitation":{"auth_required":0,"payment_required":2,"restricted_writes":[true]}}"#.into(), "auth_required, payment_required, restricted_writes", "f|NULL|NULL"),
        (r#"{"relay_countries":["US",1,"US",null," "],"language_tags":"en","tags":{},"attributes":["a"]}"#.into(), "relay_countries, language_tags, tags, attributes", "{US}|{en}|NULL|{a}"),
        (r#"{"fees":{"admission":[{"amount":1}]},"retention":{"time":5}}"#.into(), "fees, retention", r#"{"admission": [{"amount": 1}]}|[{"time": 5}]"#),
        (r#"{"fees":"free","retention":7}"#.into(), "fees, retention", "NULL|NULL"),
        (r#"{"payments_url":"p","posting_policy":"pp","privacy_policy":"pr","terms_of_service":"t"}"#.into(), "payments_url, posting_policy, privacy_policy, terms_of_service", "p|pp|pr|t"),
        ("[1]".into(), "name, supported_nips, max_limit, fees", "NULL|NULL|NULL|NULL"),
        ("null".into(), "name, supported_nips, max_limit, fees", "NULL|NULL|NULL|NULL"),
        ("\"text\"".into(), "name, supported_nips, max_limit, fees", "NULL|NULL|NULL|NULL"),
    ] {
        assert_eq!(info(&client, &document, columns).await, expected, "{columns} of {document}");
    }
}

#[tokio::test]
async fn documents_of_our_checks_are_shown_by_their_views() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let fingerprint = "ab".repeat(32);
    let certificate = format!(
        r#"{{"valid":false,"error":"expired","subject_cn":"a.com","issuer":"CN=E5","issuer_cn":"E5","not_before":1600000000,
            "not_after":1700000000,"sans":["a.com","*.a.com"],"fingerprint":"{fingerprint}","protocol":"TLSv1.3","key_bits":256,"chain_length":2}}"#
    );
    for (kind, document) in [
        ("nip66_ssl", certificate.as_str()),
        ("nip66_dns", r#"{"a":["192.0.2.1"],"cname":["b.com","c.com"],"ttl":300}"#),
        (
            "nip66_geo",
            r#"{"ip":"192.0.2.1","country":"DE","city":"Köln","latitude":50.9,"longitude":6.95,"is_eu":true}"#,
        ),
        ("nip66_net", r#"{"ip_v6":"2001:db8::1","asn_v6":64500,"asn_org_v6":"Org","network_v6":"2001:db8::/32"}"#),
        ("nip66_http", r#"{"server":"nginx","x-powered-by":"x","other":"y"}"#),
    ] {
        show(&client, relay, kind, document, 1_700_000_000).await;
    }
    for (sql, expected) in [
        (
            "SELECT valid, error, subject_cn, issuer_cn, not_after = to_timestamp(1700000000), expires_in < interval '0', sans, encode(fingerprint, 'hex'), protocol, key_bits FROM bigbrotr.relay_certificate",
            format!("f|expired|a.com|E5|t|t|{{a.com,*.a.com}}|{fingerprint}|TLSv1.3|256"),
        ),
        ("SELECT a, aaaa, cname, ttl FROM bigbrotr.relay_dns", "{192.0.2.1}|NULL|{b.com,c.com}|300".into()),
        ("SELECT country, city, latitude, longitude, is_eu FROM bigbrotr.relay_geo", "DE|Köln|50.9|6.95|t".into()),
        ("SELECT asn, asn_v6, asn_org_v6, network_v6 FROM bigbrotr.relay_net", "NULL|64500|Org|2001:db8::/32".into()),
        ("SELECT server, powered_by, headers ->> 'other' FROM bigbrotr.relay_http", "nginx|x|y".into()),
        (
            "SELECT country, city, asn, asn_org, ssl_valid, ssl_expires_at = to_timestamp(1700000000) FROM bigbrotr.relay_status",
            "DE|Köln|64500|Org|f|t".into(),
        ),
    ] {
        assert_eq!(rows(&client, sql).await, [expected], "{sql}");
    }
}

/// Documents of every shape: known member names with values of any type, nested, huge and odd.
fn garbage(seed: u64) -> String {
    const NAMES: [&str; 44] = [
        "name",
        "description",
        "pubkey",
        "self",
        "contact",
        "software",
        "version",
        "supported_nips",
        "limitation",
        "max_limit",
        "max_message_length",
        "min_pow_difficulty",
        "created_at_lower_limit",
        "auth_required",
        "payment_required",
        "fees",
        "retention",
        "relay_countries",
        "language_tags",
        "tags",
        "valid",
        "error",
        "not_before",
        "not_after",
        "sans",
        "fingerprint",
        "key_bits",
        "chain_length",
        "a",
        "aaaa",
        "cname",
        "ns",
        "ptr",
        "ttl",
        "ip",
        "country",
        "is_eu",
        "latitude",
        "longitude",
        "accuracy_km",
        "geoname_id",
        "asn",
        "asn_v6",
        "server",
    ];
    const VALUES: [&str; 40] = [
        "null",
        "true",
        "false",
        "0",
        "-0.0",
        "1",
        "-1",
        "1.5",
        "1e400",
        "-1e400",
        "1e-400",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "4294967296",
        "253402300800",
        "1e99",
        "\"\"",
        "\" \"",
        "\"1\"",
        "\"-1\"",
        "\"1e99\"",
        "\"1e-99\"",
        "\"+5.\"",
        "\"\\u00a05\"",
        "\"0x10\"",
        "\"NaN\"",
        "\"Infinity\"",
        "\"true\"",
        "\"C7\"",
        "\"\\ufffd\"",
        "\"{}\"",
        "\"{a,NULL}\"",
        "\"nsec1qqqq\"",
        "\"npub1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq\"",
        "[]",
        "{}",
        "[null,[[]],{\"a\":[]}]",
        "[\"{\",\"\\\"\",\",\",\"NULL\",\"\\\\\"]",
        "[1,\"2\",3.5,\"7D\",\"nip-\",\"nip-5\"]",
    ];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut members: Vec<String> = Vec::new();
    for _ in 0..next(20) {
        let name = NAMES[next(NAMES.len())];
        let value = match next(8) {
            0 => format!("[{},{}]", VALUES[next(VALUES.len())], VALUES[next(VALUES.len())]),
            1 => format!("{{\"{}\":{}}}", NAMES[next(NAMES.len())], VALUES[next(VALUES.len())]),
            2 => format!("\"{}\"", "9".repeat(next(60))),
            3 => "9".repeat(1 + next(400)),
            _ => VALUES[next(VALUES.len())].to_owned(),
        };
        members.push(format!("\"{name}\":{value}"));
    }
    match next(12) {
        0 => VALUES[next(VALUES.len())].to_owned(),
        1 => format!("[{{{}}}]", members.join(",")),
        _ => format!("{{{}}}", members.join(",")),
    }
}

const VIEWS: [&str; 9] = [
    "relay_info",
    "relay_certificate",
    "relay_dns",
    "relay_geo",
    "relay_net",
    "relay_http",
    "relay_status",
    "relay_changelog",
    "relay_metadata_latest",
];

#[tokio::test]
async fn no_document_makes_a_view_fail() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let mut stored = 0;
    for seed in 0..1_500 {
        let kind = ["nip11_info", "nip66_ssl", "nip66_dns", "nip66_geo", "nip66_net", "nip66_http"][seed % 6];
        let document = garbage(seed as u64 / 6 + 1);
        let literal = quote(&document);
        let sql = format!(
            "SELECT bigbrotr.record_metadata({relay}, '{kind}', bigbrotr.content_hash({literal}::jsonb), {literal}, {})",
            1_700_000_000 + 100_000 * seed
        );
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{kind} {document}: {error:?}"));
        for view in VIEWS.iter().take(if seed % 25 < 6 { VIEWS.len() } else { 7 }) {
            let sql = format!("SELECT * FROM bigbrotr.{view}");
            client.simple_query(&sql).await.unwrap_or_else(|error| panic!("{view} of {document}: {error:?}"));
        }
        stored += 1;
    }
    assert_eq!(stored, 1_500);
    let read = "SELECT count(*) > 100 FROM bigbrotr.metadata WHERE typed <> '{}'";
    assert_eq!(text(&client, read).await.as_deref(), Some("t"), "something of the garbage is understood");
    assert_eq!(text(&client, "SELECT count(*) FROM bigbrotr.metadata WHERE typed IS NULL").await.as_deref(), Some("0"));
}
