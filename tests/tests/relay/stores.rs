//! What relays hold.

use super::*;

#[tokio::test]
async fn relays_of_one_store_share_their_events() {
    let store = Store::new(notes(10));
    let relays: Vec<_> = distribute(10, 3, 2, 1)
        .iter()
        .map(|held| Relay::start(RelayOptions { events: store.subset(held), ..Default::default() }))
        .collect();
    assert_eq!(relays.iter().map(|relay| relay.held().len()).sum::<usize>(), 20);
    // Counters are each relay's own.
    Client::connect(&relays[0]).await.ask(json!({})).await;
    assert_eq!(relays[0].served().events, relays[0].held().len() as u64);
    assert_eq!(relays[1].served().sent.len(), 0);
    assert!(Arc::strong_count(&store.events()[0]) >= 3);
}

#[tokio::test]
async fn jsonl_files_can_be_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("events.jsonl");
    std::fs::write(&file, notes(3).join("\n") + "\n\n").expect("writes");
    let relay = Relay::start(RelayOptions { events: Store::from_jsonl(&file).expect("reads"), ..Default::default() });
    assert_eq!(Client::connect(&relay).await.times(json!({})).await, [3, 2, 1]);
}
