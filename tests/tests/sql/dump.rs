//! pg_dump and pg_restore bring an archive back whole.

use std::process::Stdio;

use bigbrotr_tests::{Generator, Spec};
use tokio_postgres::Client;

use crate::support::{cluster, database, quote, rows, superuser, text};

/// What must be the same before and after.
async fn contents(client: &Client) -> Vec<(&'static str, Vec<String>)> {
    let mut contents = Vec::new();
    for (what, sql) in [
        ("events", "SELECT e.seq, bigbrotr.event_json(e), e.raw FROM bigbrotr.event AS e ORDER BY e.seq"),
        ("sightings", "SELECT * FROM bigbrotr.event_relay ORDER BY 1, 2"),
        ("leaves", "SELECT * FROM bigbrotr.sighting ORDER BY relay_id, lo"),
        ("relays", "SELECT * FROM bigbrotr.relay ORDER BY id"),
        ("candidates", "SELECT * FROM bigbrotr.candidate ORDER BY url"),
        ("evidence", "SELECT * FROM bigbrotr.candidate_evidence ORDER BY url"),
        ("refusals", "SELECT * FROM bigbrotr.candidate_refusal ORDER BY 1, 2"),
        ("coverage", "SELECT * FROM bigbrotr.coverage ORDER BY 1, 2, 3"),
        ("quarantine", "SELECT * FROM bigbrotr.quarantine ORDER BY id"),
        ("metadata", "SELECT * FROM bigbrotr.metadata ORDER BY id, type"),
        ("runs of documents", "SELECT * FROM bigbrotr.relay_metadata ORDER BY 1, 2, 4"),
        ("checks", "SELECT * FROM bigbrotr.relay_check ORDER BY 1, 2"),
        ("changes", "SELECT * FROM bigbrotr.relay_change ORDER BY id"),
        ("up and down", "SELECT * FROM bigbrotr.relay_period ORDER BY 1, 2"),
        ("newest checks and documents", "SELECT * FROM bigbrotr.relay_latest ORDER BY 1"),
        ("event counts", "SELECT * FROM bigbrotr.relay_holding ORDER BY 1"),
        ("the monitor's notes", "SELECT * FROM bigbrotr.relay_monitor ORDER BY 1"),
        ("status", "SELECT * FROM bigbrotr.relay_status ORDER BY url"),
        ("deletions", "SELECT * FROM bigbrotr.deletion ORDER BY 1, 2"),
        ("blocks", "SELECT * FROM bigbrotr.block ORDER BY 1"),
        ("API sources", "SELECT * FROM bigbrotr.api_source ORDER BY 1"),
        ("cycles", "SELECT * FROM bigbrotr.stat_cycles ORDER BY id"),
        ("publications", "SELECT * FROM bigbrotr.publication ORDER BY kind, d"),
        ("what relays said to them", "SELECT * FROM bigbrotr.publication_result ORDER BY 1, 2, 3"),
        ("states", "SELECT * FROM bigbrotr.service_state ORDER BY 1"),
        ("sequence", "SELECT last_value, is_called FROM bigbrotr.event_seq"),
        ("visible", "SELECT seq FROM bigbrotr.visible_event ORDER BY seq"),
    ] {
        contents.push((what, rows(client, sql).await));
    }
    contents
}

