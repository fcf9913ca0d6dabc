//! Odd events, with the real synchronizer: the valid ones come out as they went in, the invalid ones do not enter and are
//! kept apart with a reason. The table of quirks is in `quirks.rs`.

use std::{collections::BTreeSet, time::Duration};

use bigbrotr_tests::{
    Cluster, Generator, Relay, RelayHandle, RelayOptions, Store, generate, odd,
    relay::{Dialect, Extra},
    signed,
    truth::{archive_options, archived, enrol, expected, forged, wait_until_archived},
};
use serde_json::Value;
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(60);

async fn start() -> (Cluster, Client) {
    let cluster = Cluster::start(archive_options(&[]));
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    (cluster, client)
}

fn holding(events: impl IntoIterator<Item = String>, options: RelayOptions) -> RelayHandle {
    Relay::start(RelayOptions { events: Store::new(events), ..options })
}

fn notes(n: usize) -> Vec<String> {
    let now = generate::now();
    let mut generator = Generator::new(12);
    (0..n).map(|n| generator.event(1, now - 3_000 - n as i64 * 7, &[], &format!("note {n}/\u{e9}"))).collect()
}

const COMPLETE: &str = "SELECT count(*) > 0 AND bool_and(isempty(gap)) FROM bigbrotr.coverage_gap WHERE (SELECT bool_and(last_synced_at IS NOT NULL) FROM bigbrotr.relay_sync)";

#[tokio::test]
async fn odd_but_valid_events_come_out_as_they_went_in() {
    let mut generator = Generator::new(40);
    let odd = odd::valid(&mut generator, generate::now() - 1_000);
    let events: Vec<String> = odd.iter().map(|(_, event)| event.clone()).collect();
    let relay = holding(events.iter().cloned(), RelayOptions::default());
    let (cluster, client) = start().await;
    enrol(&client, [&relay]).await;
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
    for (name, event) in &odd {
        let event: Value = serde_json::from_str(event).expect("JSON");
        let id: [u8; 32] = signed::unhex(event["id"].as_str().expect("id")).expect("hex");
        let sql = "SELECT bigbrotr.event_json(e) FROM bigbrotr.event AS e WHERE id = $1";
        let json: String = client.query_one(sql, &[&&id[..]]).await.expect(name).get(0);
        let read: Value = serde_json::from_str(&json).expect("JSON");
        for member in ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"] {
            assert_eq!(read[member], event[member], "{name}: {member}");
        }
    }
    assert_eq!(forged(&client).await, Vec::<String>::new());
    let quarantined: i64 =
        client.query_one("SELECT count(*) FROM bigbrotr.quarantine", &[]).await.expect("a row").get(0);
    assert_eq!(quarantined, 0);
    cluster.wait_for(&client, COMPLETE, DEADLINE, "complete coverage").await;
}

