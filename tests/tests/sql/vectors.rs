//! The golden events and URLs through SQL.

use bigbrotr_tests::paths;
use serde_json::{Value, json};

use crate::support::{database, id, quote, rows, text};

fn vectors(name: &str) -> Vec<Value> {
    let file = paths::workspace_root().join("tests/data").join(name);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).expect("an array of cases")
}

/// An event of a case, as compact JSON with its members in NIP-01's order, U+0000 written as an escape.
fn event(case: &Value, variant: &Value) -> String {
    format!(
        r#"{{"id":{},"pubkey":{},"created_at":{},"kind":{},"tags":{},"content":{},"sig":{}}}"#,
        variant["id"], case["pubkey"], case["created_at"], case["kind"], case["tags"], case["content"], variant["sig"]
    )
}

#[tokio::test]
async fn event_vectors_are_archived_exactly_or_quarantined_with_their_reason() {
    let (_, client) = database().await;
    let (mut accepted, mut refused) = (0, 0);
    for case in vectors("event-vectors.json") {
        for (form, variant) in case["variants"].as_object().expect("variants") {
            let json = event(&case, variant);
            let name = format!("{} ({form})", case["name"]);
            let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://relay.damus.io')", quote(&json));
            let verify = format!("SELECT bigbrotr.event_verify({})", quote(&json));
            if case["accept"] == json!(true) {
                accepted += 1;
                assert_eq!(text(&client, &verify).await.as_deref(), Some("t"), "{name}");
                assert_eq!(text(&client, &insert).await.as_deref(), Some("1"), "{name}");
                assert_eq!(text(&client, &insert).await.as_deref(), Some("0"), "{name}: known");
                let computed = format!("SELECT encode(bigbrotr.event_id({}), 'hex')", quote(&json));
                assert_eq!(text(&client, &computed).await, Some(id(&json)), "{name}");
                let stored =
                    format!("SELECT bigbrotr.event_json(e) FROM bigbrotr.event AS e WHERE id = '\\x{}'", id(&json));
                let stored = text(&client, &stored).await.expect("it is archived");
                assert_eq!(
                    serde_json::from_str::<Value>(&stored).ok(),
                    serde_json::from_str(&json).ok(),
                    "{name}: {stored}"
                );
                let again = format!("SELECT bigbrotr.event_verify({})", quote(&stored));
                assert_eq!(text(&client, &again).await.as_deref(), Some("t"), "{name}: what comes out goes in");
            } else {
                refused += 1;
                assert_eq!(text(&client, &verify).await.as_deref(), Some("f"), "{name}");
                assert_eq!(text(&client, &insert).await.as_deref(), Some("0"), "{name}");
                let reason = format!(
                    "SELECT reason = bigbrotr.event_refusal(bytes) FROM bigbrotr.quarantine WHERE bytes = convert_to({}, 'UTF8')",
                    quote(&json)
                );
                assert_eq!(text(&client, &reason).await.as_deref(), Some("t"), "{name} is not in quarantine");
            }
        }
    }
    assert!(accepted > 12 && refused >= 2, "{accepted} accepted, {refused} refused");
    let sightings = "SELECT count(*) FROM bigbrotr.event_relay";
    assert_eq!(text(&client, sightings).await, Some(accepted.to_string()));
}

