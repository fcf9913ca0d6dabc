//! Over time: restarts, intervals, what must not be told.

use std::time::Duration;

use bigbrotr_tests::signed::hex;
use bigbrotr_tests::{Relay, RelayOptions, Stop};

use bigbrotr_tests::publishing::{World, key_file, reports, taken, values};

#[tokio::test]
async fn a_restart_repeats_nothing() {
    let relay = Relay::start(RelayOptions::default());
    let mut world = World::new(&[]).await;
    let id = world.well("wss://relay-a.com", "{}").await;
    world.publish_to(&[&relay], &[]).await;
    world.wait("SELECT accepted = 4 AND pending = 0 FROM bigbrotr.publish_status", "the results").await;
    assert_eq!(relay.served().publishes, 4);
    world.cluster.restart(Stop::Fast);
    world.client = world.cluster.connect("postgres").await;
    // Something new shows that the monitor is back.
    world.document(id, "nip11_info", r#"{"name":"new"}"#).await;
    world.check(id, true).await;
    world.until("the new report", || reports(&relay, "wss://relay-a.com/").len() == 2).await;
    assert_eq!(relay.served().publishes, 5);
    world.wait("SELECT accepted = 4 FROM bigbrotr.publish_status", "the result").await;
    // Changed settings change what they are about, and no more.
    world.cluster.set(&[("bigbrotr.publish_interval", "7200")]).await;
    world.until("the new announcement", || taken(&relay, 10166).len() == 2).await;
    let announcements = taken(&relay, 10166);
    assert_eq!(values(&announcements[1], "frequency"), ["7200"]);
    assert!(announcements[1].created_at > announcements[0].created_at);
    assert_eq!(relay.served().publishes, 6);
}

#[tokio::test]
async fn what_the_monitor_says_of_itself_is_repeated_daily() {
    let relay = Relay::start(RelayOptions::default());
    let mut world = World::new(&[]).await;
    world.publish_to(&[&relay], &[]).await;
    world.wait("SELECT accepted = 3 AND pending = 0 FROM bigbrotr.publish_status", "the results").await;
    // The same event at another time is another event.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.cluster.set(&[("bigbrotr.publish_enabled", "off")]).await;
    world.wait("SELECT connected_since IS NULL FROM bigbrotr.publish_status", "the end of it").await;
    world
        .client
        .batch_execute("UPDATE bigbrotr.publication SET created_at = created_at - 90000")
        .await
        .expect("a day later");
    world.cluster.set(&[("bigbrotr.publish_enabled", "on")]).await;
    world.until("all of it again", || [0, 10002, 10166].iter().all(|kind| taken(&relay, *kind).len() == 2)).await;
}

#[tokio::test]
async fn an_unchanged_relay_is_reported_at_its_interval() {
    let relay = Relay::start(RelayOptions::default());
    let mut world = World::new(&[]).await;
    let id = world.well("wss://relay-a.com", "{}").await;
    world.publish_to(&[&relay], &[]).await;
    let d = "wss://relay-a.com/";
    world.until("the first report", || reports(&relay, d).len() == 1).await;
    let age = |seconds: u32| {
        format!(
            "UPDATE bigbrotr.publication SET checked_at = checked_at - interval '{seconds} s', created_at = created_at - {seconds}
             WHERE kind = 30166"
        )
    };
    world.client.batch_execute(&age(3000)).await.expect("older");
    world.check(id, true).await;
    // What is new in a document and not in a report does not count.
    let documents: Vec<u8> = world.one("SELECT documents FROM bigbrotr.publication WHERE kind = 30166").await;
    world.document(id, "nip66_geo", r#"{"ip":"8.8.8.8"}"#).await;
    world.check(id, true).await;
    let noted = format!("SELECT documents <> '\\x{}' FROM bigbrotr.publication WHERE kind = 30166", hex(&documents));
    world.wait(&noted, "the document to be noted").await;
    assert_eq!(reports(&relay, d).len(), 1);
    world.client.batch_execute(&age(300)).await.expect("as old as the interval");
    world.check(id, true).await;
    world.until("the second report", || reports(&relay, d).len() == 2).await;
}

#[tokio::test]
async fn blocked_and_failing_relays_are_not_reported() {
    let relay = Relay::start(RelayOptions::default());
    let mut world = World::new(&[]).await;
    world
        .client
        .batch_execute("INSERT INTO bigbrotr.block VALUES ('wss://%.bad.com', 'asked us')")
        .await
        .expect("a block");
    world.well("wss://a.bad.com", "{}").await;
    let failing = world.relay("wss://failing.com").await;
    world.check(failing, true).await;
    world.check(failing, false).await;
    world.well("wss://relay-a.com", "{}").await;
    world
        .client
        .batch_execute("UPDATE bigbrotr.relay SET state = 'blocked' WHERE url = 'wss://relay-a.com'")
        .await
        .expect("blocked");
    world.well("wss://good.com", "{}").await;
    world.publish_to(&[&relay], &[]).await;
    world.wait("SELECT accepted = 4 AND pending = 0 FROM bigbrotr.publish_status", "the good one").await;
    let told: Vec<_> = taken(&relay, 30166).iter().map(|report| values(report, "d").remove(0)).collect();
    assert_eq!(told, ["wss://good.com/"]);
}

#[tokio::test]
async fn a_relay_blocked_meanwhile_is_not_sent_any_more() {
    let relay = Relay::start(RelayOptions::default());
    relay.stop();
    let mut world = World::new(&[]).await;
    world.well("wss://relay-a.com", "{}").await;
    world.publish_to(&[&relay], &[]).await;
    world.wait("SELECT pending = 4 AND failures > 0 FROM bigbrotr.publish_status", "events in the outbox").await;
    let pending = "SELECT array_agg(p.kind ORDER BY p.kind) FROM bigbrotr.publish_relay AS t,
                   LATERAL bigbrotr.publish_pending(t.url, (SELECT pubkey FROM bigbrotr.publication LIMIT 1), 0, 100) AS p";
    assert_eq!(world.one::<Vec<i32>>(pending).await, [0, 10002, 10166, 30166]);
    world.client.batch_execute("INSERT INTO bigbrotr.block VALUES ('wss://relay-a%', '')").await.expect("a block");
    assert_eq!(world.one::<Vec<i32>>(pending).await, [0, 10002, 10166]);
    // A block of the relay published to leaves it alone altogether.
    world.client.batch_execute("INSERT INTO bigbrotr.block VALUES ('ws://127.0.0.1%', '')").await.expect("a block");
    assert_eq!(world.one::<Option<Vec<i32>>>(pending).await, None);
}

#[tokio::test]
async fn private_relays_are_for_private_ears() {
    let relay = Relay::start(RelayOptions::default());
    let mut world = World::new(&[]).await;
    world.well("ws://10.1.2.3:7777", "{}").await;
    let inside = world.well("wss://relay.corp.com", "{}").await;
    world.document(inside, "nip66_dns", r#"{"a":["10.1.2.4"]}"#).await;
    world.well("wss://relay-a.com", "{}").await;
    world.publish_to(&[&relay], &[]).await;
    world.wait("SELECT accepted = 6 FROM bigbrotr.publish_status", "all of it, on the loopback").await;
    let pending = "SELECT array_agg(p.d ORDER BY p.d) FROM bigbrotr.publish_relay AS t,
                   LATERAL bigbrotr.publish_pending(t.url, (SELECT pubkey FROM bigbrotr.publication LIMIT 1), 0, 100) AS p
                   WHERE p.kind = 30166 AND t.url = 'wss://public.com'";
    let public = "INSERT INTO bigbrotr.publish_relay (url, is_private) VALUES ('wss://public.com', false)";
    world.client.batch_execute(public).await.expect("a public relay");
    assert_eq!(world.one::<Vec<String>>(pending).await, ["wss://relay-a.com/"]);
}

#[tokio::test]
async fn another_key_begins_anew() {
    let relay = Relay::start(RelayOptions::default());
    let mut world = World::new(&[]).await;
    world.well("wss://relay-a.com", "{}").await;
    world.publish_to(&[&relay], &[]).await;
    world.wait("SELECT accepted = 4 FROM bigbrotr.publish_status", "the results").await;
    world.key = key_file(&world.cluster, &"07".repeat(32), 0o400);
    world.publish_to(&[&relay], &[]).await;
    world
        .until("everything again", || [0, 10002, 10166, 30166].iter().all(|kind| taken(&relay, *kind).len() == 2))
        .await;
    let mut keys: Vec<_> = taken(&relay, 30166).iter().map(|event| event.pubkey).collect();
    keys.dedup();
    assert_eq!(keys.len(), 2);
    world.wait("SELECT accepted = 4 FROM bigbrotr.publish_status", "the results").await;
    // Another relay gets what the new key said only.
    let other = Relay::start(RelayOptions::default());
    world.publish_to(&[&relay, &other], &[]).await;
    world.until("the other relay to have it", || taken(&other, 30166).len() == 1).await;
    assert_eq!(relay.served().publishes, 8 + 1, "and the first one only the new relay list");
}
