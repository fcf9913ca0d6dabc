use bigbrotr_tests::{
    Relay, RelayOptions,
    dns::{Data, Fault, NameServer, Zone},
};
use serde_json::json;

use crate::support::{add, checked, documents, last_check, options, start};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

fn a(ip: [u8; 4]) -> Data {
    Data::A(ip.into())
}

fn text(name: &str) -> String {
    name.to_owned()
}

#[tokio::test]
async fn what_dns_says_of_a_relay_is_recorded() {
    let zone = Zone::default()
        .with("relay.example.com", 300, Data::Cname(text("edge.cdn.example.net")))
        .with("edge.cdn.example.net", 60, a(LOOPBACK))
        .with("edge.cdn.example.net", 60, a([10, 0, 0, 7]))
        .with("example.com", 3600, Data::Ns(text("NS2.example.com")))
        .with("example.com", 3600, Data::Ns(text("ns1.example.com")))
        .with("7.0.0.10.in-addr.arpa", 60, Data::Ptr(text("host.example.net")))
        // The other way leads elsewhere.
        .with("unrelated.example.net", 1, a([192, 0, 2, 9]))
        .with("com", 1, Data::Ns(text("not.asked.for")));
    let server = NameServer::start(zone).await;
    let settings = [
        ("bigbrotr.dns_server", server.address().to_string()),
        ("bigbrotr.monitor_checks", text("rtt,dns")),
        ("bigbrotr.networks", text("clearnet,tor")),
        ("bigbrotr.tor_proxy", text("socks5://127.0.0.1:1")),
    ];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (cluster, client) = start(options(&settings)).await;
    let relay = Relay::start(RelayOptions::default());
    let port = relay.address().port();
    let onion = format!("ws://{}.onion", "a".repeat(56));
    let onion_sql = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'tor') RETURNING id";
    let id = add(&client, &format!("ws://relay.example.com:{port}")).await;
    let local = add(&client, &format!("ws://a.localhost:{port}")).await;
    let onion: i32 = client.query_one(onion_sql, &[&onion]).await.expect("an overlay relay").get(0);
    for relay in [id, local, onion] {
        checked(&cluster, &client, relay, 2).await;
    }
    let row = documents(&client, id, "nip66_dns").await.remove(0);
    assert_eq!(row["a"], json!(["10.0.0.7", "127.0.0.1"]));
    assert_eq!(row["cname"], json!(["edge.cdn.example.net"]));
    assert_eq!(row["ns"], json!(["ns1.example.com", "ns2.example.com"]));
    // What this machine calls its own address is no DNS.
    assert_eq!(row["ptr"], json!(["host.example.net"]));
    assert!(row["ttl"].as_u64().is_some_and(|ttl| (1..=60).contains(&ttl)), "{row}");
    assert!(last_check(&client, id).await.0, "it is reached by the address that answers");
    // Names that are not DNS's are not asked of it.
    assert!(documents(&client, local, "nip66_dns").await.is_empty());
    assert!(documents(&client, onion, "nip66_dns").await.is_empty());
    let asked = server.asked();
    assert!(asked.iter().all(|(name, _)| !name.contains("onion") && !name.contains("localhost")), "{asked:?}");
    assert!(!asked.iter().any(|(name, kind)| name == "com" && *kind == 2), "a public suffix is nobody's zone");
}

#[tokio::test]
async fn hostile_answers_cost_their_relay_only() {
    let mut zone = Zone::default()
        .with("loop.example.com", 60, Data::Cname(text("pool.example.com")))
        .with("pool.example.com", 60, Data::Cname(text("loop.example.com")))
        .with_fault("broken.example.com", Fault::Code(2))
        .with_fault("refused.example.com", Fault::Code(5))
        .with_fault("silent.example.com", Fault::Silent)
        .with_fault("garbage.example.com", Fault::Garbage)
        .with("large.example.com", 60, a(LOOPBACK))
        .with_fault("large.example.com", Fault::Truncated)
        .with("odd.example.com", 60, Data::Cname("o\u{1}d\u{7f} \u{fffd}\"n\\me.example.com".to_owned()))
        .with("o\u{1}d\u{7f} \u{fffd}\"n\\me.example.com", 60, a(LOOPBACK))
        .with("empty.example.com", 60, Data::Ns(text("ns.example.com")));
    for n in 0..200_u8 {
        zone = zone.with("huge.example.com", 60, a([127, 0, 1, n])).with(
            "huge.example.com",
            60,
            Data::Ns(format!("ns{n}.example.com")),
        );
    }
    zone = zone.with_fault("huge.example.com", Fault::Truncated);
    let server = NameServer::start(zone).await;
    let address = server.address().to_string();
    let settings = [("bigbrotr.dns_server", address.as_str()), ("bigbrotr.monitor_checks", "dns")];
    let (cluster, client) = start(options(&settings)).await;
    let mut ids = Vec::new();
    let names = ["loop", "broken", "refused", "silent", "garbage", "empty", "missing", "large", "huge", "odd"];
    for name in names {
        ids.push((name, add(&client, &format!("wss://{name}.example.com")).await));
    }
    for (name, id) in &ids {
        checked(&cluster, &client, *id, 1).await;
        let rows = documents(&client, *id, "nip66_dns").await;
        let (ok, _, class, error) = last_check(&client, *id).await;
        let known = ["large", "huge", "odd"].contains(name);
        assert_eq!((ok, rows.is_empty()), (known, !known), "{name}: {rows:?} {class:?} {error:?}");
        assert_eq!(class.as_deref(), (!known).then_some("dns"), "{name}: {error:?}");
        match *name {
            "large" => assert_eq!(rows[0]["a"], json!(["127.0.0.1"])),
            "huge" => {
                assert_eq!(rows[0]["a"].as_array().map(Vec::len), Some(32));
                assert_eq!(rows[0]["ns"].as_array().map(Vec::len), Some(32));
            }
            "odd" => {
                let alias = rows[0]["cname"][0].as_str().expect("an alias");
                assert!(alias.ends_with(".example.com") && !alias.chars().any(char::is_control), "{alias}");
            }
            _ => {}
        }
    }
    let errors = "SELECT count(*) = 0 FROM bigbrotr.stat_cycles WHERE NOT ok";
    assert!(client.query_one(errors, &[]).await.expect("a row").get::<_, bool>(0));
}
