//! The thirteen statistics against independent SQL, over data with every oddity that is allowed in.

use bigbrotr_tests::{
    Generator, Spec,
    demo::{Difference, compare_statistics},
    generate,
};
use tokio_postgres::Client;

use crate::support::{database, quote, rows, text};

async fn insert(client: &Client, events: &[String], url: &str) {
    let list: Vec<_> = events.iter().map(|event| quote(event)).collect();
    text(client, &format!("SELECT bigbrotr.event_insert(ARRAY[{}]::text[], {})", list.join(","), quote(url))).await;
}

async fn fill(client: &Client) {
    let mut generator = Generator::new(21);
    let tag = |name: &str, value: &str| vec![vec![name.to_owned(), value.to_owned()]];
    let mut events: Vec<String> =
        generator.corpus(300, &Spec { authors: 20, ..Spec::default() }).iter().map(ToString::to_string).collect();
    let now = generate::now();
    for n in 0..6_i64 {
        // Several versions at the same second, by the same author: ties go to the lowest id.
        events.push(generator.event(0, 1_700_000_000, &tag("n", &n.to_string()), ""));
        events.push(generator.event(10_002, 1_700_000_000 + n % 2, &tag("n", &n.to_string()), ""));
        events.push(generator.event(
            30_023,
            1_700_000_000 + n % 3,
            &tag("d", if n < 3 { "x" } else { "" }),
            &n.to_string(),
        ));
        events.push(generator.event(30_023, 1_700_000_000 + n % 2, &[], &n.to_string()));
        // Recent, future and absurd dates.
        events.push(generator.event(1, now - n * 100_000, &[], ""));
        events.push(generator.event(1, now + 100_000 * (n + 1), &[], ""));
        events.push(generator.event(1, [0, 1, 253_402_300_799, 253_402_300_800, 1 << 53, 86_400][n as usize], &[], ""));
    }
    for kind in [2, 44, 999, 9_999, 10_000, 19_999, 30_000, 39_999, 40_000, 65_535] {
        events.push(generator.event_by(2, kind, 1_700_000_000, &tag("d", "a"), ""));
    }
    insert(client, &events, "wss://relay.damus.io").await;
    insert(client, &events[100..], "wss://nos.lol").await;
    let onion = "ws://oxtrdevav64z64yb7x6rjg4ntzqjhedm5b5zjqulugknhzr46ny2qbad.onion";
    insert(client, &events[..50], onion).await;
    insert(client, &[], "wss://relay.primal.net").await;
    let documents = [
        (
            1,
            r#"{"name": "one", "software": "x", "version": "1", "supported_nips": [1, 11, 1, "42", "077", 9.0, 1.5, null, "x", [1]]}"#,
            1,
        ),
        (1, r#"{"name": "two", "software": "x", "version": "2", "supported_nips": [1]}"#, 2),
        (2, r#"{"name": 5, "software": "x", "supported_nips": 11}"#, 1),
        (3, r#"{"name": "tor", "software": null, "version": "3", "supported_nips": {"1": 2}}"#, 1),
        (4, r#"["no", "object"]"#, 1),
    ];
    for (relay, document, n) in documents {
        let sql = format!(
            "SELECT bigbrotr.record_metadata({relay}, 'nip11_info', bigbrotr.content_hash('{document}'), '{document}', {})",
            1_700_000_000 + n
        );
        text(client, &sql).await;
    }
    let checks = "
        SELECT bigbrotr.record_check(r, 1700000000 + n * 60, n % 4 <> 0, CASE WHEN n % 4 <> 0 THEN n * 1.37 END, n / 3.0, NULL,
                                     CASE WHEN n % 4 = 0 THEN 'tcp' END, NULL, 60)
        FROM generate_series(1, 2) AS r, generate_series(1, 25) AS n";
    rows(client, checks).await;
}

fn differing(differences: &[Difference]) -> Vec<&Difference> {
    differences.iter().filter(|difference| difference.differing > 0).collect()
}

#[tokio::test]
async fn statistics_equal_independent_queries() {
    let (_, mut client) = database().await;
    let empty = compare_statistics(&mut client).await.expect("compared");
    assert_eq!(empty.len(), 13);
    assert_eq!(differing(&empty), Vec::<&Difference>::new(), "of an empty archive");
    fill(&client).await;
    let full = compare_statistics(&mut client).await.expect("compared");
    assert_eq!(differing(&full), Vec::<&Difference>::new());
    for difference in &full {
        assert!(difference.rows > 0, "nothing to compare: {difference:?}");
    }
    let expired = text(
        &client,
        "SELECT bigbrotr.delete_events(ARRAY(SELECT seq FROM bigbrotr.event WHERE created_at < 1700000000))",
    )
    .await;
    assert_ne!(expired.as_deref(), Some("0"));
    let later = compare_statistics(&mut client).await.expect("compared");
    assert_eq!(differing(&later), Vec::<&Difference>::new(), "after deletions");
}

#[tokio::test]
async fn a_wrong_statistic_is_noticed() {
    let (_, mut client) = database().await;
    fill(&client).await;
    let doctored = "
        CREATE OR REPLACE VIEW bigbrotr.kind_counts AS
        SELECT kind, count(*) AS event_count, count(*) AS unique_pubkeys, bigbrotr.kind_category(kind) AS category
        FROM bigbrotr.event GROUP BY kind";
    client.batch_execute(doctored).await.expect("replaced");
    let differences = compare_statistics(&mut client).await.expect("compared");
    let names: Vec<_> = differing(&differences).iter().map(|difference| difference.name).collect();
    assert_eq!(names, ["kind_counts"]);
}

#[tokio::test]
async fn columns_of_the_statistics_are_those_of_the_contract() {
    let (_, client) = database().await;
    for (view, columns) in [
        (
            "event_stats",
            "event_count,unique_pubkeys,unique_kinds,earliest_event_timestamp,latest_event_timestamp,regular_event_count,replaceable_event_count,ephemeral_event_count,addressable_event_count,event_count_last_1h,event_count_last_24h,event_count_last_7d,event_count_last_30d,events_per_day",
        ),
        (
            "relay_stats",
            "relay_url,network,discovered_at,first_event_timestamp,last_event_timestamp,avg_rtt_open,avg_rtt_read,avg_rtt_write,event_count,unique_pubkeys,unique_kinds,nip11_name,nip11_software,nip11_version",
        ),
        ("kind_counts", "kind,event_count,unique_pubkeys,category"),
        ("kind_counts_by_relay", "kind,relay_url,event_count,unique_pubkeys"),
        ("pubkey_counts", "pubkey,event_count,unique_kinds,first_event_timestamp,last_event_timestamp"),
        (
            "pubkey_counts_by_relay",
            "relay_url,pubkey,event_count,unique_kinds,first_event_timestamp,last_event_timestamp",
        ),
        ("network_stats", "network,relay_count,event_count,unique_pubkeys,unique_kinds"),
        ("relay_software_counts", "software,version,relay_count"),
        ("supported_nip_counts", "nip,relay_count"),
        ("event_daily_counts", "day,event_count,unique_pubkeys,unique_kinds"),
        ("relay_metadata_latest", "relay_url,metadata_type,generated_at,metadata_id,data"),
        ("events_replaceable_latest", "seq,id,pubkey,created_at,kind,tags,content,sig,raw"),
        ("events_addressable_latest", "seq,id,pubkey,created_at,kind,tags,content,sig,raw,d_tag"),
        ("visible_event", "seq,id,pubkey,created_at,kind,tags,content,sig,raw"),
        ("event_relay", "event_id,relay_url,seen_at"),
        (
            "stat_workers",
            "database,service,worker,pid,state,activity,items,cycles,errors,last_error,last_error_at,started_at",
        ),
        (
            "relay_status",
            "url,network,state,online,checked_at,rtt_open_ms,rtt_read_ms,rtt_write_ms,name,software,version,supported_nips,country,event_count,coverage,last_error,discovered_at,error_class,failures,last_ok_at,online_since,uptime_7d,next_check_at,auth_required,payment_required,restricted_writes,ssl_valid,ssl_expires_at,city,asn,asn_org,last_synced_at,live_since",
        ),
    ] {
        let sql = format!(
            "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'bigbrotr.{view}'::regclass AND attnum > 0"
        );
        assert_eq!(text(&client, &sql).await.as_deref(), Some(columns), "{view}");
    }
    // Tables may have more columns than the contract names, these are among them.
    for (table, columns) in [
        ("relay", "id url network state discovered_at"),
        ("candidate", "url network source first_seen_at failures next_attempt_at last_error"),
        ("event", "seq id pubkey created_at kind tags content sig raw"),
        ("sighting", "relay_id lo hi members n seen_at"),
        ("metadata", "id type data"),
        ("relay_metadata", "relay_id type metadata_id first_seen_at last_seen_at"),
        ("relay_check", "relay_id checked_at ok open_ms read_ms write_ms error_class error"),
        ("coverage", "relay_id filter_hash state ranges"),
        ("quarantine", "id relay_id seen_at reason bytes"),
        ("api_source", "url path interval enabled"),
        ("block", "pattern reason"),
        ("relay_alias", "url relay_id reason"),
        ("stat_cycles", "id service started_at finished_at ok items detail error"),
    ] {
        let sql = format!(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'bigbrotr.{table}'::regclass AND attnum > 0 ORDER BY attnum"
        );
        let found = rows(&client, &sql).await;
        let missing: Vec<_> = columns.split(' ').filter(|column| !found.iter().any(|name| name == column)).collect();
        assert_eq!(missing, Vec::<&str>::new(), "{table}");
    }
}