async fn fill(client: &Client) {
    let mut generator = Generator::new(11);
    let mut events: Vec<_> = generator.corpus(300, &Spec::default()).iter().map(|event| quote(event)).collect();
    let target = generator.event(1, 1_700_000_000, &[], "to be deleted");
    let target_id = crate::support::id(&target);
    events.push(quote(&target));
    events.push(quote(&generator.event(5, 1_700_000_001, &[vec!["e".into(), target_id]], "")));
    events.push(quote(&generator.event(1, 1_700_000_002, &[vec!["t".into(), "a\0b".into()]], "NUL \0 and \u{7f}")));
    events.push("'nonsense'".into());
    for url in ["wss://relay.damus.io", "wss://nos.lol"] {
        let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], '{url}')", events.join(","));
        text(client, &insert).await;
    }
    client
        .batch_execute(
            "SELECT bigbrotr.seed(ARRAY['relay.primal.net']);
             SELECT bigbrotr.name_candidates('{wss://a.com,wss://b.com}', 'event', '{1,2}', '{1,2,2}', '{5,3,7}', '{1,2}', '{1,1}', 1);
             SELECT bigbrotr.cover(1, bigbrotr.sync_filter_hash(), ARRAY['complete', 'timeout'], ARRAY['{[0,1700000000)}', '{[1700000000,1700000100)}']);
             SELECT bigbrotr.record_metadata(1, 'nip11_info', bigbrotr.content_hash('{\"name\": \"x\"}'), '{\"name\": \"x\"}', 1700000000);
             SELECT bigbrotr.record_metadata(1, 'nip11_info', bigbrotr.content_hash('{\"name\": \"y\"}'), '{\"name\": \"y\"}', 1700000060);
             SELECT bigbrotr.record_check(1, 1700000000, true, 1.5, 2.5, NULL, NULL, NULL, 60);
             SELECT bigbrotr.open_publishing('{wss://nos.lol}', '{f}', '{10166}');
             SELECT bigbrotr.record_publications('\\x01', '{10166,30166}', '{\"\",wss://relay.damus.io/}', '{0,1}',
               '{\"\\\\x02\",\"\\\\x03\"}', '{1700000000,1700000001}', '{\"\",\"\"}', '{\"\",\"\"}', '{1700000000000000,1}', '{f,t}', '{\"{}\",\"{}\"}');
             SELECT bigbrotr.record_publication_results('wss://nos.lol', '{10166}', '{\"\"}', '{\"\\\\x02\"}', '{0}', '{blocked}', '{1}');
             SELECT bigbrotr.record_check(1, 1700000060, false, NULL, NULL, NULL, 'tcp', 'refused', 60);
             SELECT bigbrotr.record_cycle('finder', 1700000000, true, 3, '{\"events\": 3}', NULL);
             SELECT bigbrotr.finder_advance(5);
             INSERT INTO bigbrotr.block VALUES ('wss://bad.%', 'spam');
             INSERT INTO bigbrotr.api_source (url) VALUES ('https://api.nostr.watch/v1/online')",
        )
        .await
        .expect("something in every table");
}

async fn restored(from: &str, to: &str, format: &str) -> Client {
    let archive = std::env::temp_dir().join(format!("{from}-{}.{format}", std::process::id()));
    let file = std::fs::File::create(&archive).expect("a file");
    let dump =
        cluster().command("pg_dump").args(["-F", format, "-d", from]).stdout(file).stderr(Stdio::piped()).output();
    let dump = dump.expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    superuser().await.batch_execute(&format!("CREATE DATABASE {to}")).await.expect("a database");
    let input = std::fs::File::open(&archive).expect("the archive");
    let restore = if format == "c" {
        cluster().command("pg_restore").args(["--exit-on-error", "-d", to]).stdin(input).output()
    } else {
        cluster().psql_command().args(["-q", "-d", to]).stdin(input).output()
    };
    let restore = restore.expect("pg_restore runs");
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    let _ = std::fs::remove_file(archive);
    cluster().connect(to).await
}

#[tokio::test]
async fn dump_and_restore_bring_the_archive_back_whole() {
    let (name, client) = database().await;
    fill(&client).await;
    let before = contents(&client).await;
    for (what, rows) in &before {
        assert!(!rows.is_empty(), "nothing to compare of {what}");
    }
    for format in ["c", "p"] {
        let copy = restored(&name, &format!("{name}_{format}"), format).await;
        for ((what, before), (_, after)) in before.iter().zip(contents(&copy).await) {
            assert_eq!(*before, after, "{what}, format {format}");
        }
        // It goes on where it stopped: no seq, relay or quarantine number is given twice.
        let more = crate::support::event(9, "after the restore");
        let insert =
            format!("SELECT bigbrotr.event_insert(ARRAY[{}, 'nonsense too'], 'wss://relay.primal.net')", quote(&more));
        assert_eq!(text(&copy, &insert).await.as_deref(), Some("1"));
        let next = "SELECT max(seq) FROM bigbrotr.event";
        let (old, new) = (text(&client, next).await, text(&copy, next).await);
        let number = |text: Option<String>| text.expect("a number").parse::<i64>().expect("a number");
        assert_eq!(number(new), number(old) + 1);
        let holders = format!("SELECT relay_url FROM bigbrotr.relays_of('\\x{}')", crate::support::id(&more));
        assert_eq!(rows(&copy, &holders).await, ["wss://relay.primal.net"]);
        copy.batch_execute("SELECT bigbrotr.maintain(1, 1, 1000); SELECT * FROM bigbrotr.relay_status")
            .await
            .expect("it works");
    }
}
