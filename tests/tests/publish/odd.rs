//! Relays that take events in their own way, or not at all. None of them is in the way of the others.

use std::time::Duration;

use bigbrotr_tests::relay::{Auth, Challenge, Disconnect, Link, Mode, Write};
use bigbrotr_tests::{Relay, RelayHandle, RelayOptions};

use bigbrotr_tests::publishing::{World, taken};

fn relay(change: impl FnOnce(&mut RelayOptions)) -> RelayHandle {
    let mut options = RelayOptions::default();
    change(&mut options);
    Relay::start(options)
}

fn refusing(text: &str) -> RelayHandle {
    relay(|options| options.write = Write::Refuse(text.to_owned()))
}

fn of(relay: &RelayHandle) -> String {
    format!("FROM bigbrotr.publish_status WHERE url = '{}'", relay.url())
}

#[tokio::test]
async fn a_bad_relay_is_recorded_and_delays_nobody() {
    let watched = Relay::start(RelayOptions::default());
    let good = Relay::start(RelayOptions::default());
    let gone = Relay::start(RelayOptions::default());
    gone.stop();
    let refused = [
        (refusing("blocked: go away"), "blocked: go away"),
        (refusing("restricted: members only"), "restricted: members only"),
        (refusing("invalid: kind"), "invalid: kind"),
        (refusing("pow: difficulty 0 is less than 30"), "pow: difficulty 0 is less than 30"),
        (relay(|options| options.auth = Auth::Required), "auth-required: only for authenticated clients"),
    ];
    let broken = [
        (gone, "TCP: %"),
        (relay(|options| options.mode = Mode::SilentTcp), "timeout %"),
        (relay(|options| options.mode = Mode::Silent), "no answer to an event within 2000 ms"),
        (relay(|options| options.write = Write::Silent), "no answer to an event within 2000 ms"),
        (relay(|options| options.mode = Mode::Echo), "no answer to an event within 2000 ms"),
        (
            relay(|options| options.disconnect = Disconnect { at_connect: true, ..Disconnect::default() }),
            "%connection lost%",
        ),
        (
            relay(|options| options.link = Link { freeze: Some(Duration::ZERO), ..Link::default() }),
            "no answer to an event within 2000 ms",
        ),
    ];
    let mut world = World::new(&[("bigbrotr.monitor_interval", "1")]).await;
    for n in 0..20 {
        world.well(&format!("wss://relay-{n}.com"), "{}").await;
    }
    let insert = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')";
    world.client.execute(insert, &[&watched.url()]).await.expect("a relay");
    let all: Vec<_> =
        refused.iter().map(|(relay, _)| relay).chain(broken.iter().map(|(relay, _)| relay)).chain([&good]).collect();
    world.publish_to(&all, &[("bigbrotr.publish_interval", "3600")]).await;
    world.wait(&format!("SELECT accepted = 24 {}", of(&good)), "the good relay to have everything").await;
    for (relay, message) in &refused {
        let sql = format!("SELECT refused > 0 AND accepted = 0 AND last_refusal = '{message}' {}", of(relay));
        world.wait(&sql, message).await;
    }
    for (relay, error) in &broken {
        let sql = format!("SELECT failures > 0 AND accepted + refused = 0 AND last_error LIKE '{error}' {}", of(relay));
        world.wait(&sql, error).await;
    }
    let refusing = &refused[0].0;
    world.wait(&format!("SELECT next_attempt_at > now() + interval '3 minutes' {}", of(refusing)), "a pause").await;
    // What was refused is not sent again, and who refuses everything is left alone.
    assert!(refusing.served().publishes <= 24, "{}", refusing.served().publishes);
    assert_eq!(refused[4].0.served().auths, 0, "nobody allowed us to say who we are");
    world
        .wait(
            "SELECT count(*) > 5 FROM bigbrotr.relay_check WHERE ok AND checked_at > now() - interval '15 s'",
            "checks go on",
        )
        .await;
}

