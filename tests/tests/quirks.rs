//! Relays that break the protocol, with the real synchronizer: every valid event is archived, or its second is shown as
//! not complete; nothing invalid enters; nobody is held up.
//!
//! Which test covers which quirk (C: of events, Q: of relays), beside the soak test, which plays nearly all at once. A test
//! without a file is in this one.
//!
//! | quirk | test |
//! |---|---|
//! | C1, C2, C4, C6, C9, C11, C15, C17: odd but valid events | `quirks_content`: `odd_but_valid_events_come_out_as_they_went_in` |
//! | C3, C5–C8, C10–C13, C16: invalid events | `quirks_content`: `invalid_events_stop_nothing_and_are_kept_apart_with_a_reason` |
//! | C8, C12: escapes, order of members, double members, upper-case hex | `quirks_content`: `one_event_in_many_dialects_is_one_event` |
//! | C13, C14: other signatures | `quirks_content`: `a_second_valid_signature_is_the_same_event_and_a_foreign_one_is_none` |
//! | C17: ephemeral events | `quirks_content`: `ephemeral_and_auth_events_are_not_stored_and_leave_no_gap` |
//! | Q1: caps | `archive`: `everything_of_well_behaved_relays_is_archived_and_known_complete`; `quirks_transport`: `a_limit_above_what_the_relay_takes_is_asked_again_with_less` |
//! | Q2: limits ignored or required | `archive`: `misbehaving_relays_lose_nothing`; `quirks_transport`: `picky_relays_are_asked_what_they_answer` |
//! | Q3, Q4: bounds and order | `archive`: `misbehaving_relays_lose_nothing`; `odd_answers_lose_nothing` |
//! | Q5: too many in a second | `a_burst_above_the_cap_is_shown_as_not_complete` |
//! | Q6: deep windows | `quirks_transport`: `trouble_in_the_deep_is_shown_and_passes` |
//! | Q7: retention | `quirks_transport`: `what_a_relay_drops_stays_in_the_archive` |
//! | Q8: EOSE | `quirks_transport`: `a_missing_eose_is_a_timeout_and_never_complete`, `ends_of_answers_may_be_odd` |
//! | Q9, Q10: refusals | `odd_answers_lose_nothing`, `silent_endless_and_hostile_relays_hold_up_nobody` |
//! | Q11, Q12: foreign, late and double events | `odd_answers_lose_nothing`; `quirks_transport`: `ends_of_answers_may_be_odd` |
//! | Q13: few subscriptions | `odd_answers_lose_nothing` |
//! | Q14: dying connections | `quirks_transport`: `poor_connections_lose_nothing`, `a_connection_that_freezes_is_given_up_and_tried_again` |
//! | Q15, Q16: new and future events | `archive`: `a_second_pass_fetches_only_what_is_new`; `quirks_content`: `odd_but_valid_events_come_out_as_they_went_in` |
//! | Q17: negentropy | `quirks_transport`: `relays_that_imitate_or_abuse_negentropy_are_archived_all_the_same` |
//! | Q18: withheld bodies | `quirks_transport`: `withheld_bodies_hold_up_nothing` |
//! | Q19: bombs | `quirks_transport`: `bombs_and_nonsense_are_passed_over`; `silent_endless_and_hostile_relays_hold_up_nobody` |
//! | Q20: no relay at all | `silent_endless_and_hostile_relays_hold_up_nobody`; `health` |
//! | Q22: empty relays | `odd_answers_lose_nothing` |
//! | Q23: write probes | `health` |
//!
//! Relays by other people are in `interop`.

use std::collections::BTreeSet;
use std::time::Duration;

use bigbrotr_tests::relay::{Disconnect, Document, Endless, Eose, Extra, Mode, Order, Refusal};
use bigbrotr_tests::truth::{Pair, archive_options, archived, expected, wait_until_archived};
use bigbrotr_tests::{Cluster, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, generate};
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(120);

async fn start(more: &[(&str, &str)]) -> (Cluster, Client) {
    let mut options = archive_options(&[
        ("bigbrotr.request_timeout", "2s"),
        ("bigbrotr.idle_timeout", "2s"),
        ("bigbrotr.connect_timeout", "2s"),
    ]);
    for (name, value) in more {
        options = options.with(name, value);
    }
    let cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    (cluster, client)
}

async fn enrol(client: &Client, relays: &[&RelayHandle]) {
    for relay in relays {
        client
            .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&relay.url()])
            .await
            .expect("enrolled");
    }
}

