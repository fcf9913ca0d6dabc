//! NIP-42.

use super::*;

fn auth_event(generator: &mut Generator, relay: &str, challenge: &str, at: i64) -> Value {
    let tags = [vec!["relay".to_owned(), relay.to_owned()], vec!["challenge".to_owned(), challenge.to_owned()]];
    serde_json::from_str(&generator.event(22242, at, &tags, "")).expect("JSON")
}

#[tokio::test]
async fn auth_must_be_right_before_anything_is_served() {
    let relay = relay(RelayOptions { auth: Auth::Required, ..Default::default() });
    let mut client = Client::connect(&relay).await;
    let challenge = client.json().await;
    assert_eq!(challenge[0], "AUTH");
    let challenge = challenge[1].as_str().expect("text").to_owned();
    let (_, end) = client.ask(json!({})).await;
    assert!(end[0] == "CLOSED" && end[2].as_str().is_some_and(|text| text.starts_with("auth-required:")), "{end}");

    let mut generator = Generator::new(6);
    let mut tampered = auth_event(&mut generator, &relay.url(), &challenge, now());
    tampered["content"] = json!("tampered");
    for wrong in [
        tampered,
        auth_event(&mut generator, &relay.url(), "other", now()),
        auth_event(&mut generator, "ws://127.0.0.1:1", &challenge, now()),
        auth_event(&mut generator, &relay.url(), &challenge, now() - 3_600),
    ] {
        client.send(json!(["AUTH", wrong])).await;
        let ok = client.json().await;
        assert!(ok[0] == "OK" && ok[2] == false, "{wrong} gives {ok}");
    }
    assert_eq!(client.ask(json!({})).await.1[0], "CLOSED");

    let right = auth_event(&mut generator, &format!("{}/", relay.url()), &challenge, now());
    client.send(json!(["AUTH", right])).await;
    assert_eq!(client.json().await, json!(["OK", right["id"], true, ""]));
    assert_eq!(client.ask(json!({})).await.0.len(), 10);
    assert_eq!(relay.served().auths, 1);
    // Another connection has not authenticated, and a challenge is good for its own only.
    let mut other = Client::connect(&relay).await;
    assert_ne!(other.json().await[1], challenge);
    assert_eq!(other.ask(json!({})).await.1[0], "CLOSED");
}

#[tokio::test]
async fn auth_can_be_silent_or_in_vain() {
    let relay = relay(RelayOptions { auth: Auth::Silent, ..Default::default() });
    let mut client = Client::connect(&relay).await;
    let challenge = client.json().await[1].as_str().expect("text").to_owned();
    client.send(json!(["REQ", "s", {}])).await;
    assert!(client.is_silent().await);
    relay.update(|options| options.auth = Auth::Restricted);
    client.send(json!(["AUTH", auth_event(&mut Generator::new(6), &relay.url(), &challenge, now())])).await;
    assert_eq!(client.json().await[2], true);
    let (_, end) = client.ask(json!({})).await;
    assert!(end[2].as_str().is_some_and(|text| text.starts_with("restricted:")), "{end}");
}

/// A client of a relay that wants AUTH, and the challenges that came within a moment.
async fn challenged(auth: Auth, challenge: Challenge) -> (RelayHandle, Client, Vec<String>) {
    let relay = relay(RelayOptions { auth, challenge, ..Default::default() });
    let mut client = Client::connect(&relay).await;
    let mut challenges = Vec::new();
    while let Ok(Some(Ok(message))) = timeout(SILENCE, client.0.next()).await {
        let message: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
        assert_eq!(message[0], "AUTH");
        challenges.push(message[1].as_str().expect("text").to_owned());
    }
    (relay, client, challenges)
}

/// The relay's word on an AUTH with this challenge.
async fn answer(client: &mut Client, relay: &RelayHandle, challenge: &str) {
    let event = auth_event(&mut Generator::new(6), &relay.url(), challenge, now());
    client.send(json!(["AUTH", event])).await;
}

#[tokio::test]
async fn the_last_of_several_challenges_counts() {
    let (relay, mut client, challenges) = challenged(Auth::Required, Challenge::Several(3)).await;
    assert_eq!(challenges.len(), 3);
    answer(&mut client, &relay, &challenges[0]).await;
    assert_eq!(client.json().await[2], false);
    answer(&mut client, &relay, &challenges[2]).await;
    assert_eq!(client.json().await[2], true);
}

#[tokio::test]
async fn a_challenge_can_be_long_or_wait_for_a_refusal_or_never_come() {
    let (relay, mut client, challenges) = challenged(Auth::Required, Challenge::Oversize(100_000)).await;
    assert_eq!(challenges[0].len(), 100_000);
    answer(&mut client, &relay, &challenges[0]).await;
    assert_eq!(client.json().await[2], true);

    let (relay, mut client, challenges) = challenged(Auth::Required, Challenge::OnRefusal).await;
    assert!(challenges.is_empty());
    client.send(json!(["REQ", "s", {}])).await;
    let challenge = client.json().await;
    assert_eq!((&challenge[0], &client.json().await[0]), (&json!("AUTH"), &json!("CLOSED")));
    assert_eq!(client.ask(json!({})).await.1[0], "CLOSED", "and no second challenge");
    answer(&mut client, &relay, challenge[1].as_str().expect("text")).await;
    assert_eq!(client.json().await[2], true);
    assert_eq!(client.ask(json!({})).await.0.len(), 10);

    let (relay, mut client, _) = challenged(Auth::Silent, Challenge::Renewed).await;
    client.send(json!(["REQ", "s", {}])).await;
    let first = client.json().await;
    client.send(json!(["REQ", "s", {}])).await;
    let second = client.json().await;
    assert!(first[0] == "AUTH" && second[0] == "AUTH" && first != second);
    answer(&mut client, &relay, second[1].as_str().expect("text")).await;
    assert_eq!(client.json().await[2], true);

    let (_relay, mut client, challenges) = challenged(Auth::Required, Challenge::Never).await;
    assert!(challenges.is_empty());
    assert_eq!(client.ask(json!({})).await.1[0], "CLOSED");
}

#[tokio::test]
async fn auth_can_be_wanted_before_anything_else() {
    let (relay, mut client, challenges) = challenged(Auth::First, Challenge::AtConnect).await;
    answer(&mut client, &relay, &challenges[0]).await;
    assert_eq!(client.json().await[2], true);
    assert_eq!(client.ask(json!({})).await.0.len(), 10);
    let (_relay, mut client, _) = challenged(Auth::First, Challenge::AtConnect).await;
    client.send(json!(["REQ", "s", {}])).await;
    assert_eq!(client.json().await[0], "NOTICE");
    assert!(client.message().await.is_none());
}

#[tokio::test]
async fn auth_can_be_rejected_or_accepted_without_a_word() {
    let (relay, mut client, challenges) = challenged(Auth::Rejected, Challenge::AtConnect).await;
    answer(&mut client, &relay, &challenges[0]).await;
    assert_eq!(client.json().await[2], false);
    assert_eq!(client.ask(json!({})).await.1[0], "CLOSED");
    let (relay, mut client, challenges) = challenged(Auth::Unconfirmed, Challenge::AtConnect).await;
    answer(&mut client, &relay, &challenges[0]).await;
    assert!(client.is_silent().await);
    assert_eq!(client.ask(json!({})).await.0.len(), 10);
}
