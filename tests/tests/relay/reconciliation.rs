//! NIP-77: a client of the reference crate against the relay.

use std::collections::{BTreeSet, HashSet};

use bigbrotr_tests::relay::{NegFault, NegOff, NegOn, Negentropy};
use negentropy::{Id, Negentropy as Engine, NegentropyStorageVector as Snapshot};

use super::*;

/// How a comparison came out.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Ids only the relay claims; rounds.
    Needs(HashSet<String>, u32),
    /// What the relay said instead, or null at the end of the connection.
    Said(Value),
    Silence,
}

async fn ask(client: &mut Client, filter: Value, known: &[String]) -> Outcome {
    let mut snapshot = Snapshot::new();
    for event in known {
        let event: Value = serde_json::from_str(event).expect("JSON");
        let id = signed::unhex(event["id"].as_str().expect("id")).expect("hex");
        snapshot.insert(event["created_at"].as_u64().expect("time"), Id::from_byte_array(id)).expect("not sealed");
    }
    snapshot.seal().expect("once");
    let mut engine = Engine::owned(snapshot, 0).expect("no frame limit");
    let first = engine.initiate().expect("once");
    client.send(json!(["NEG-OPEN", "n", filter, signed::hex(&first)])).await;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    for round in 1.. {
        let message = match timeout(SILENCE, client.0.next()).await {
            Err(_) => return Outcome::Silence,
            Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str::<Value>(&text).expect("JSON"),
            Ok(_) => return Outcome::Said(Value::Null),
        };
        if message[0] != "NEG-MSG" || message[1] != "n" {
            return Outcome::Said(message);
        }
        let hex = message[2].as_str().expect("text");
        let bytes = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"));
        match engine.reconcile_with_ids(&bytes.collect::<Vec<_>>(), &mut have, &mut need).expect("version 1") {
            Some(answer) => client.send(json!(["NEG-MSG", "n", signed::hex(&answer)])).await,
            None => return Outcome::Needs(need.iter().map(|id| signed::hex(&id.to_bytes())).collect(), round),
        }
    }
    unreachable!("rounds go on until something is returned")
}

fn with(on: NegOn) -> Negentropy {
    Negentropy::On(on)
}

#[tokio::test]
async fn differences_are_found_with_equal_times_and_small_frames() {
    let mut generator = Generator::new(9);
    let mut events: Vec<String> = (0..600).map(|n| generator.event(1, n / 40, &[], &n.to_string())).collect();
    events.push(generator.event(1, i64::MAX, &[], "last"));
    let relay = Relay::start(RelayOptions {
        events: Store::new(events.clone()),
        cap: Some(5),
        negentropy: with(NegOn { frame_limit: 4_096, ..NegOn::default() }),
        ..RelayOptions::default()
    });
    let mut client = Client::connect(&relay).await;
    let ids = |events: &[String]| -> HashSet<String> { events.iter().map(|event| answers::id(event)).collect() };
    let known: Vec<_> = events.iter().filter(|event| !answers::id(event).starts_with('7')).cloned().collect();
    for (known, missing) in
        [(&known, ids(&events).difference(&ids(&known)).cloned().collect()), (&events, HashSet::new())]
    {
        let Outcome::Needs(needed, _) = ask(&mut client, json!({}), known).await else { panic!("no answer") };
        assert_eq!(needed, missing);
    }
    let Outcome::Needs(needed, rounds) = ask(&mut client, json!({}), &[]).await else { panic!("no answer") };
    assert_eq!(needed, ids(&events));
    assert!(rounds > 4, "{rounds} rounds of at most 4,096 bytes for {} ids", events.len());
    let Outcome::Needs(needed, 1) = ask(&mut client, json!({"since": 3, "until": 3}), &[]).await else {
        panic!("rounds")
    };
    assert_eq!(needed, ids(&events[120..160]));
    assert!(relay.served().neg_opens == 4 && relay.served().neg_messages > 8);
    client.send(json!(["NEG-CLOSE", "n"])).await;
    client.send(json!(["NEG-MSG", "n", "61"])).await;
    assert_eq!(client.json().await, json!(["NEG-ERR", "n", "closed: no such subscription"]));
}

#[tokio::test]
async fn relays_without_it_answer_in_their_own_way() {
    let (relay, mut client) = well_behaved().await;
    for (off, said) in [
        (NegOff::Notice, json!(["NOTICE", "invalid: NEG-OPEN not understood"])),
        (NegOff::NegErr("error: no".into()), json!(["NEG-ERR", "n", "error: no"])),
        (NegOff::Closed("unsupported: no".into()), json!(["CLOSED", "n", "unsupported: no"])),
    ] {
        relay.update(|options| options.negentropy = Negentropy::Off(off));
        assert_eq!(ask(&mut client, json!({}), &[]).await, Outcome::Said(said));
    }
    relay.update(|options| options.negentropy = Negentropy::Off(NegOff::Silent));
    assert_eq!(ask(&mut client, json!({}), &[]).await, Outcome::Silence);
    assert!(!link::get(&relay, "application/nostr+json").await.1.contains("77"));
    relay.update(|options| options.negentropy = Negentropy::on());
    assert!(link::get(&relay, "application/nostr+json").await.1.contains("77"));
}

