//! New events.

use super::*;

#[tokio::test]
async fn new_events_reach_matching_subscriptions_until_they_are_closed() {
    let (relay, mut client) = well_behaved().await;
    let mut generator = Generator::new(5);
    let (old, new) = (generator.event(1, 3, &[], "old"), generator.event(1, 30, &[], "new"));
    assert_eq!(client.ask(json!({"since": 20})).await, (vec![], eose()));
    relay.add(&old);
    relay.add(&new);
    assert_eq!(client.json().await[2]["content"], "new");
    client.send(json!(["CLOSE", "s"])).await;
    assert!(client.is_silent().await);
    relay.add(&new);
    assert!(client.is_silent().await);
    assert_eq!(relay.held().len(), 13);
    assert_eq!(relay.served().closes, 1);
}

/// A subscription past its EOSE, with this behaviour.
async fn subscribed(live: Live) -> (RelayHandle, Client) {
    let (relay, mut client) = well_behaved().await;
    relay.update(|options| options.live = live);
    assert_eq!(client.ask(json!({"limit": 0})).await, (vec![], eose()));
    (relay, client)
}

#[tokio::test]
async fn live_events_can_be_lost() {
    let (relay, mut client) = subscribed(Live { lose_every: Some(3), ..Live::default() }).await;
    for event in notes(7) {
        relay.add(&event);
    }
    for at in [1, 2, 4, 5, 7] {
        assert_eq!(client.json().await[2]["created_at"], at);
    }
    assert!(client.is_silent().await);
    let (relay, mut client) = subscribed(Live { lose_every: Some(1), ..Live::default() }).await;
    relay.add(&notes(1)[0]);
    assert!(client.is_silent().await);
}

#[tokio::test]
async fn live_events_can_come_late_but_not_one_after_the_other() {
    let delay = Duration::from_millis(400);
    let (relay, mut client) = subscribed(Live { delay, ..Live::default() }).await;
    let added = Instant::now();
    for event in notes(20) {
        relay.add(&event);
    }
    for _ in 0..20 {
        client.json().await;
    }
    assert!(added.elapsed() >= delay && added.elapsed() < delay * 10, "{:?}", added.elapsed());
}

#[tokio::test]
async fn subscriptions_can_be_ended_after_some_events_or_some_time() {
    let end = LiveEnd { after_events: Some(2), after: None, text: "error: enough".into() };
    let (relay, mut client) = subscribed(Live { end: Some(end), ..Live::default() }).await;
    for event in notes(3) {
        relay.add(&event);
    }
    assert_eq!([client.json().await[2]["created_at"].take(), client.json().await[2]["created_at"].take()], [1, 2]);
    assert_eq!(client.json().await, json!(["CLOSED", "s", "error: enough"]));
    assert!(client.is_silent().await);
    let end = LiveEnd { after_events: None, after: Some(Duration::from_millis(300)), text: "".into() };
    let asked = Instant::now();
    let (_relay, mut client) = subscribed(Live { end: Some(end), ..Live::default() }).await;
    assert_eq!(client.json().await, json!(["CLOSED", "s", ""]));
    assert!(asked.elapsed() >= Duration::from_millis(300));
}
