//! Every setting of the contract: its type, unit, default and context, its descriptions, and what it refuses.

use tokio_postgres::error::{DbError, SqlState};

use crate::support::{cluster, database, quote, refusal, rows, superuser, text};

/// name, type, unit, default, context (R: reload, S: superuser), as in the contract.
const SETTINGS: [(&str, &str, &str, &str, char); 62] = [
    ("databases", "string", "", "", 'R'),
    ("seeder_enabled", "bool", "", "on", 'R'),
    ("finder_enabled", "bool", "", "on", 'R'),
    ("validator_enabled", "bool", "", "on", 'R'),
    ("monitor_enabled", "bool", "", "on", 'R'),
    ("synchronizer_enabled", "bool", "", "on", 'R'),
    ("refresher_enabled", "bool", "", "on", 'R'),
    ("synchronizer_workers", "integer", "", "1", 'R'),
    ("finder_interval", "integer", "s", "300", 'S'),
    ("validator_interval", "integer", "s", "60", 'S'),
    ("monitor_interval", "integer", "s", "3600", 'S'),
    ("synchronizer_interval", "integer", "s", "60", 'S'),
    ("refresher_interval", "integer", "s", "300", 'S'),
    ("validator_concurrency", "integer", "", "512", 'S'),
    ("max_relays_per_domain", "integer", "", "500", 'S'),
    ("monitor_concurrency", "integer", "", "200", 'S'),
    ("synchronizer_concurrency", "integer", "", "64", 'S'),
    ("live_connections", "integer", "", "200", 'S'),
    ("max_candidates", "integer", "", "1000000", 'S'),
    ("max_candidates_per_author", "integer", "", "2000", 'S'),
    ("max_candidates_per_domain", "integer", "", "1000", 'S'),
    ("worker_threads", "integer", "", "2", 'S'),
    ("worker_memory", "integer", "MB", "256", 'S'),
    ("networks", "string", "", "clearnet", 'S'),
    ("tor_proxy", "string", "", "", 'S'),
    ("i2p_proxy", "string", "", "", 'S'),
    ("loki_proxy", "string", "", "", 'S'),
    ("allow_private_addresses", "bool", "", "off", 'S'),
    ("dns_server", "string", "", "", 'S'),
    ("blocked_ports", "string", "", BLOCKED_PORTS, 'S'),
    ("user_agent", "string", "", "", 'S'),
    ("overlay_connect_timeout", "integer", "ms", "30000", 'S'),
    ("overlay_request_timeout", "integer", "ms", "30000", 'S'),
    ("overlay_concurrency", "integer", "", "32", 'S'),
    ("connect_timeout", "integer", "ms", "10000", 'S'),
    ("request_timeout", "integer", "ms", "10000", 'S'),
    ("idle_timeout", "integer", "ms", "60000", 'S'),
    ("max_message_size", "integer", "kB", "4096", 'S'),
    ("max_event_size", "integer", "kB", "1024", 'S'),
    ("page_limit", "integer", "", "500", 'S'),
    ("sync_filter", "string", "", "{}", 'S'),
    ("sync_since", "integer", "", "0", 'S'),
    ("sync_lag", "integer", "s", "30", 'S'),
    ("event_retention", "integer", "s", "0", 'S'),
    ("event_retention_kinds", "string", "", "", 'S'),
    ("event_retention_size", "integer", "MB", "0", 'S'),
    ("archive_max_size", "integer", "MB", "0", 'S'),
    ("min_disk_free", "integer", "MB", "2048", 'S'),
    ("vanish_enabled", "bool", "", "on", 'S'),
    ("auth_enabled", "bool", "", "off", 'S'),
    ("publish_enabled", "bool", "", "off", 'S'),
    ("monitor_checks", "string", "", "nip11,rtt,ssl,dns,geo,net,http", 'S'),
    ("write_check_enabled", "bool", "", "on", 'S'),
    ("publish_relays", "string", "", "", 'S'),
    ("publish_interval", "integer", "s", "0", 'S'),
    ("monitor_profile", "string", "", bigbrotr_nips::nip66::DEFAULT_PROFILE, 'S'),
    ("monitor_geohash", "string", "", "", 'S'),
    ("seed_file", "string", "", "", 'S'),
    ("secret_key_file", "string", "", "", 'S'),
    ("geoip_city_file", "string", "", "", 'S'),
    ("geoip_asn_file", "string", "", "", 'S'),
    ("history_retention", "integer", "s", "2592000", 'S'),
];
/// What browsers block, and databases.
const BLOCKED_PORTS: &str = "0,7,11,13,15,17,19-23,25,37,42,43,53,69,77,79,87,95,101-104,109-111,113,115,117,119,123,135,137,139,143,161,179,389,427,445,465,512-515,526,530-532,540,548,554,556,563,587,601,636,989,990,993,995,1433,1521,1719,1720,1723,2049,3306,3389,3659,4045,4190,5060,5061,5432,6000,6379,6566,6665-6669,6679,6697,10080,11211,27017";
const LAST: (&str, &str, &str, &str, char) = ("quarantine_retention", "integer", "s", "2592000", 'S');