#[tokio::test]
async fn too_many_records_are_refused() {
    let (relay, mut client) = well_behaved().await;
    let on = NegOn { max_records: Some(9), ..NegOn::default() };
    relay.update(|options| options.negentropy = with(on.clone()));
    let refusal = json!(["NEG-ERR", "n", "blocked: too many query results"]);
    assert_eq!(ask(&mut client, json!({}), &[]).await, Outcome::Said(refusal));
    relay.update(|options| options.negentropy = with(NegOn { tell_max: true, ..on }));
    let refusal = json!(["NEG-ERR", "n", "blocked: too many query results", 9]);
    assert_eq!(ask(&mut client, json!({}), &[]).await, Outcome::Said(refusal));
    let Outcome::Needs(needed, _) = ask(&mut client, json!({"until": 9}), &[]).await else { panic!("refused") };
    assert_eq!(needed.len(), 9);
}

#[tokio::test]
async fn faults_happen_in_the_round_they_are_meant_for() {
    let (relay, mut client) = well_behaved().await;
    let fault = |fault| {
        relay.update(|options| {
            options.negentropy = with(NegOn { fault: Some(fault), frame_limit: 4_096, ..NegOn::default() });
        });
    };
    fault(NegFault::SilentFrom(1));
    assert_eq!(ask(&mut client, json!({}), &[]).await, Outcome::Silence);
    fault(NegFault::ErrAt(1, "error: tired".into()));
    assert_eq!(ask(&mut client, json!({}), &[]).await, Outcome::Said(json!(["NEG-ERR", "n", "error: tired"])));
    fault(NegFault::ForeignSub);
    assert!(matches!(ask(&mut client, json!({}), &[]).await, Outcome::Said(said) if said[1] == "not-n"));
    fault(NegFault::Garbage("6g".into()));
    client.send(json!(["NEG-OPEN", "n", {}, "6100000200"])).await;
    assert_eq!(client.json().await, json!(["NEG-MSG", "n", "6g"]));
    fault(NegFault::OtherVersion);
    client.send(json!(["NEG-OPEN", "n", {}, "6100000200"])).await;
    assert_eq!(client.json().await, json!(["NEG-MSG", "n", "62"]));
    fault(NegFault::Endless);
    let mut answers = BTreeSet::new();
    client.send(json!(["NEG-OPEN", "n", {}, "6100000200"])).await;
    for _ in 0..50 {
        answers.insert(client.json().await[2].to_string());
        client.send(json!(["NEG-MSG", "n", "6100000200"])).await;
    }
    assert_eq!(answers.len(), 50);
    let mut client = Client::connect(&relay).await;
    fault(NegFault::Flood(5_000));
    let Outcome::Needs(needed, 1) = ask(&mut client, json!({}), &[]).await else { panic!("rounds") };
    assert_eq!(needed.len(), 5_000);
    fault(NegFault::CutAt(1));
    assert_eq!(ask(&mut client, json!({}), &[]).await, Outcome::Said(Value::Null));
}

#[tokio::test]
async fn bodies_can_be_withheld_or_not_be_there_at_all() {
    let (relay, mut client) = well_behaved().await;
    let hidden = Generator::new(30).event(4, 5, &[], "for one reader");
    relay.add(&hidden);
    let phantom = (7, [9; 32]);
    relay.update(|options| {
        options.negentropy = with(NegOn { phantoms: vec![phantom], ..NegOn::default() });
        options.withheld_kinds = vec![4];
    });
    let Outcome::Needs(needed, _) = ask(&mut client, json!({}), &[]).await else { panic!("no answer") };
    assert_eq!(needed.len(), 12);
    assert!(needed.contains(&signed::hex(&phantom.1)) && needed.contains(&answers::id(&hidden)));
    let ids: Vec<_> = needed.into_iter().collect();
    assert_eq!(client.ask(json!({"ids": ids})).await.0.len(), 10);
    assert_eq!(client.ask(json!({})).await.0.len(), 10);
    client.send(json!(["COUNT", "c", {}])).await;
    assert_eq!(client.json().await[2]["count"], 11);
    relay.update(|options| options.withheld_text = Some("restricted: not for you".into()));
    assert_eq!(client.ask(json!({"ids": ids})).await, (vec![], json!(["CLOSED", "s", "restricted: not for you"])));
    assert_eq!(client.ask(json!({"kinds": [4]})).await, (vec![], eose()));
    assert!(relay.withholds(4) && !relay.withholds(1));
}

#[tokio::test]
async fn it_is_for_authenticated_clients_where_anything_is() {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| (options.auth, options.negentropy) = (Auth::Required, Negentropy::on()));
    let said = ask(&mut client, json!({}), &[]).await;
    assert!(
        matches!(said, Outcome::Said(said) if said[0] == "NEG-ERR" && said[2].to_string().contains("auth-required"))
    );
}