#[tokio::test]
async fn damaged_events_are_quarantined_each_with_its_own_reason() {
    let (_, client) = database().await;
    let good = crate::support::event(0, "hello");
    let value: Value = serde_json::from_str(&good).expect("JSON");
    let with = |member: &str, new: Value| {
        let mut value = value.clone();
        value[member] = new;
        value.to_string()
    };
    let flip = |member: &str| {
        let text = value[member].as_str().expect("hex");
        let last = if text.ends_with('0') { "1" } else { "0" };
        with(member, json!(format!("{}{last}", &text[..text.len() - 1])))
    };
    let damaged = [
        flip("id"),
        flip("sig"),
        flip("pubkey"),
        with("content", json!("other")),
        with("content", json!(1)),
        with("kind", json!(70_000)),
        with("kind", json!(-1)),
        with("created_at", json!(-1)),
        with("created_at", json!(1.5)),
        with("tags", json!([["a", 1]])),
        with("tags", json!({})),
        with("sig", json!("00")),
        with("pubkey", json!("G".repeat(64))),
        "{}".into(),
        "[]".into(),
        "nonsense".into(),
        good[..good.len() - 1].to_owned(),
        "[".repeat(50_000),
    ];
    let list: Vec<_> = damaged.iter().map(|json| quote(json)).collect();
    let insert = format!(
        "SELECT bigbrotr.event_insert(ARRAY[{}, {}, NULL], 'wss://relay.damus.io')",
        list.join(","),
        quote(&good)
    );
    assert_eq!(text(&client, &insert).await.as_deref(), Some("1"), "the refused ones do not stop the good one");
    assert_eq!(rows(&client, "SELECT reason FROM bigbrotr.quarantine").await.len(), damaged.len());
    let vague = "SELECT reason FROM bigbrotr.quarantine WHERE coalesce(length(reason), 0) < 3";
    assert_eq!(rows(&client, vague).await, Vec::<String>::new());
    let reasons: std::collections::BTreeSet<_> =
        rows(&client, "SELECT reason FROM bigbrotr.quarantine").await.into_iter().collect();
    assert!(reasons.len() >= 5, "{reasons:?}");
    assert_eq!(text(&client, &insert).await.as_deref(), Some("0"));
    assert_eq!(rows(&client, "SELECT reason FROM bigbrotr.quarantine").await.len(), damaged.len(), "each once");
}

#[tokio::test]
async fn url_vectors_give_their_keys() {
    let (_, client) = database().await;
    let cases = vectors("url-vectors.json");
    assert!(cases.len() > 120);
    for case in cases {
        let input = case["input"].as_str().expect("text");
        if input.contains('\0') {
            continue; // no SQL text
        }
        let keys: Vec<_> =
            case["expected"].as_array().expect("pieces").iter().filter(|piece| piece["key"].is_string()).collect();
        let normalized = text(&client, &format!("SELECT bigbrotr.normalize_relay_url({})", quote(input))).await;
        let expected = if keys.len() == 1 { keys[0]["key"].as_str().map(str::to_owned) } else { None };
        assert_eq!(normalized, expected, "{input:?}");
        let extracted = rows(
            &client,
            &format!("SELECT url, network, recovered FROM bigbrotr.extract_relay_urls({})", quote(input)),
        )
        .await;
        let mut wanted: Vec<String> = Vec::new();
        for piece in keys {
            let recovered = if piece["recovered"] == json!(true) { "t" } else { "f" };
            let row = format!(
                "{}|{}|{recovered}",
                piece["key"].as_str().unwrap_or_default(),
                piece["network"].as_str().unwrap_or_default()
            );
            if !wanted.contains(&row) {
                wanted.push(row);
            }
        }
        assert_eq!(extracted, wanted, "{input:?}");
        for row in wanted {
            let key = row.split('|').next().unwrap_or_default();
            let again = format!("SELECT bigbrotr.normalize_relay_url({})", quote(key));
            assert_eq!(text(&client, &again).await.as_deref(), Some(key), "normalising a key changes nothing");
        }
    }
}

#[tokio::test]
async fn private_addresses_are_admitted_only_when_asked() {
    let (_, client) = database().await;
    for url in [
        "ws://127.0.0.1:7777",
        "ws://localhost:7777",
        "ws://relay:7777",
        "ws://printer.local",
        "ws://10.0.0.1",
        "ws://[::1]:1",
    ] {
        let sql = format!("SELECT bigbrotr.normalize_relay_url({})", quote(url));
        client.batch_execute("SET bigbrotr.allow_private_addresses = off").await.expect("off");
        assert_eq!(text(&client, &sql).await, None, "{url}");
        client.batch_execute("SET bigbrotr.allow_private_addresses = on").await.expect("on");
        assert_eq!(text(&client, &sql).await.as_deref(), Some(url));
        let network = format!("SELECT network FROM bigbrotr.extract_relay_urls({})", quote(url));
        assert_eq!(text(&client, &network).await.as_deref(), Some("clearnet"));
    }
}