fn events(seed: u64, n: usize) -> Store {
    let now = generate::now();
    Store::new(
        Generator::new(seed)
            .corpus(n, &Spec { authors: 20, created_at: now - 30 * 86_400..now - 100, ..Spec::default() }),
    )
}

fn relay(seed: u64, n: usize, options: RelayOptions) -> RelayHandle {
    Relay::start(RelayOptions { events: events(seed, n), ..options })
}

/// Pairs that are neither archived nor in a second that is known not to be complete.
async fn lost(client: &Client, expected: &BTreeSet<Pair>, relays: &[&RelayHandle]) -> Vec<Pair> {
    let archived = archived(client).await;
    let mut lost = Vec::new();
    for pair in expected.difference(&archived) {
        let held = relays.iter().flat_map(|relay| relay.held_events());
        let mut held = held.filter_map(|json| serde_json::from_str::<serde_json::Value>(&json).ok());
        let event = held.find(|event| event["id"] == pair.0.as_str()).expect("held");
        let sql = "SELECT EXISTS (SELECT FROM bigbrotr.coverage c JOIN bigbrotr.relay r ON r.id = c.relay_id \
                   WHERE r.url = $1 AND c.state = 'complete' AND c.ranges @> $2::bigint)";
        let created_at = event["created_at"].as_i64().expect("a number");
        if client.query_one(sql, &[&pair.1, &created_at]).await.expect("a row").get(0) {
            lost.push(pair.clone());
        }
    }
    lost
}

#[tokio::test]
async fn odd_answers_lose_nothing() {
    let normal = RelayOptions::default;
    let foreign = Generator::new(70).event(1, generate::now() - 900, &[], "sent to a subscription nobody has");
    let relays = [
        relay(1, 300, RelayOptions { cap: Some(60), order: Order::Random { seed: 5 }, ..normal() }),
        relay(2, 300, RelayOptions { cap: Some(60), order: Order::Ascending, ..normal() }),
        relay(
            3,
            300,
            RelayOptions {
                cap: Some(60),
                disconnect: Disconnect { after_events: Some(40), ..Disconnect::default() },
                ..normal()
            },
        ),
        relay(
            4,
            300,
            RelayOptions {
                cap: Some(60),
                disconnect: Disconnect { probability: 0.005, seed: 3, ..Disconnect::default() },
                ..normal()
            },
        ),
        relay(
            5,
            300,
            RelayOptions {
                cap: Some(60),
                refuse: Some(Refusal { every: 4, text: "error: busy".into(), notice: true }),
                ..normal()
            },
        ),
        relay(6, 300, RelayOptions { cap: Some(60), max_subscriptions: Some(1), ..normal() }),
        relay(
            7,
            300,
            RelayOptions {
                cap: Some(60),
                extra: Extra {
                    foreign_sub: vec![foreign.as_str().into()],
                    after_eose: vec![foreign.as_str().into()],
                    text: vec![
                        "garbage".into(),
                        "[".repeat(10_000),
                        r#"["EOSE"]"#.into(),
                        r#"["EVENT","x",{}]"#.into(),
                    ],
                    raw_text: vec![],
                    binary: vec![vec![0, 159, 146, 150]],
                    ..Extra::default()
                },
                ..normal()
            },
        ),
        relay(8, 120, RelayOptions { event_latency: Duration::from_millis(20), ..normal() }),
        relay(9, 0, normal()),
        relay(10, 1, normal()),
        relay(11, 12, normal()),
    ];
    let handles: Vec<&RelayHandle> = relays.iter().collect();
    let (cluster, client) = start(&[]).await;
    enrol(&client, &handles).await;
    let mut expected = expected(handles.iter().copied());
    // A valid event counts wherever it came.
    let id: serde_json::Value = serde_json::from_str(&foreign).expect("json");
    expected.insert((id["id"].as_str().expect("hex").to_owned(), relays[6].url()));
    wait_until_archived(&cluster, &client, &expected, DEADLINE).await;
    let tiny = "SELECT count(*) = 3 FROM bigbrotr.relay r JOIN bigbrotr.coverage_gap g ON g.relay_url = r.url \
                WHERE r.id > (SELECT max(id) - 3 FROM bigbrotr.relay) AND isempty(g.gap)";
    cluster.wait_for(&client, tiny, DEADLINE, "tiny relays to be complete").await;
}