#[tokio::test]
async fn invalid_events_stop_nothing_and_are_kept_apart_with_a_reason() {
    let mut generator = Generator::new(41);
    let now = generate::now();
    let mut odd = odd::invalid(&mut generator, now - 1_000);
    odd.push(("oversize", odd::oversize(&mut generator, now - 1_100)));
    // Sent whatever is asked for: no filter asks for a time before 1970.
    let off_filter = odd.iter().filter(|(name, _)| *name == "negative time").map(|(_, event)| event.as_str().into());
    let extra = Extra { off_filter: off_filter.collect(), ..Extra::default() };
    let held = notes(60).into_iter().chain(odd.iter().map(|(_, event)| event.clone()));
    let relay = holding(held, RelayOptions { extra, ..RelayOptions::default() });
    let (cluster, client) = start().await;
    enrol(&client, [&relay]).await;
    let expected = expected([&relay]);
    assert_eq!(expected.len(), 60);
    wait_until_archived(&cluster, &client, &expected, DEADLINE).await;
    assert_eq!(forged(&client).await, Vec::<String>::new());
    // What is no JSON object, or is nested beyond every limit, makes no message with an event in it: the frame is kept.
    let frames = "SELECT count(*) > 0 FROM bigbrotr.quarantine WHERE reason = 'bad_frame'";
    cluster.wait_for(&client, frames, DEADLINE, "frames without an event that can be read").await;
    let objects =
        odd.iter().filter(|(_, event)| event.starts_with('{') && event.ends_with('}') && !event.contains("[[[["));
    let mut wanted: Vec<_> = objects.collect();
    let started = std::time::Instant::now();
    while !wanted.is_empty() {
        let rows = client.query("SELECT bytes, reason FROM bigbrotr.quarantine", &[]).await.expect("rows");
        let kept: BTreeSet<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
        assert!(rows.iter().all(|row| !row.get::<_, String>(1).is_empty()));
        // Long ones are cut.
        wanted.retain(|(_, event)| !kept.contains(&event.as_bytes()[..event.len().min(65_536)]));
        let names: Vec<_> = wanted.iter().map(|(name, _)| name).collect();
        assert!(started.elapsed() < DEADLINE, "not in quarantine: {names:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn one_event_in_many_dialects_is_one_event() {
    let relays: Vec<_> = Dialect::VALID
        .into_iter()
        .chain(Dialect::INVALID)
        .map(|dialect| holding(notes(30), RelayOptions { dialect, ..RelayOptions::default() }))
        .collect();
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    let expected = expected(&relays);
    assert_eq!(expected.len(), 30 * Dialect::VALID.len());
    wait_until_archived(&cluster, &client, &expected, DEADLINE).await;
    let events: i64 = client.query_one("SELECT count(*) FROM bigbrotr.event", &[]).await.expect("a row").get(0);
    assert_eq!(events, 30);
    let refused = "SELECT count(DISTINCT relay_id) = 2 AND count(*) = 60 FROM bigbrotr.quarantine";
    cluster.wait_for(&client, refused, DEADLINE, "refused copies in quarantine").await;
    assert_eq!(archived(&client).await, expected, "a refused copy is no sighting");
}

#[tokio::test]
async fn a_second_valid_signature_is_the_same_event_and_a_foreign_one_is_none() {
    let now = generate::now();
    let mut generator = Generator::new(42);
    let event = generator.event(1, now - 500, &[], "signed twice");
    let value: Value = serde_json::from_str(&event).expect("JSON");
    let (id, sig) = (value["id"].as_str().expect("id"), value["sig"].as_str().expect("sig"));
    let digest: [u8; 32] = signed::unhex(id).expect("hex");
    let keys = *generator.author(0);
    let again = signed::hex(&secp256k1::SECP256K1.sign_schnorr_with_aux_rand(&digest, &keys, &[9; 32]).to_byte_array());
    assert_ne!(again, sig);
    let foreign = signed::sign(generator.author(1), &digest);
    let relays = [event.clone(), event.replace(sig, &again), event.replace(sig, &foreign)]
        .map(|event| holding([event], RelayOptions::default()));
    let (cluster, client) = start().await;
    enrol(&client, &relays[..2]).await;
    wait_until_archived(&cluster, &client, &expected(&relays[..2]), DEADLINE).await;
    // The third sends what everybody knows to be an event, with a signature that is not its author's.
    enrol(&client, &relays[2..]).await;
    let synced = "SELECT count(*) = 3 FROM bigbrotr.relay_sync WHERE last_synced_at IS NOT NULL";
    cluster.wait_for(&client, synced, DEADLINE, "the third relay").await;
    let events: i64 = client.query_one("SELECT count(*) FROM bigbrotr.event", &[]).await.expect("a row").get(0);
    assert_eq!(events, 1);
    assert_eq!(forged(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn ephemeral_and_auth_events_are_not_stored_and_leave_no_gap() {
    let now = generate::now();
    let mut generator = Generator::new(43);
    let kinds = [20_000, 22_242, 29_999].map(|kind| generator.event(kind, now - 400, &[], "passing"));
    let relay = holding(notes(40).into_iter().chain(kinds), RelayOptions { cap: Some(15), ..RelayOptions::default() });
    let (cluster, client) = start().await;
    enrol(&client, [&relay]).await;
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
    cluster.wait_for(&client, COMPLETE, DEADLINE, "complete coverage").await;
    let quarantined: i64 =
        client.query_one("SELECT count(*) FROM bigbrotr.quarantine", &[]).await.expect("a row").get(0);
    assert_eq!(quarantined, 0);
}
