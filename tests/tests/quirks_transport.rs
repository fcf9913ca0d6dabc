//! Odd relays, with the real synchronizer: what they let through is archived, and what they do not is shown with a reason.
//! The table of quirks is in `quirks.rs`.

use std::time::Duration;

use bigbrotr_tests::{
    Cluster, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, generate,
    relay::{
        Accepts, Deep, DeepFault, Eose, Extra, LimitZero, Link, MissingLimit, NegFault, NegOff, NegOn, Negentropy,
    },
    truth::{archive_options, archived, enrol, expected, forged, holes, times, wait_until_archived},
};
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(90);

async fn start() -> (Cluster, Client) {
    let cluster = Cluster::start(archive_options(&[
        ("bigbrotr.request_timeout", "2s"),
        ("bigbrotr.idle_timeout", "2s"),
        ("bigbrotr.connect_timeout", "2s"),
    ]));
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    (cluster, client)
}

fn relay(seed: u64, n: usize, options: RelayOptions) -> RelayHandle {
    let now = generate::now();
    let spec = Spec { authors: 20, created_at: now - 30 * 86_400..now - 100, ..Spec::default() };
    Relay::start(RelayOptions { events: Store::new(Generator::new(seed).corpus(n, &spec)), ..options })
}

/// Waits until all of these relays are archived and known complete.
async fn complete(cluster: &Cluster, client: &Client, relays: &[RelayHandle]) {
    wait_until_archived(cluster, client, &expected(relays), DEADLINE).await;
    let complete = format!(
        "SELECT count(*) FILTER (WHERE isempty(gap)) = {} FROM bigbrotr.coverage_gap g JOIN bigbrotr.relay_sync s \
         ON s.relay_id = (SELECT id FROM bigbrotr.relay WHERE url = relay_url) WHERE s.last_error IS NULL",
        relays.len()
    );
    cluster.wait_for(client, &complete, DEADLINE, "complete coverage").await;
}

fn capped() -> RelayOptions {
    RelayOptions { cap: Some(60), ..RelayOptions::default() }
}

#[tokio::test]
async fn picky_relays_are_asked_what_they_answer() {
    let accepts = |accepts| RelayOptions { accepts, ..capped() };
    let relays = [
        relay(1, 200, accepts(Accepts { limit_zero: LimitZero::Refused, ..Accepts::default() })),
        relay(2, 200, accepts(Accepts { limit_zero: LimitZero::Ignored, ..Accepts::default() })),
        relay(3, 200, accepts(Accepts { missing_limit: MissingLimit::Empty, ..Accepts::default() })),
        relay(4, 200, accepts(Accepts { missing_limit: MissingLimit::Silent, ..Accepts::default() })),
        relay(5, 200, accepts(Accepts { only_with_condition: true, ..Accepts::default() })),
        relay(6, 200, accepts(Accepts { list: Some(20), filters: Some(1), ..Accepts::default() })),
    ];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    complete(&cluster, &client, &relays).await;
}

#[tokio::test]
async fn a_limit_above_what_the_relay_takes_is_asked_again_with_less() {
    let relays =
        [relay(7, 200, RelayOptions { accepts: Accepts { limit: Some(100), ..Accepts::default() }, ..capped() })];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    let holes = || async { holes(&client, &expected(&relays), &times(&relays)).await };
    let settled =
        "SELECT count(*) = 1 FROM bigbrotr.relay_sync WHERE last_error IS NOT NULL OR last_synced_at IS NOT NULL";
    cluster.wait_for(&client, settled, DEADLINE, "a verdict").await;
    assert!(holes().await.iter().all(|hole| hole.is_admitted()));
}

#[tokio::test]
async fn ends_of_answers_may_be_odd() {
    let relays = [
        relay(11, 200, RelayOptions { eose: Eose::Twice, ..capped() }),
        relay(12, 200, RelayOptions { eose: Eose::ThenClosed("error: no live events here".into()), ..capped() }),
        relay(13, 200, RelayOptions { extra: Extra { doubles: true, ..Extra::default() }, ..capped() }),
        relay(14, 200, RelayOptions { eose: Eose::Hint, ..capped() }),
    ];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    complete(&cluster, &client, &relays).await;
}

#[tokio::test]
async fn a_missing_eose_is_a_timeout_and_never_complete() {
    let relays = [relay(15, 200, RelayOptions { eose: Eose::Never, ..capped() })];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    let seen = "SELECT count(*) > 0 FROM bigbrotr.coverage WHERE state = 'timeout'";
    cluster.wait_for(&client, seen, DEADLINE, "the word timeout").await;
    let claimed = "SELECT count(*) = 0 FROM bigbrotr.coverage WHERE state = 'complete'";
    assert!(client.query_one(claimed, &[]).await.expect("a row").get::<_, bool>(0));
    assert!(!archived(&client).await.is_empty(), "what came is kept all the same");
}

#[tokio::test]
async fn trouble_in_the_deep_is_shown_and_passes() {
    let age = 10 * 86_400;
    let deep = |fault| RelayOptions { deep: Some(Deep { age, unbounded_only: false, fault }), ..capped() };
    let relays = [
        relay(21, 300, deep(DeepFault::Silent)),
        relay(22, 300, deep(DeepFault::Closed("error: too old".into()))),
        relay(23, 300, deep(DeepFault::Slow(Duration::from_millis(300)))),
    ];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    let verdict =
        "SELECT count(*) = 3 FROM bigbrotr.relay_sync WHERE last_error IS NOT NULL OR last_synced_at IS NOT NULL";
    cluster.wait_for(&client, verdict, DEADLINE, "a verdict on each").await;
    let (expected, times) = (expected(&relays), times(&relays));
    let holes = holes(&client, &expected, &times).await;
    assert!(!holes.is_empty());
    assert!(holes.iter().all(|hole| hole.is_admitted()), "{holes:?}");
    let old = generate::now() - i64::from(age as i32);
    assert!(holes.iter().all(|hole| hole.created_at < old + 86_400), "what is not deep is there: {holes:?}");
    for relay in &relays {
        relay.update(|options| options.deep = None);
    }
    let again = "UPDATE bigbrotr.relay_sync SET next_attempt_at = now(), learned = learned - 'retry_open_at'";
    client.batch_execute(again).await.expect("put forward");
    complete(&cluster, &client, &relays).await;
}

