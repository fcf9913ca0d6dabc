//! What checks leave behind: typed documents, changes, outages, uptime.

use tokio_postgres::Client;

use crate::support::{database, rows, text};

/// Noon of a day long before any check; times below are seconds after it.
const START: i64 = 1_700_000_000;

/// A database with relay 1 and a function that records a document of it.
async fn watched() -> Client {
    let (_, client) = database().await;
    client
        .batch_execute(
            "INSERT INTO bigbrotr.relay (id, url, network) VALUES (1, 'wss://nos.lol', 'clearnet');
             CREATE FUNCTION doc(type text, data text, at bigint) RETURNS void
               LANGUAGE sql AS $$ SELECT bigbrotr.record_metadata(1, type, bigbrotr.content_hash(data::jsonb), data, 1700000000 + at) $$;
             CREATE FUNCTION checked(at bigint, ok boolean, class text DEFAULT NULL) RETURNS void
               LANGUAGE sql AS $$ SELECT bigbrotr.record_check(1, 1700000000 + at, ok, 1, 1, NULL, class, class, 3600) $$",
        )
        .await
        .expect("helpers");
    client
}

async fn run(client: &Client, calls: &[&str]) {
    for call in calls {
        client.batch_execute(&format!("SELECT {call}")).await.unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
}

/// `what|old|new|seconds after the start`.
async fn changes(client: &Client) -> Vec<String> {
    rows(
        client,
        &format!(
            "SELECT what, old, new, extract(epoch FROM changed_at)::bigint - {START} FROM bigbrotr.relay_changes ORDER BY changed_at, what"
        ),
    )
    .await
}

#[tokio::test]
async fn what_a_document_changes_is_a_row_and_the_first_one_is_none() {
    let client = watched().await;
    run(
        &client,
        &[
            r#"doc('nip11_info', '{"name":"a","software":"s","version":1,"supported_nips":[1,2]}', 0)"#,
            r#"doc('nip11_info', '{"name":"a","software":"s","version":"1","supported_nips":["2",1],"icon":"x"}', 1)"#,
        ],
    )
    .await;
    assert_eq!(changes(&client).await, Vec::<String>::new(), "the same facts in other words");
    run(
        &client,
        &[
            r#"doc('nip11_info', '{"name":"a","software":["odd"],"version":"2","supported_nips":[1,2,11],"limitation":{"auth_required":"true"}}', 2)"#,
            "doc('nip11_info', '{}', 3)",
        ],
    )
    .await;
    assert_eq!(
        changes(&client).await,
        [
            "auth_required|NULL|true|2",
            "nips|[1, 2]|[1, 2, 11]|2",
            r#"software|"s"|NULL|2"#,
            r#"version|"1"|"2"|2"#,
            "auth_required|true|NULL|3",
            r#"name|"a"|NULL|3"#,
            "nips|[1, 2, 11]|NULL|3",
            r#"version|"2"|NULL|3"#,
        ]
    );
}

#[tokio::test]
async fn a_certificate_changes_with_its_fingerprint_or_verdict_and_not_with_a_broken_connection() {
    let client = watched().await;
    run(
        &client,
        &[
            r#"doc('nip66_ssl', '{"valid":true,"fingerprint":"aa"}', 0)"#,
            r#"doc('nip66_ssl', '{"valid":false,"error":"closed"}', 1)"#,
            r#"doc('nip66_ssl', '{"valid":true,"fingerprint":"aa"}', 2)"#,
        ],
    )
    .await;
    assert_eq!(changes(&client).await, Vec::<String>::new());
    run(
        &client,
        &[
            r#"doc('nip66_ssl', '{"valid":false,"error":"closed"}', 3)"#,
            r#"doc('nip66_ssl', '{"valid":false,"error":"expired","fingerprint":"aa"}', 4)"#,
            r#"doc('nip66_ssl', '{"valid":true,"fingerprint":"bb"}', 5)"#,
        ],
    )
    .await;
    assert_eq!(
        changes(&client).await,
        [
            r#"certificate_error|NULL|"expired"|4"#,
            r#"certificate|"aa"|"bb"|5"#,
            r#"certificate_error|"expired"|NULL|5"#
        ]
    );
}

#[tokio::test]
async fn a_name_with_many_addresses_has_not_moved_when_it_shows_others_of_them() {
    let client = watched().await;
    run(
        &client,
        &[
            r#"doc('nip66_dns', '{"a":["9.9.9.9"],"ttl":300}', 0)"#,
            r#"doc('nip66_dns', '{"a":["9.9.9.9","9.9.9.8"],"ttl":300}', 10)"#,
            r#"doc('nip66_dns', '{"a":["9.9.9.8"],"aaaa":["2001:4860::1"],"ttl":300}', 20)"#,
            r#"doc('nip66_dns', '{"a":["9.9.9.9"],"ttl":300}', 30)"#,
        ],
    )
    .await;
    assert_eq!(changes(&client).await, Vec::<String>::new());
    run(&client, &[r#"doc('nip66_dns', '{}', 40)"#, r#"doc('nip66_dns', '{"a":["8.8.8.8"],"ttl":300}', 50)"#]).await;
    assert_eq!(changes(&client).await, [r#"address|["9.9.9.9"]|["8.8.8.8"]|50"#]);
}

#[tokio::test]
async fn a_ttl_that_counts_down_is_the_same_answer() {
    let client = watched().await;
    let runs = "SELECT count(*) FROM bigbrotr.relay_metadata";
    for (at, ttl) in [(0, 300), (1, 200), (2, 1), (3, 300)] {
        run(&client, &[&format!(r#"doc('nip66_dns', '{{"a":["9.9.9.9"],"ttl":{ttl}}}', {at})"#)]).await;
    }
    assert_eq!(text(&client, runs).await.as_deref(), Some("1"));
    assert_eq!(text(&client, "SELECT ttl FROM bigbrotr.relay_dns").await.as_deref(), Some("300"));
    run(&client, &[r#"doc('nip66_dns', '{"a":["9.9.9.9"],"ttl":3600}', 4)"#]).await;
    assert_eq!(text(&client, runs).await.as_deref(), Some("2"), "now more of it is known");
    run(&client, &[r#"doc('nip66_dns', '{"a":["9.9.9.8"],"ttl":5}', 5)"#]).await;
    assert_eq!(text(&client, runs).await.as_deref(), Some("3"));
}

#[tokio::test]
async fn outages_make_the_history_and_the_uptime() {
    let client = watched().await;
    client.batch_execute("SET bigbrotr.history_retention = 2147483647").await.expect("kept for long");
    let day = 86_400;
    run(
        &client,
        &[
            "checked(0, true)",
            &format!("checked({day}, false, 'tcp')"),
            &format!("checked({day} + 60, false, 'dns')"),
            &format!("checked({day} * 2, true)"),
            &format!("checked({day} * 4, true)"),
        ],
    )
    .await;
    let history = format!(
        "SELECT online, extract(epoch FROM since)::bigint - {START}, extract(epoch FROM until)::bigint - {START}, error_class
         FROM bigbrotr.relay_history ORDER BY since"
    );
    assert_eq!(rows(&client, &history).await, ["t|0|86400|NULL", "f|86400|172800|tcp", "t|172800|NULL|NULL"]);
    let uptime = format!(
        "SELECT online, extract(epoch FROM since)::bigint - {START}, uptime_1d, uptime_7d, uptime_30d, outages_30d, longest_outage_30d
         FROM bigbrotr.relay_uptime"
    );
    assert_eq!(rows(&client, &uptime).await, ["t|172800|1|0.75|0.75|1|1 day"]);
    // An outage that lasts, up to the last check.
    run(&client, &[&format!("checked({day} * 5, false, 'tcp')"), &format!("checked({day} * 6, false, 'tcp')")]).await;
    assert_eq!(rows(&client, &uptime).await, ["f|432000|0|0.6666666666666667|0.6666666666666667|2|1 day"]);
    let status = format!("SELECT online, extract(epoch FROM down_since)::bigint - {START} FROM bigbrotr.relay_status");
    assert_eq!(rows(&client, &status).await, ["f|432000"]);
    // What ended before the time that is kept goes; what lasts stays.
    client.batch_execute("SELECT bigbrotr.maintain(1, 1, 100)").await.expect("maintained");
    assert_eq!(rows(&client, "SELECT up_at IS NULL FROM bigbrotr.relay_outage").await, ["t"]);
}

#[tokio::test]
async fn a_relay_that_dies_and_revives_says_so() {
    let client = watched().await;
    client
        .batch_execute(&format!("UPDATE bigbrotr.relay SET discovered_at = to_timestamp({START})"))
        .await
        .expect("long ago");
    run(&client, &["checked(0, true)"]).await;
    for n in 0..6 {
        run(&client, &[&format!("checked(86400 * 8 + {n}, false, 'tcp')")]).await;
    }
    assert_eq!(text(&client, "SELECT state FROM bigbrotr.relay").await.as_deref(), Some("dead"));
    run(&client, &["checked(86400 * 9, true)"]).await;
    assert_eq!(text(&client, "SELECT state FROM bigbrotr.relay").await.as_deref(), Some("active"));
    assert_eq!(changes(&client).await, [r#"state|"active"|"dead"|691204"#, r#"state|"dead"|"active"|777600"#]);
}

#[tokio::test]
async fn odd_members_of_a_document_are_null_and_hide_no_other() {
    let client = watched().await;
    let row = "SELECT name, encode(pubkey, 'hex'), version, supported_nips, supported_nip_names, auth_required, payment_required,
                      max_limit, max_subscriptions, max_message_length, min_pow_difficulty, language_tags, fees
               FROM bigbrotr.relay_info";
    for (document, expected) in [
        ("{}", "NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL"),
        (
            r#"{"name":"n","limitation":null,"fees":[]}"#,
            "n|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
        ),
        (
            r#"{"name":["n"],"pubkey":"npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg","version":1.5,
                "supported_nips":[1,"11","C7","7d","42.0",null,[3],{"a":1},-1,99999999999999999999],
                "limitation":{"auth_required":1,"payment_required":"false","max_limit":"500","max_subscriptions":20.0,
                              "max_message_length":1e400000,"min_pow_difficulty":"none"},
                "language_tags":"en","fees":{"admission":[{"amount":1}]}}"#,
            r#"NULL|7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e|1.5|{1,11,42}|{7D,C7}|t|f|500|20|NULL|NULL|{en}|{"admission": [{"amount": 1}]}"#,
        ),
        (
            r#"{"limitation":"none","supported_nips":"1, 11","pubkey":"nsec1x","language_tags":{"a":1}}"#,
            "NULL|NULL|NULL|{1,11}|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
        ),
    ] {
        // What jsonb itself cannot hold never gets there.
        let document = document.replace("1e400000", "1e400");
        client.batch_execute("TRUNCATE bigbrotr.relay_metadata, bigbrotr.metadata").await.expect("empty");
        let insert = "INSERT INTO bigbrotr.metadata VALUES ('\\x00', 'nip11_info', $1::text::jsonb)";
        client.execute(insert, &[&document]).await.expect("a document");
        client
            .batch_execute("INSERT INTO bigbrotr.relay_metadata VALUES (1, 'nip11_info', '\\x00', now(), now())")
            .await
            .expect("shown by the relay");
        assert_eq!(rows(&client, row).await, [expected], "{document}");
    }
}

#[tokio::test]
async fn every_view_of_documents_survives_every_shape() {
    let client = watched().await;
    let shapes = [
        "null",
        "1",
        "\"x\"",
        "[]",
        "[1]",
        "{}",
        r#"{"a":{"b":[null]}}"#,
        r#"["fingerprint","a","aaaa"]"#,
        r#"{"not_after":"soon","not_before":1e30,"sans":{"a":1},"fingerprint":"xyz","key_bits":[],"valid":"perhaps"}"#,
        r#"{"a":"9.9.9.9","aaaa":[1,null,[2]],"cname":{},"ttl":"x"}"#,
        r#"{"latitude":"91,5","longitude":{},"accuracy_km":1.5,"is_eu":2,"asn":"AS1"}"#,
    ];
    for (n, shape) in shapes.iter().enumerate() {
        for kind in ["nip11_info", "nip66_ssl", "nip66_dns", "nip66_geo", "nip66_net", "nip66_http"] {
            run(&client, &[&format!("doc('{kind}', '{shape}', {n})")]).await;
        }
        for view in [
            "relay_info",
            "relay_certificate",
            "relay_dns",
            "relay_location",
            "relay_network",
            "relay_http",
            "relay_status",
            "relay_stats",
            "relay_changes",
            "relay_software_counts",
            "supported_nip_counts",
        ] {
            rows(&client, &format!("SELECT * FROM bigbrotr.{view}")).await;
        }
    }
}