#[tokio::test]
async fn a_burst_above_the_cap_is_shown_as_not_complete() {
    let now = generate::now();
    let mut generator = Generator::new(77);
    let mut corpus =
        generator.corpus(200, &Spec { authors: 20, created_at: now - 30 * 86_400..now - 100, ..Spec::default() });
    let burst = now - 5000;
    corpus.extend((0..300).map(|n| generator.event(1, burst, &[], &format!("burst {n}")).into()));
    let relay = Relay::start(RelayOptions { events: Store::new(corpus), cap: Some(100), ..RelayOptions::default() });
    let (cluster, client) = start(&[]).await;
    enrol(&client, &[&relay]).await;
    let expected = expected([&relay]);
    let settled = format!(
        "SELECT bool_or(state = 'capped' AND ranges @> {burst}::bigint) AND NOT bool_or(state = 'complete' AND ranges @> {burst}::bigint) \
         AND (SELECT last_synced_at IS NOT NULL FROM bigbrotr.relay_sync) FROM bigbrotr.coverage"
    );
    cluster.wait_for(&client, &settled, DEADLINE, "the burst to be marked").await;
    assert_eq!(lost(&client, &expected, &[&relay]).await, Vec::new());
    let outside = archived(&client).await.len();
    assert!(outside >= 300, "only {outside} pairs: what is around the burst must be there");
}

#[tokio::test]
async fn silent_endless_and_hostile_relays_hold_up_nobody() {
    let normal = RelayOptions::default;
    let hostile = [
        relay(20, 50, RelayOptions { mode: Mode::Silent, ..normal() }),
        relay(21, 50, RelayOptions { mode: Mode::SilentTcp, ..normal() }),
        relay(22, 50, RelayOptions { mode: Mode::Echo, ..normal() }),
        relay(23, 50, RelayOptions { mode: Mode::Http(Document::html(200, "<html>no relay</html>")), ..normal() }),
        relay(24, 50, RelayOptions { extra: Extra { endless: Some(Endless::Fresh), ..Extra::default() }, ..normal() }),
        relay(25, 50, RelayOptions { extra: Extra { endless: Some(Endless::Repeat), ..Extra::default() }, ..normal() }),
        relay(26, 50, RelayOptions { extra: Extra { huge: Some(20 << 20), ..Extra::default() }, ..normal() }),
        relay(
            27,
            50,
            RelayOptions {
                refuse: Some(Refusal { every: 1, text: "blocked: go away".into(), notice: false }),
                ..normal()
            },
        ),
        relay(
            28,
            50,
            RelayOptions {
                refuse: Some(Refusal { every: 1, text: "rate-limited: slow down".into(), notice: true }),
                ..normal()
            },
        ),
        relay(29, 50, RelayOptions { ignore_since_until: true, cap: Some(20), ..normal() }),
        relay(30, 50, RelayOptions { eose: Eose::Never, ..normal() }),
        relay(
            31,
            50,
            RelayOptions { disconnect: Disconnect { at_connect: true, ..Disconnect::default() }, ..normal() },
        ),
    ];
    let good = [relay(40, 400, normal()), relay(41, 400, RelayOptions { cap: Some(100), ..normal() })];
    let all: Vec<&RelayHandle> = hostile.iter().chain(&good).collect();
    let (cluster, client) = start(&[("bigbrotr.synchronizer_concurrency", "4")]).await;
    enrol(&client, &all).await;
    let of_good = expected(&good);
    let urls: Vec<String> = good.iter().map(RelayHandle::url).collect();
    let done = format!(
        "SELECT count(*) = {} FROM bigbrotr.event_relay WHERE relay_url IN ('{}')",
        of_good.len(),
        urls.join("', '")
    );
    cluster.wait_for(&client, &done, DEADLINE, "the good relays").await;
    let said = "SELECT count(*) = 0 FROM bigbrotr.relay_sync WHERE last_error IS NULL AND last_synced_at IS NULL";
    cluster.wait_for(&client, said, DEADLINE, "a verdict on every relay").await;
    assert_eq!(lost(&client, &expected(all.iter().copied()), &all).await, Vec::new());
    let forged: i64 = client
        .query_one(
            "SELECT count(*) FROM bigbrotr.event AS e WHERE NOT bigbrotr.event_verify(bigbrotr.event_json(e))",
            &[],
        )
        .await
        .expect("a row")
        .get(0);
    assert_eq!(forged, 0);
    assert!(cluster.is_running() && !cluster.log().contains("terminated by signal"), "{}", cluster.log());
}
