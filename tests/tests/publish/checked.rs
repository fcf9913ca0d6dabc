//! What is published, as an independent implementation of the protocol reads it.

use std::time::Duration;

use bigbrotr_tests::{Relay, RelayOptions, generate::now, relay::Document};
use nostr::nips::nip66::{NetworkType, Nip66Tag, Requirement};

use bigbrotr_tests::publishing::{SECRET, World, key_file, reports, taken, values};

const DOCUMENT: &str = r#"{"name":"Ünïcode \"relay\"","supported_nips":[1,11,"7D"],"tags":["News"],"language_tags":["de"],
    "limitation":{"auth_required":false,"payment_required":true},"retention":[{"kinds":[4],"time":0}]}"#;

#[tokio::test]
async fn nothing_is_published_unless_somebody_asked_for_it() {
    let relay = Relay::start(RelayOptions::default());
    let mut world = World::new(&[]).await;
    world.well("wss://relay-a.com", "{}").await;
    let key = world.key.clone();
    // A key and relays, and nobody switched it on; then the other way round.
    world.cluster.set(&[("bigbrotr.secret_key_file", &key), ("bigbrotr.publish_relays", &relay.url())]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.cluster.set(&[("bigbrotr.publish_relays", ""), ("bigbrotr.publish_enabled", "on")]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(relay.served().connections, 0);
    let traces = "SELECT (SELECT count(*) FROM bigbrotr.publication) + (SELECT count(*) FROM bigbrotr.publish_relay)";
    assert_eq!(world.one::<i64>(traces).await, 0);
    world.publish_to(&[&relay], &[]).await;
    world.until("the report", || !reports(&relay, "wss://relay-a.com/").is_empty()).await;
}

#[tokio::test]
async fn a_monitor_publishes_who_it_is_and_what_it_found() {
    let relay = Relay::start(RelayOptions::default());
    let mut world = World::new(&[]).await;
    let id = world.relay("wss://relay-a.com").await;
    world.document(id, "nip11_info", DOCUMENT).await;
    world.document(id, "nip66_geo", r#"{"country":"DE","geohash":"u33dc0cpke","accuracy_km":20}"#).await;
    world.document(id, "nip66_net", r#"{"asn":24940,"asn_org":"Hetzner Online GmbH"}"#).await;
    world.document(id, "nip66_dns", r#"{"a":["8.8.8.8"],"ttl":60}"#).await;
    world.check(id, true).await;
    let settings = [("bigbrotr.monitor_geohash", "u0"), ("bigbrotr.monitor_profile", r#"{"name":"us"}"#)];
    world.publish_to(&[&relay], &settings).await;
    world.until("everything", || [0, 10002, 10166, 30166].iter().all(|kind| taken(&relay, *kind).len() == 1)).await;

    let report = taken(&relay, 30166).remove(0);
    let tags: Vec<_> = report.tags.iter().map(|tag| tag.as_slice().join(" ")).collect();
    let expected = [
        "d wss://relay-a.com/",
        "n clearnet",
        "rtt-open 12",
        "rtt-read 30",
        "N 1",
        "N 11",
        "N 7D",
        "R !auth",
        "R payment",
        "k !4",
        "t news",
        "g u33d",
        "g u33",
        "g u3",
        "g u",
        "L ISO-3166-1",
        "l DE ISO-3166-1",
        "L ISO-639-1",
        "l de ISO-639-1",
        "L host.as",
        "l AS24940 host.as",
    ];
    assert_eq!(tags, expected);
    let document: serde_json::Value = serde_json::from_str(&report.content).expect("the document");
    assert_eq!(document, serde_json::from_str::<serde_json::Value>(DOCUMENT).expect("JSON"));
    assert!((report.created_at.as_secs().cast_signed() - now()).abs() < 60);
    let read: Vec<_> = report.tags.iter().filter_map(|tag| Nip66Tag::try_from(tag).ok()).collect();
    let payment = Nip66Tag::Requirement { requirement: Requirement::Payment, is_required: true };
    let kind = Nip66Tag::Kind { kind: nostr::event::Kind::from(4), is_accepted: false };
    for tag in [
        Nip66Tag::RttOpen(Duration::from_millis(12)),
        Nip66Tag::NetworkType(NetworkType::Clearnet),
        Nip66Tag::Nip("7D".into()),
        Nip66Tag::Topic("news".into()),
        Nip66Tag::Geohash("u33".into()),
        payment,
        kind,
    ] {
        assert!(read.contains(&tag), "{tag:?} is not in {read:?}");
    }
    // All but d and the labels are of that NIP.
    assert_eq!(read.len(), tags.iter().filter(|tag| !tag.starts_with(['d', 'l', 'L'])).count());

    let announcement = taken(&relay, 10166).remove(0);
    assert_eq!(values(&announcement, "frequency"), ["3600"]);
    assert_eq!(values(&announcement, "g"), ["u0", "u"]);
    assert!(values(&announcement, "c").contains(&"nip11".to_owned()));
    let timeouts = announcement.tags.iter().map(|tag| tag.as_slice()).filter(|tag| tag[0] == "timeout");
    assert!(timeouts.clone().count() > 0 && timeouts.clone().all(|tag| tag[1] == "2000" && tag.len() == 3));
    assert_eq!(taken(&relay, 0)[0].content, r#"{"name":"us"}"#);
    assert_eq!(values(&taken(&relay, 10002)[0], "r"), [relay.url()]);

    let accepted = "SELECT accepted = 4 AND refused + unanswered + pending = 0 AND connected_since IS NOT NULL AND last_error IS NULL
                    FROM bigbrotr.publish_status";
    world.wait(accepted, "the results").await;
    let recorded =
        "SELECT bool_and(x.ok AND x.event_id = p.event_id AND x.sent_at > now() - interval '1 minute') AND count(*) = 4
                    FROM bigbrotr.publication_result AS x JOIN bigbrotr.publication AS p USING (kind, d)";
    assert!(world.one::<bool>(recorded).await);
    assert_eq!(relay.served().websockets, 1, "one connection for all of it");
    assert_eq!(relay.served().auths, 0);
}

#[tokio::test]
async fn a_relay_the_monitor_checks_itself_is_reported() {
    let (watched, target) = (Relay::start(RelayOptions::default()), Relay::start(RelayOptions::default()));
    let mut world = World::new(&[("bigbrotr.monitor_interval", "1"), ("bigbrotr.publish_interval", "3600")]).await;
    let insert = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')";
    world.client.execute(insert, &[&watched.url()]).await.expect("a relay");
    world.publish_to(&[&target], &[]).await;
    let d = format!("{}/", watched.url());
    world.until("the first report", || reports(&target, &d).len() == 1).await;
    let first = reports(&target, &d).remove(0);
    assert!(values(&first, "rtt-open")[0].parse::<u64>().expect("milliseconds") > 0);
    assert_eq!(values(&first, "N"), ["1", "11", "42", "45", "67"]);
    // Checked again and again, and nothing new to say.
    let checks = "SELECT count(*) > 8 FROM bigbrotr.relay_check WHERE ok";
    world.wait(checks, "more checks").await;
    assert_eq!(reports(&target, &d).len(), 1);
    watched.update(|options| options.nip11 = Some(Document::nip11(r#"{"name":"changed"}"#)));
    world.until("the second report", || reports(&target, &d).len() == 2).await;
    let second = reports(&target, &d).remove(1);
    assert_eq!((second.content.as_str(), values(&second, "N").len()), (r#"{"name":"changed"}"#, 0));
    assert!(second.created_at > first.created_at);
    // Nothing is said of a relay that is gone.
    watched.stop();
    world.wait("SELECT bool_or(NOT ok) FROM bigbrotr.relay_check", "a failed check").await;
    world.wait("SELECT count(*) > 1 FROM bigbrotr.relay_check WHERE NOT ok", "another one").await;
    assert_eq!(reports(&target, &d).len(), 2);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_stops_publishing_and_nothing_else() {
    let (watched, target) = (Relay::start(RelayOptions::default()), Relay::start(RelayOptions::default()));
    let mut world = World::new(&[("bigbrotr.monitor_interval", "1")]).await;
    let exposed = key_file(&world.cluster, SECRET, 0o644);
    let good = std::mem::replace(&mut world.key, exposed);
    world.publish_to(&[&target], &[]).await;
    let insert = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')";
    world.client.execute(insert, &[&watched.url()]).await.expect("a relay");
    world.wait("SELECT count(*) > 4 FROM bigbrotr.relay_check WHERE ok", "the checks").await;
    let log = world.cluster.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("publishing is off")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("group or world access") && lines[0].contains("HINT"), "{lines:?}");
    assert_eq!(target.served().connections, 0);
    world.key = good;
    world.publish_to(&[&target], &[]).await;
    world.until("a report", || !taken(&target, 30166).is_empty()).await;
    assert!(!world.cluster.log().contains(SECRET), "the key is in the log");
    let told = format!("SELECT count(*) FROM bigbrotr.publication AS p WHERE p::text LIKE '%{SECRET}%'");
    assert_eq!(world.one::<i64>(&told).await, 0);
}