#[tokio::test]
async fn settings_are_those_of_the_contract() {
    let (_, client) = database().await;
    let mut wanted: Vec<_> = SETTINGS.iter().chain([&LAST]).collect();
    wanted.sort();
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|(name, kind, unit, default, context)| {
            let context = if *context == 'R' { "sighup" } else { "superuser" };
            format!("bigbrotr.{name}|{kind}|{unit}|{default}|{context}")
        })
        .collect();
    let found =
        "SELECT name, vartype, coalesce(unit, ''), boot_val, context FROM pg_settings WHERE name LIKE 'bigbrotr.%'
                 ORDER BY name COLLATE \"C\"";
    assert_eq!(rows(&client, found).await, wanted);
    let undescribed = "SELECT name FROM pg_settings WHERE name LIKE 'bigbrotr.%'
                       AND (coalesce(short_desc, '') !~ '\\w.*\\.$' OR coalesce(extra_desc, '') !~ '\\w.*\\.$' OR category = '')";
    assert_eq!(rows(&client, undescribed).await, Vec::<String>::new());
}

#[tokio::test]
async fn number_ranges_hold_at_both_ends() {
    let client = superuser().await;
    client.batch_execute("LOAD 'bigbrotr'").await.expect("superusers may load it");
    for row in rows(
        &client,
        "SELECT name, min_val, max_val, context FROM pg_settings WHERE name LIKE 'bigbrotr.%' AND vartype = 'integer'",
    )
    .await
    {
        let mut parts = row.split('|');
        let mut next = || parts.next().expect("four columns").to_owned();
        let (name, min, max, context) = (next(), next(), next(), next());
        let (low, high) = (min.parse::<i64>().expect("a number") - 1, max.parse::<i64>().expect("a number") + 1);
        for bad in [low.to_string(), high.to_string(), "'many'".into(), "'5 parsecs'".into(), "''".into()] {
            let error = refusal(&client, &assignment(&name, &bad, &context)).await;
            assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{name} = {bad}: {error:?}");
        }
        if context == "superuser" {
            for good in [min, max] {
                client.batch_execute(&format!("SET {name} = {good}")).await.expect("in range");
            }
        }
    }
}

/// Settings of the launcher exist in the configuration only; ALTER SYSTEM checks a value before it writes it.
fn assignment(name: &str, value: &str, context: &str) -> String {
    if context == "superuser" { format!("SET {name} = {value}") } else { format!("ALTER SYSTEM SET {name} = {value}") }
}

#[tokio::test]
async fn bad_texts_are_refused_with_a_reason() {
    let (_, client) = database().await;
    let long_list = (0..33).map(|n| format!("d{n}")).collect::<Vec<_>>().join(",");
    let long_name = "x".repeat(64);
    for (name, values) in [
        ("databases", vec!["a,,b", ",", "a,", "\"unclosed", "\"\"", "a\"b", "\"a\"b", &long_list, &long_name]),
        ("networks", vec!["clear", "clearnet,,tor", "clearnet tor", "CLEARNET;", "\"clearnet"]),
        ("event_retention_kinds", vec![",", "1", "1=", "1=1w", "70000=1d", "5-3=1d", "1=1d,", "1=-1d", "1=1d 2=1d"]),
        ("blocked_ports", vec!["x", ",", "25,", "65536", "9-8", "25 26"]),
        ("user_agent", vec!["a\nb", "é", "\u{7f}"]),
        ("monitor_checks", vec!["nip12", "rtt,", "rtt ssl"]),
        (
            "dns_server",
            vec![
                "dns.example",
                "127.0.0.1:0",
                "127.0.0.1:x",
                "1.1.1",
                "127.0.0.1,",
                "::1:x",
                "1,2,3,4,5,6,7,8,9",
                "127.0.0.1 127.0.0.2",
            ],
        ),
        ("publish_relays", vec!["relay", "http://a.com", "wss://", "wss://a.com,nonsense", "wss://relay.damus.io,,"]),
        ("monitor_profile", vec!["x", "[]", "null", "{", "\"name\"", "{\"name\":1}}"]),
        ("monitor_geohash", vec!["a", "U33", "u33 ", "u33dc0cpke000", "u3,u3"]),
        (
            "sync_filter",
            vec![
                "",
                "x",
                "[]",
                "null",
                "{",
                "{\"kinds\":[-1]}",
                "{\"kinds\":[65536]}",
                "{\"kinds\":1}",
                "{\"since\":1}",
                "{\"until\":1}",
                "{\"limit\":1}",
                "{\"ids\":[\"00\"]}",
                "{\"nonsense\":[]}",
                "{\"#long\":[\"a\"]}",
                "{} {}",
            ],
        ),
    ] {
        for value in values {
            let statement = assignment(
                &format!("bigbrotr.{name}"),
                &quote(value),
                if name == "databases" { "sighup" } else { "superuser" },
            );
            explained(&statement, &refusal(&client, &statement).await);
        }
    }
    for name in ["tor_proxy", "i2p_proxy", "loki_proxy"] {
        for value in [
            "x",
            "localhost:9050",
            "http://a:1",
            "socks5://",
            "socks5://a",
            "socks5://a:0",
            "socks5://a:65536",
            "socks5://a:b",
            "socks5://u@a:1",
            "socks5:// :1",
        ] {
            let statement = format!("SET bigbrotr.{name} = {}", quote(value));
            explained(&statement, &refusal(&client, &statement).await);
        }
    }
}