#[tokio::test]
async fn a_relay_that_is_back_gets_what_is_newest() {
    let target = Relay::start(RelayOptions::default());
    let port = target.address().port();
    let mut world = World::new(&[]).await;
    let id = world.well("wss://relay-a.com", "{}").await;
    target.stop();
    world.publish_to(&[&target], &[]).await;
    world.wait("SELECT failures > 1 AND pending = 4 FROM bigbrotr.publish_status", "it to be missed").await;
    world.document(id, "nip11_info", r#"{"name":"new"}"#).await;
    world.check(id, true).await;
    world.wait("SELECT event LIKE '%new%' FROM bigbrotr.publication WHERE kind = 30166", "the newer report").await;
    let target = Relay::start(RelayOptions { port, ..RelayOptions::default() });
    world.wait("SELECT accepted = 4 FROM bigbrotr.publish_status", "everything to be there").await;
    assert_eq!(taken(&target, 30166).len(), 1);
    // And when the connection breaks, the next report comes over a new one.
    target.kill_connections();
    world.document(id, "nip11_info", r#"{"name":"newer"}"#).await;
    world.check(id, true).await;
    world.until("the next report", || taken(&target, 30166).len() == 2).await;
}

#[tokio::test]
async fn rate_limits_are_waited_out() {
    let target = refusing("rate-limited: slow down");
    let mut world = World::new(&[]).await;
    for n in 0..10 {
        world.well(&format!("wss://relay-{n}.com"), "{}").await;
    }
    world.publish_to(&[&target], &[]).await;
    let told =
        "SELECT last_error = 'rate-limited: slow down' AND next_attempt_at > now() AND pending = 13 AND refused = 0
                FROM bigbrotr.publish_status";
    world.wait(told, "the pause").await;
    let sent = target.served().publishes;
    assert!(sent <= 16, "{sent} events to a relay that finds us too fast");
    target.update(|options| options.write = Write::Store);
    world.wait("SELECT accepted = 13 FROM bigbrotr.publish_status", "everything to be taken").await;
    assert_eq!(target.served().websockets, 1);
}

#[tokio::test]
async fn a_relay_that_finds_us_too_fast_and_hangs_up_is_not_connected_to_at_once() {
    let target = refusing("rate-limited: slow down");
    let mut world = World::new(&[]).await;
    world.well("wss://relay-a.com", "{}").await;
    world.publish_to(&[&target], &[]).await;
    world.wait("SELECT last_error = 'rate-limited: slow down' FROM bigbrotr.publish_status", "the pause").await;
    target.kill_connections();
    // It asked for five seconds, give or take a fifth; a connection that merely broke is made anew after one.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(target.served().websockets, 1);
    target.update(|options| options.write = Write::Store);
    world.wait("SELECT accepted = 4 FROM bigbrotr.publish_status", "everything to be taken").await;
    assert_eq!(target.served().websockets, 2);
}

#[tokio::test]
async fn relays_that_ask_who_we_are_are_told_if_the_operator_agrees() {
    let asking = |auth, challenge| {
        relay(move |options| {
            options.auth = auth;
            options.challenge = challenge;
        })
    };
    let good = [
        asking(Auth::Required, Challenge::AtConnect),
        asking(Auth::Required, Challenge::OnRefusal),
        asking(Auth::Required, Challenge::Several(3)),
        asking(Auth::Required, Challenge::Renewed),
        asking(Auth::Silent, Challenge::AtConnect),
        asking(Auth::First, Challenge::AtConnect),
        asking(Auth::Unconfirmed, Challenge::AtConnect),
    ];
    let bad = [
        asking(Auth::Rejected, Challenge::AtConnect),
        asking(Auth::Required, Challenge::Never),
        asking(Auth::Restricted, Challenge::AtConnect),
    ];
    let mut world = World::new(&[("bigbrotr.auth_enabled", "on")]).await;
    world.well("wss://relay-a.com", "{}").await;
    let all: Vec<_> = good.iter().chain(&bad).collect();
    world.publish_to(&all, &[]).await;
    for (n, relay) in good.iter().enumerate() {
        world.wait(&format!("SELECT accepted = 4 {}", of(relay)), &format!("relay {n}")).await;
        assert!(relay.served().auths > 0);
    }
    for (n, relay) in bad.iter().enumerate() {
        world.wait(&format!("SELECT refused = 4 {}", of(relay)), &format!("bad relay {n}")).await;
        assert!(relay.served().publishes < 30, "{n}: {}", relay.served().publishes);
    }
}
