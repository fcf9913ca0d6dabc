use std::time::{Duration, Instant};

use bigbrotr_tests::{Relay, RelayOptions, mmdb::Mmdb, relay::Mode};
use serde_json::{Value, json};

use crate::support::{SOON, add, checked, document, documents, options, public_file, start};

fn city(name: &str) -> Value {
    json!({
        "city": {"geoname_id": 2_950_159, "names": {"en": name, "de": "anders"}},
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"iso_code": "DE", "geoname_id": 2_921_044, "is_in_european_union": true, "names": {"en": "Germany"}},
        "location": {"accuracy_radius": 20, "latitude": 52.5196, "longitude": 13.4069, "time_zone": "Europe/Berlin"},
        "postal": {"code": "10178"},
        "subdivisions": [{"iso_code": "BE", "names": {"en": "Land Berlin"}}],
    })
}

fn city_file(name: &str) -> Vec<u8> {
    Mmdb::new("GeoLite2-City").with("127.0.0.0/8", &city(name)).with("2001:db8::/32", &city("six")).build()
}

fn asn_file() -> Vec<u8> {
    let record = json!({"autonomous_system_number": 64_500, "autonomous_system_organization": "Example Net"});
    Mmdb::new("GeoLite2-ASN").with("127.0.0.0/16", &record).build()
}

#[tokio::test]
async fn a_relay_has_a_place_and_an_owner_and_a_new_file_is_read_when_it_comes() {
    let (cities, owners) = (public_file(&city_file("Berlin")), public_file(&asn_file()));
    let settings = [
        ("bigbrotr.monitor_checks", "rtt,geo,net"),
        ("bigbrotr.geoip_city_file", &cities.path().to_string_lossy()),
        ("bigbrotr.geoip_asn_file", &owners.path().to_string_lossy()),
    ];
    let (mut cluster, client) = start(options(&settings)).await;
    let relay = Relay::start(RelayOptions::default());
    let id = add(&client, &relay.url()).await;
    checked(&cluster, &client, id, 2).await;
    let place = document(&client, id, "nip66_geo").await;
    let expected = json!({
        "ip": "127.0.0.1", "country": "DE", "country_name": "Germany", "continent": "EU", "is_eu": true,
        "region": "Land Berlin", "city": "Berlin", "postal": "10178", "latitude": 52.5196, "longitude": 13.4069,
        "accuracy_km": 20, "time_zone": "Europe/Berlin", "geohash": "u33dc0fsg", "geoname_id": 2_950_159,
    });
    assert_eq!(place, expected);
    let owner = json!({"ip": "127.0.0.1", "asn": 64_500, "asn_org": "Example Net", "network": "127.0.0.0/16"});
    assert_eq!(document(&client, id, "nip66_net").await, owner);
    assert_eq!(relay.served().websockets, relay.served().connections, "places take no connection of their own");

    // A file that is bad keeps the old one, and a good one replaces it. The monitor looks once a minute, or when its settings change.
    std::fs::write(cities.path(), &city_file("nowhere")[..200]).expect("cut short");
    cluster.set(&[("bigbrotr.monitor_checks", "rtt,net,geo")]).await;
    let log = |text: &'static str| {
        let cluster = &cluster;
        async move {
            let started = Instant::now();
            while !cluster.log().contains(text) {
                assert!(started.elapsed() < SOON, "{text}: {}", cluster.log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    log("cannot be used").await;
    checked(&cluster, &client, id, 4).await;
    assert_eq!(document(&client, id, "nip66_geo").await, expected);
    let seen = "SELECT count(*) FILTER (WHERE m.data ->> 'city' = 'Potsdam') = 1
                FROM bigbrotr.relay_metadata AS r JOIN bigbrotr.metadata AS m ON m.id = r.metadata_id";
    std::fs::write(cities.path(), city_file("Potsdam")).expect("whole");
    cluster.set(&[("bigbrotr.monitor_checks", "geo,rtt,net")]).await;
    cluster.wait_for(&client, seen, SOON, "the new file").await;
    assert!(documents(&client, id, "nip66_geo").await.iter().all(|place| place["city"] != "nowhere"));
}

#[tokio::test]
async fn without_files_the_checks_are_off_and_say_so() {
    let bad = public_file(b"no database");
    let settings = [("bigbrotr.geoip_asn_file", &*bad.path().to_string_lossy())];
    let (cluster, client) = start(options(&settings)).await;
    let relay = Relay::start(RelayOptions::default());
    let id = add(&client, &relay.url()).await;
    checked(&cluster, &client, id, 2).await;
    for kind in ["nip66_geo", "nip66_net"] {
        assert!(documents(&client, id, kind).await.is_empty(), "{kind}");
    }
    let said = "SELECT detail -> 'off' ->> 'geo' = 'bigbrotr.geoip_city_file is not set'
                       AND detail -> 'off' ->> 'net' LIKE 'bigbrotr.geoip_asn_file cannot be used%'
                       AND detail -> 'checks' = '[\"nip11\", \"rtt\", \"ssl\", \"dns\", \"http\"]' FROM bigbrotr.stat_cycles ORDER BY id DESC LIMIT 1";
    cluster.wait_for(&client, said, SOON, "the report").await;
    // Seen while it is at it, which takes a while with this one.
    let silent = Relay::start(RelayOptions { mode: Mode::SilentTcp, ..RelayOptions::default() });
    add(&client, &silent.url()).await;
    let activity = "SELECT activity LIKE '%off: geo, net%' FROM bigbrotr.stat_workers WHERE service = 'monitor'";
    cluster.wait_for(&client, activity, SOON, "the activity").await;
    let path = bad.path().to_string_lossy().into_owned();
    let detail = "SELECT count(*) FROM bigbrotr.stat_cycles WHERE detail::text LIKE '%' || $1 || '%'";
    let hits: i64 = client.query_one(detail, &[&path]).await.expect("a row").get(0);
    assert_eq!(hits, 0, "the setting is for superusers only");
    let log = cluster.log();
    assert_eq!(log.matches("checks that are off: geo (bigbrotr.geoip_city_file is not set)").count(), 1, "{log}");
    assert_eq!(log.matches(&format!("GeoIP file \"{path}\" cannot be used")).count(), 1, "{log}");
}
