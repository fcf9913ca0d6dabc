//! The view `event` over its packed rows: what goes in comes out, and what is deleted is gone everywhere.

use crate::support::{cluster, database, event, id, quote, rows, text};

#[tokio::test]
async fn deleting_from_event_takes_the_sightings_along() {
    let (_, client) = database().await;
    for n in 0..3 {
        let insert =
            format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://nos.lol')", quote(&event(n, &format!("note {n}"))));
        assert_eq!(text(&client, &insert).await.as_deref(), Some("1"));
    }
    let gone = event(1, "note 1");
    client.batch_execute(&format!("DELETE FROM bigbrotr.event WHERE id = '\\x{}'", id(&gone))).await.expect("deleted");
    assert_eq!(rows(&client, "SELECT content FROM bigbrotr.event ORDER BY content").await, ["note 0", "note 2"]);
    assert_eq!(text(&client, "SELECT count(*) FROM bigbrotr.event_relay").await.as_deref(), Some("2"));
    assert_eq!(text(&client, "SELECT sum(n) FROM bigbrotr.sighting").await.as_deref(), Some("2"));
    let again = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://nos.lol')", quote(&gone));
    assert_eq!(text(&client, &again).await.as_deref(), Some("1"), "it may come again");
}

#[tokio::test]
async fn rows_of_event_can_be_restored_as_they_were_read() {
    let (_, client) = database().await;
    let odd = event(0, "tab \t nul \0 del \u{7f} and \u{1b}");
    let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://nos.lol')", quote(&odd));
    assert_eq!(text(&client, &insert).await.as_deref(), Some("1"));
    let json = "SELECT bigbrotr.event_json(e) FROM bigbrotr.event AS e";
    let before = rows(&client, json).await;
    client
        .batch_execute(
            "CREATE TABLE kept AS SELECT * FROM bigbrotr.event; DELETE FROM bigbrotr.event; INSERT INTO bigbrotr.event SELECT * FROM kept",
        )
        .await
        .expect("restored");
    assert_eq!(rows(&client, json).await, before);
    let same = "SELECT k = e FROM kept AS k JOIN bigbrotr.event AS e USING (seq)";
    assert_eq!(text(&client, same).await.as_deref(), Some("t"));
    let twice = client.batch_execute("INSERT INTO bigbrotr.event SELECT * FROM kept").await;
    assert!(twice.is_err(), "an id stands once");
    let no_event = "INSERT INTO bigbrotr.event (id, pubkey, created_at, kind, tags, content, sig) VALUES ('', '', 0, 0, '[]', '', '')";
    let refused = client.batch_execute(no_event).await.expect_err("refused");
    assert_eq!(refused.code().map(|code| code.code()), Some("22023"));
    let updated = client.batch_execute("UPDATE bigbrotr.event SET content = ''").await;
    assert!(updated.is_err(), "what is signed is not changed");
}

#[tokio::test]
async fn the_order_of_seq_is_that_of_commit_also_for_rows_put_in() {
    let (name, client) = database().await;
    let mut other = cluster().connect(&name).await;
    let insert = |n: i64| {
        format!(
            "INSERT INTO bigbrotr.event (id, pubkey, created_at, kind, tags, content, sig)
             VALUES (sha256('{n}'), sha256('a'), {n}, 1, '[]', '', sha512('')) RETURNING seq"
        )
    };
    let held = other.transaction().await.expect("begun");
    held.batch_execute("SELECT bigbrotr.lock_archive()").await.expect("locked");
    let waiting = insert(1);
    let waits = tokio::spawn(async move { text(&client, &waiting).await });
    let someone = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while held.query_one(someone, &[]).await.expect("locks").get::<_, i64>(0) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let first: i64 = held.query_one(&insert(2), &[]).await.expect("put in").get(0);
    held.commit().await.expect("committed");
    let second: i64 = waits.await.expect("no panic").expect("put in").parse().expect("a number");
    assert!(first < second, "who commits first is first: {first} {second}");
}

#[tokio::test]
async fn the_finder_is_never_beyond_what_there_is() {
    let (_, client) = database().await;
    let watermark = "SELECT state ->> 'seq' FROM bigbrotr.service_state WHERE service = 'finder'";
    // As of an extension that was dropped and made anew meanwhile.
    client.batch_execute("SELECT bigbrotr.finder_advance(5000)").await.expect("advanced");
    assert_eq!(text(&client, watermark).await.as_deref(), Some("0"));
    let insert = "INSERT INTO bigbrotr.event (seq, id, pubkey, created_at, kind, tags, content, sig)
                  VALUES (4000, sha256('a'), sha256('a'), 1, 1, '[]', '', sha512(''))";
    client.batch_execute(insert).await.expect("put in with a seq of its own");
    client.batch_execute("SELECT bigbrotr.finder_advance(4000)").await.expect("advanced");
    assert_eq!(text(&client, watermark).await.as_deref(), Some("4000"));
}