fn explained(statement: &str, error: &DbError) {
    assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{statement}: {error:?}");
    assert!(error.detail().is_some_and(|detail| detail.len() > 10), "{statement}: {error:?}");
}

#[tokio::test]
async fn good_texts_are_taken_as_written() {
    let (_, client) = database().await;
    for (name, values) in [
        ("networks", vec!["clearnet", "tor,i2p, loki ,clearnet", ""]),
        ("monitor_checks", vec!["rtt", "nip11, rtt", ""]),
        ("tor_proxy", vec!["socks5://127.0.0.1:9050", "socks5h://tor:9050", "socks5://[::1]:9050", ""]),
        ("dns_server", vec!["127.0.0.1", "127.0.0.1:5353, [::1]:53,2001:db8::53", "[::1]", ""]),
        ("publish_relays", vec!["wss://relay.damus.io", "wss://relay.damus.io, ws://127.0.0.1:7777", ""]),
        ("monitor_profile", vec!["{\"name\":\"us\",\"website\":\"https://example.org\"}", "{}", ""]),
        ("monitor_geohash", vec!["u", "u33dc0cpke00", ""]),
        ("sync_filter", vec!["{}", "{\"kinds\":[0,3,10002]}", "{\"authors\":[],\"#t\":[\"nostr\"]}"]),
        ("seed_file", vec!["/nowhere/at/all", ""]),
    ] {
        for value in values {
            client
                .batch_execute(&format!("SET bigbrotr.{name} = {}", quote(value)))
                .await
                .unwrap_or_else(|e| panic!("{name} = {value}: {e:?}"));
            assert_eq!(text(&client, &format!("SHOW bigbrotr.{name}")).await.as_deref(), Some(value));
        }
    }
    let names = r#"ALTER SYSTEM SET bigbrotr.databases = 'a, "Odd, ""name""", b'"#;
    client.batch_execute(names).await.expect("a list of names");
    client.batch_execute("ALTER SYSTEM RESET bigbrotr.databases").await.expect("reset");
}

#[tokio::test]
async fn misspelt_settings_are_refused_where_the_server_can() {
    let (_, client) = database().await;
    if cluster().root().version.contains("PostgreSQL 13") || cluster().root().version.contains("PostgreSQL 14") {
        return;
    }
    let error = refusal(&client, "SET bigbrotr.sink_filter = '{}'").await;
    assert_eq!(error.code(), &SqlState::INVALID_NAME);
}

#[tokio::test]
async fn a_database_can_have_settings_of_its_own() {
    let (name, client) = database().await;
    client
        .batch_execute(&format!("ALTER DATABASE {name} SET bigbrotr.sync_filter = '{{\"kinds\":[0]}}'"))
        .await
        .expect("set");
    let later = cluster().connect(&name).await;
    assert_eq!(text(&later, "SHOW bigbrotr.sync_filter").await.as_deref(), Some("{\"kinds\":[0]}"));
    let same = "SELECT bigbrotr.sync_filter_hash() = bigbrotr.content_hash('{\"kinds\": [0]}')";
    assert_eq!(text(&later, same).await.as_deref(), Some("t"));
    let error = refusal(&client, &format!("ALTER DATABASE {name} SET bigbrotr.finder_enabled = off")).await;
    assert_eq!(error.code(), &SqlState::CANT_CHANGE_RUNTIME_PARAM);
}

#[tokio::test]
async fn nobody_but_superusers_changes_or_reads_what_is_secret() {
    let (_, client) = database().await;
    client.batch_execute("CREATE ROLE settings_stranger; SET ROLE settings_stranger").await.expect("a role");
    let error = refusal(&client, "SET bigbrotr.sync_filter = '{}'").await;
    assert_eq!(error.code(), &SqlState::INSUFFICIENT_PRIVILEGE);
    for name in ["secret_key_file", "geoip_city_file", "geoip_asn_file"] {
        let error = refusal(&client, &format!("SHOW bigbrotr.{name}")).await;
        assert_eq!(error.code(), &SqlState::INSUFFICIENT_PRIVILEGE, "{name}");
    }
    let hidden = "SELECT count(*) FROM pg_settings WHERE name = 'bigbrotr.inject_fault'";
    client.batch_execute("RESET ROLE").await.expect("back");
    assert_eq!(text(&client, hidden).await.as_deref(), Some("0"));
}