#[tokio::test]
async fn what_a_relay_drops_stays_in_the_archive() {
    let relays = [relay(24, 300, capped())];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    complete(&cluster, &client, &relays).await;
    let before = archived(&client).await;
    relays[0].update(|options| options.retention = Some(86_400));
    relays[0].add(&Generator::new(1).event(1, generate::now(), &[], "after the others have gone"));
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    assert!(archived(&client).await.is_superset(&before));
}

#[tokio::test]
async fn poor_connections_lose_nothing() {
    let link = |link| RelayOptions { link, ..capped() };
    let relays = [
        relay(31, 300, link(Link { lifetime: Some(Duration::from_millis(300)), ..Link::default() })),
        relay(32, 300, link(Link { idle: Some(Duration::from_millis(500)), ..Link::default() })),
        relay(33, 300, link(Link { mute_pongs: true, ..Link::default() })),
        relay(34, 300, link(Link { max_connections: Some(1), ..Link::default() })),
        relay(35, 300, link(Link { fragment: Some(50), ..Link::default() })),
    ];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
}

#[tokio::test]
async fn a_connection_that_freezes_is_given_up_and_tried_again() {
    let link = Link { freeze: Some(Duration::ZERO), ..Link::default() };
    let relays = [relay(36, 300, RelayOptions { link, ..capped() })];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    let said = "SELECT last_error IS NOT NULL FROM bigbrotr.relay_sync";
    cluster.wait_for(&client, said, DEADLINE, "why nothing comes").await;
    relays[0].update(|options| options.link = Link::default());
    client.batch_execute("UPDATE bigbrotr.relay_sync SET next_attempt_at = now()").await.expect("put forward");
    complete(&cluster, &client, &relays).await;
}

#[tokio::test]
async fn bombs_and_nonsense_are_passed_over() {
    let extra = |text: Vec<String>| RelayOptions { extra: Extra { text, ..Extra::default() }, ..capped() };
    let nested = format!(r#"["EVENT","x",{}{}]"#, r#"{"a":"#.repeat(50_000), "}".repeat(50_000));
    let relays = [
        relay(41, 200, extra(vec!["[".repeat(1_000_000), nested, "{}".into(), "[]".into(), "[[]]".into()])),
        relay(42, 200, extra(vec![format!(r#"["NOTICE","{}"]"#, "n".repeat(2_000_000)), r#"["NOTICE"]"#.into()])),
        relay(43, 200, extra(vec![format!(r#"["AUTH","{}"]"#, "c".repeat(2_000_000)), r#"["AUTH",5]"#.into()])),
        relay(44, 200, extra(vec![r#"["OK","x",true,""]"#.into(), r#"["COUNT","x",{"count":-1}]"#.into()])),
        relay(45, 200, extra(vec![r#"["NEG-MSG","x","61"]"#.into(), r#"["NEG-ERR"]"#.into(), r#"["EOSE",7]"#.into()])),
    ];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    assert_eq!(forged(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn relays_that_imitate_or_abuse_negentropy_are_archived_all_the_same() {
    let off = |off| RelayOptions { negentropy: Negentropy::Off(off), ..capped() };
    let on = |on| RelayOptions { negentropy: Negentropy::On(on), ..capped() };
    let fault = |fault| on(NegOn { fault: Some(fault), ..NegOn::default() });
    let relays = [
        relay(51, 150, off(NegOff::Silent)),
        relay(52, 150, off(NegOff::NegErr("error: unsupported".into()))),
        relay(53, 150, off(NegOff::Closed("unsupported: no".into()))),
        relay(54, 150, on(NegOn { max_records: Some(10), tell_max: true, ..NegOn::default() })),
        relay(55, 150, on(NegOn { max_records: Some(10), ..NegOn::default() })),
        relay(56, 150, on(NegOn { frame_limit: 4_096, phantoms: vec![(5, [3; 32])], ..NegOn::default() })),
        relay(57, 150, fault(NegFault::Garbage("zz".into()))),
        relay(58, 150, fault(NegFault::Endless)),
        relay(59, 150, fault(NegFault::Flood(20_000))),
        relay(60, 150, fault(NegFault::SilentFrom(2))),
        relay(61, 150, fault(NegFault::ErrAt(1, "error: busy".into()))),
        relay(62, 150, fault(NegFault::OtherVersion)),
        relay(63, 150, fault(NegFault::ForeignSub)),
    ];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    let messages: u64 = relays.iter().map(|relay| relay.served().neg_messages).sum();
    assert!(messages < 2_000, "{messages} rounds with 13 relays of 150 events");
    assert_eq!(forged(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn withheld_bodies_hold_up_nothing() {
    let options = RelayOptions { withheld_kinds: vec![4, 1059], negentropy: Negentropy::on(), ..capped() };
    let relays = [
        relay(71, 300, options.clone()),
        relay(72, 300, RelayOptions { withheld_text: Some("restricted: not for you".into()), ..options }),
    ];
    let (cluster, client) = start().await;
    enrol(&client, &relays).await;
    assert!(expected(&relays).len() < relays.iter().map(|relay| relay.held().len()).sum());
    complete(&cluster, &client, &relays).await;
}
