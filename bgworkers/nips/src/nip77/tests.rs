#![allow(clippy::unwrap_used)]
use super::testing::{NegRelay, all, drive};
use super::*;
use crate::nip01::ClosePrefix;
use crate::paging::{End, Id};
use bigbrotr_models::hex;
use bigbrotr_models::ranges::{Range, Ranges};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

pub const HORIZON: i64 = 1_000_000;
const PROBE: Id = [0x5a; 32];

fn id(n: u64) -> Id {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    id[8..16].copy_from_slice(&n.to_be_bytes());
    id
}

fn events(n: u64, every: i64) -> Vec<(i64, Id)> {
    (0..n).map(|i| (1_000 + i as i64 * every, id(i))).collect()
}

fn held(items: &[(i64, Id)]) -> HashMap<Id, i64> {
    items.iter().map(|(at, id)| (*id, *at)).collect()
}

#[test]
fn published_vectors_of_the_first_message_and_of_fingerprints() {
    let mut engine = negentropy::Negentropy::owned(
        {
            let mut empty = negentropy::NegentropyStorageVector::new();
            empty.seal().unwrap();
            empty
        },
        0,
    )
    .unwrap();
    assert_eq!(hex::encode(&engine.initiate().unwrap()), "6100000200");
    let fingerprint = |ids: &[Id]| {
        use negentropy::NegentropyStorageBase;
        let mut held = negentropy::NegentropyStorageVector::new();
        for id in ids {
            held.insert(1, negentropy::Id::from_byte_array(*id)).unwrap();
        }
        held.seal().unwrap();
        hex::encode(&held.fingerprint(0, ids.len()).unwrap().to_bytes())
    };
    let mut one = [0; 32];
    one[31] = 1;
    assert_eq!(fingerprint(&[]), "7f9c9e31ac8256ca2f258583df262dbc");
    assert_eq!(fingerprint(&[one]), "0f31abef92c6818b886c7c870dc537c1");
}

#[test]
fn the_opening_of_40_items_is_16_fingerprints() {
    let mut session = Reconciler::new(events(39, 7), (1_100, PROBE), NegLimits::default()).unwrap();
    let message = session.open().unwrap();
    assert!(message.starts_with("61"));
    // Each range: a bound of at least two bytes, the mode, 16 bytes.
    assert!((16 * 19..16 * 24 + 1).contains(&(message.len() / 2)), "{message}");
    assert_eq!(session.open(), Err(NegError::OutOfTurn));
}

fn session(ours: &[(i64, Id)], limits: NegLimits) -> Reconciler {
    let mut session = Reconciler::new(ours.iter().copied(), (1_000, PROBE), limits).unwrap();
    session.open().unwrap();
    session
}

#[test]
fn what_makes_no_sense_is_a_typed_error() {
    let err = |message: &str| session(&events(5, 1), NegLimits::default()).message(message).unwrap_err();
    assert_eq!(err("6"), NegError::Hex);
    assert_eq!(err("6g"), NegError::Hex);
    assert_eq!(err("61é"), NegError::Hex);
    assert_eq!(err("62"), NegError::Version);
    assert_eq!(err("7b7d"), NegError::Version);
    assert_eq!(err(""), NegError::Malformed);
    assert_eq!(err("6100"), NegError::Pretended);
    assert_eq!(err("61000003"), NegError::Malformed);
    assert_eq!(err("610021"), NegError::Malformed);
    // A list of 2^63 ids in ten bytes.
    assert_eq!(err("6100000281808080808080808000"), NegError::Malformed);
    assert_eq!(err(&"61".repeat(crate::nip01::MAX_NEG_MESSAGE + 1)), NegError::TooLong);
    let mut over = session(&[], NegLimits::default());
    assert!(over.message("6").is_err());
    assert_eq!(over.message("61"), Err(NegError::OutOfTurn));
    let mut early = Reconciler::new([], (0, PROBE), NegLimits::default()).unwrap();
    assert_eq!(early.message("61"), Err(NegError::OutOfTurn));
    let few = NegLimits { items: 3, ..NegLimits::default() };
    assert_eq!(Reconciler::new(events(4, 1), (0, PROBE), few).unwrap_err(), NegError::Items);
    assert!(Reconciler::new(events(3, 1), (0, PROBE), few).is_ok());
}

#[test]
fn a_relay_that_compares_nothing_proves_nothing() {
    for n in [0, 3, 40, 500] {
        let ours = events(n, 3);
        // "All is equal", to anybody.
        assert_eq!(session(&ours, NegLimits::default()).message("61"), Err(NegError::Pretended));
        // An echo.
        let mut echoed = Reconciler::new(ours, (1_000, PROBE), NegLimits::default()).unwrap();
        let opening = echoed.open().unwrap();
        assert_eq!(echoed.message(&opening), Err(NegError::Pretended));
    }
}

#[test]
fn endless_rounds_end() {
    // A list of no ids up to infinity, then a fingerprint that never fits: a new question each time.
    let limits = NegLimits { rounds: 40, idle_rounds: 8, ..NegLimits::default() };
    for fresh in [false, true] {
        let mut session = session(&events(100, 1), limits);
        let mut rounds = 0u64;
        let error = loop {
            rounds += 1;
            assert!(rounds <= 40);
            // Up to second 5 one id, then a fingerprint that fits nothing.
            let named = hex::encode(&id(if fresh { 1_000_000 + rounds } else { 1_000_000 }));
            match session.message(&format!("6106000201{named}00000100000000000000000000000000000000")) {
                Ok(Reply::Send(_)) => {}
                other => break other.unwrap_err(),
            }
        };
        assert_eq!(error, NegError::Rounds);
        assert_eq!(rounds, if fresh { 40 } else { 9 });
        assert!(session.finish().need.len() <= 40);
    }
}

#[test]
fn ids_are_bounded_and_ours_are_never_needed() {
    let ours = events(50, 1);
    let limits = NegLimits { ids: 10, ..NegLimits::default() };
    let mut session = session(&ours, limits);
    let mut list = String::from("61060002");
    list.push_str(&hex::encode(&[20]));
    for n in 0..20 {
        list.push_str(&hex::encode(&id(if n < 5 { n } else { 1_000_000 + n })));
    }
    list.push_str("00000100000000000000000000000000000000");
    assert_eq!(session.message(&list).unwrap(), Reply::Full);
    let found = session.finish();
    assert_eq!(found.need.len(), 15);
    assert!(found.need.iter().all(|id| !ours.iter().any(|(_, held)| held == id)));
}

#[test]
fn equal_sets_cost_a_few_small_messages() {
    let all_events = events(5_000, 11);
    let mut relay = NegRelay::new(all_events.clone());
    let mut ours = held(&all_events);
    let mut sync = all(0, Some(HORIZON));
    let outcomes = drive(&mut sync, &mut relay, &mut ours);
    assert_eq!((relay.opens, relay.requests, sync.ended()), (1, 0, None));
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].proven, Ranges::single(0, Some(HORIZON)));
    assert!(outcomes[0].have.is_empty());
}

#[test]
fn what_is_missing_is_fetched_and_the_window_proven_a_saturated_second_too() {
    let mut there = events(300, 900);
    there.extend((0..3_000).map(|n| (77_000, id(10_000 + n))));
    let mut relay = NegRelay::new(there.clone());
    relay.frame = 60_000;
    let gone = (500, id(99_999));
    let mut ours = held(&there[..280]);
    ours.insert(gone.1, gone.0);
    let mut sync = all(0, None);
    let outcomes = drive(&mut sync, &mut relay, &mut ours);
    assert!(there.iter().all(|(_, id)| ours.contains_key(id)));
    assert_eq!(outcomes[0].proven, Ranges::single(0, Some(HORIZON)));
    assert_eq!((outcomes[0].have.clone(), outcomes[0].arrived), (vec![gone.1], 3_020));
    assert_eq!(relay.requests, 3_020u32.div_ceil(50));
}

#[test]
fn more_ids_than_at_a_time_are_fetched_in_turns() {
    let there = events(2_000, 10);
    let mut relay = NegRelay::new(there.clone());
    let limits = NegLimits { ids: 300, ..NegLimits::default() };
    relay.frame = 4_096;
    let mut sync = NegSync::new(Range { lo: 0, hi: Some(HORIZON) }, HORIZON, limits);
    let mut ours = HashMap::new();
    let outcomes = drive(&mut sync, &mut relay, &mut ours);
    assert_eq!(ours.len(), 2_000);
    assert_eq!(outcomes.last().unwrap().proven, Ranges::single(0, Some(HORIZON)));
    assert!(relay.opens <= 8, "{}", relay.opens);
}

#[test]
fn more_items_of_ours_than_at_a_time_are_compared_in_parts() {
    let there = events(1_000, 10);
    let mut relay = NegRelay::new(there.clone());
    let limits = NegLimits { items: 150, ..NegLimits::default() };
    let mut sync = NegSync::new(Range { lo: 0, hi: None }, HORIZON, limits);
    let mut ours = held(&there[..900]);
    let outcomes = drive(&mut sync, &mut relay, &mut ours);
    assert_eq!(ours.len(), 1_000);
    let proven = outcomes.iter().fold(Ranges::empty(), |sum, outcome| sum.union(&outcome.proven));
    assert_eq!(proven, Ranges::single(0, Some(HORIZON)));
    assert!(relay.opens <= 8, "{}", relay.opens);
}

#[test]
fn a_second_of_ours_too_large_to_compare_stays_open_and_stops_nothing() {
    for full in [[500, 501, 502], [500, 502, 504], [0, 1, 999]] {
        let mut there = events(300, 3);
        there.extend(full.iter().flat_map(|at| (0..200).map(move |n| (*at, id(*at as u64 * 1_000 + 5_000 + n)))));
        let mut relay = NegRelay::new(there.clone());
        let limits = NegLimits { items: 50, ..NegLimits::default() };
        let mut sync = NegSync::new(Range { lo: 0, hi: None }, HORIZON, limits);
        let mut ours = held(&there);
        let outcomes = drive(&mut sync, &mut relay, &mut ours);
        let proven = outcomes.iter().fold(Ranges::empty(), |sum, outcome| sum.union(&outcome.proven));
        let open = Ranges::single(0, Some(HORIZON)).subtract(&proven);
        assert!(full.iter().all(|at| open.contains(*at)), "{open}");
        assert!(open.seconds().is_some_and(|seconds| seconds <= 9), "{open}");
    }
}

#[test]
fn too_large_splits_the_time_and_nothing_else_does() {
    for tells_max in [false, true] {
        let mut there = events(3_000, 300);
        there.extend((0..700).map(|n| (500_000, id(10_000 + n))));
        let mut relay = NegRelay::new(there.clone());
        relay.max_records = 500;
        relay.tells_max = tells_max;
        let mut ours = held(&there[..1_500]);
        let mut sync = all(0, None);
        let outcomes = drive(&mut sync, &mut relay, &mut ours);
        assert_eq!(sync.ended(), None);
        assert!(relay.opens <= 80, "{}", relay.opens);
        let proven = outcomes.iter().fold(Ranges::empty(), |sum, outcome| sum.union(&outcome.proven));
        // The overlap of one second brings the burst into both neighbours.
        let open = Ranges::single(0, Some(HORIZON)).subtract(&proven);
        assert!(Ranges::single(499_999, Some(500_002)).covers(&open) && open.contains(500_000), "{open}");
    }
    for verdict in [
        Verdict::Unsupported,
        Verdict::Refused(ClosePrefix::Blocked),
        Verdict::Refused(ClosePrefix::RateLimited),
        Verdict::Broken,
    ] {
        let mut sync = all(0, None);
        sync.next().unwrap();
        assert!(matches!(sync.open(Vec::new(), PROBE), NegOpening::Send(..)));
        sync.refused(verdict);
        assert_eq!((sync.next(), sync.ended()), (None, Some(verdict)));
        assert_eq!(sync.left(), Ranges::single(0, None));
    }
}

#[test]
fn a_relay_to_which_everything_is_too_large_is_left_soon() {
    let mut relay = NegRelay::new(events(50, 1));
    relay.max_records = 0;
    let mut relay_all = relay.clone();
    relay_all.events.extend((0..200_000).map(|n| (n * 5, id(1_000_000 + n as u64))));
    for mut relay in [relay, relay_all] {
        let mut sync = all(0, None);
        let outcomes = drive(&mut sync, &mut relay, &mut HashMap::new());
        assert!(relay.opens <= 2 * 256 + 2, "{}", relay.opens);
        assert!(sync.ended().is_none_or(|verdict| matches!(verdict, Verdict::TooLarge { .. })));
        for outcome in outcomes {
            assert!(relay.events.iter().all(|(at, _)| !outcome.proven.contains(*at)));
        }
    }
}

#[test]
fn exclusive_bounds_lose_nothing() {
    let there = events(1_000, 1);
    let mut relay = NegRelay::new(there.clone());
    relay.until_exclusive = true;
    relay.max_records = 120;
    let mut ours = HashMap::new();
    let mut sync = all(0, Some(HORIZON));
    let outcomes = drive(&mut sync, &mut relay, &mut ours);
    assert!(outcomes.iter().all(|outcome| outcome.missing == 0));
    assert_eq!(ours.len(), 1_000, "{:?}", sync.ended());
    assert!(outcomes.iter().all(|outcome| outcome.have.is_empty()));
}

#[test]
fn ids_that_do_not_come_are_asked_singly_and_then_recorded() {
    let there = events(400, 10);
    let mut relay = NegRelay::new(there.clone());
    relay.shy = (0..10).map(id).collect();
    relay.withheld = (100..105).map(id).collect();
    relay.restricted = (200..203).map(id).collect();
    let mut ours = HashMap::new();
    let mut sync = all(0, Some(HORIZON));
    let outcomes = drive(&mut sync, &mut relay, &mut ours);
    let outcome = &outcomes[0];
    assert_eq!(ours.len(), 400 - 8);
    assert_eq!((outcome.missing, outcome.refused), (5, 3));
    assert_eq!(outcome.unavailable.iter().copied().collect::<HashSet<_>>(), relay.withheld);
    assert!(outcome.proven.is_empty());
}

#[test]
fn a_relay_that_names_ids_and_sends_nothing_is_soon_done_with() {
    let there = events(5_000, 10);
    let mut relay = NegRelay::new(there.clone());
    relay.withheld = there.iter().map(|(_, id)| *id).collect();
    let mut sync = all(0, Some(HORIZON));
    let outcomes = drive(&mut sync, &mut relay, &mut HashMap::new());
    assert_eq!((outcomes[0].missing, outcomes[0].unavailable.len()), (5_000, 1_000));
    assert!(relay.requests <= 5_000 / 50 + 24, "{}", relay.requests);
}

#[test]
fn a_relay_that_sends_fewer_than_asked_is_asked_for_fewer() {
    let mut relay = NegRelay::new(events(1_000, 10));
    relay.cap = 20;
    let mut ours = HashMap::new();
    drive(&mut all(0, None), &mut relay, &mut ours);
    assert_eq!(ours.len(), 1_000);
    assert!(relay.requests <= 55, "{}", relay.requests);
}

#[test]
fn a_break_while_fetching_proves_nothing() {
    for (end, verdict) in [
        (End::Disconnected, Verdict::Broken),
        (End::Timeout, Verdict::Broken),
        (End::Closed(ClosePrefix::RateLimited), Verdict::Refused(ClosePrefix::RateLimited)),
    ] {
        let mut relay = NegRelay::new(events(20, 10));
        let mut sync = all(0, Some(HORIZON));
        sync.next().unwrap();
        let NegOpening::Send(window, message) = sync.open(Vec::new(), PROBE) else { panic!() };
        let bytes = (0..message.len() / 2).map(|i| u8::from_str_radix(&message[2 * i..2 * i + 2], 16).unwrap());
        let answer = relay.session(&window).unwrap().reconcile(&bytes.collect::<Vec<_>>()).unwrap();
        assert_eq!(sync.message(&hex::encode(&answer)), None);
        assert!(matches!(sync.next(), Some(NegAction::Fetch(_))));
        sync.fetched(end);
        assert_eq!((sync.next(), sync.ended()), (None, Some(verdict)));
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(96);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn need_is_what_the_relay_has_and_we_lack(
        both in proptest::collection::vec((0..60i64, any::<u32>()), 0..300),
        theirs in proptest::collection::vec((0..60i64, any::<u32>()), 0..300),
        mine in proptest::collection::vec((0..60i64, any::<u32>()), 0..300),
        frame in prop_oneof![Just(0u64), Just(4_096), Just(60_000)],
        their_frame in prop_oneof![Just(0u64), Just(4_096), Just(60_000)],
        max_records in prop_oneof![Just(usize::MAX), 20..200usize],
        tells_max: bool,
        items in prop_oneof![Just(100_000usize), 30..300usize],
        ids in prop_oneof![Just(100_000usize), 20..300usize],
    ) {
        let items_of = |list: &[(i64, u32)], salt: u64| -> HashMap<Id, i64> {
            list.iter().map(|(at, n)| (id(u64::from(*n) | salt << 32), 900_000 + at)).collect()
        };
        let (both, theirs, mine) = (items_of(&both, 1), items_of(&theirs, 2), items_of(&mine, 3));
        let mut relay = NegRelay::new(both.iter().chain(&theirs).map(|(id, at)| (*at, *id)).collect());
        (relay.frame, relay.max_records, relay.tells_max) = (their_frame, max_records, tells_max);
        let mut ours: HashMap<Id, i64> = both.into_iter().chain(mine.clone()).collect();
        let before = ours.len();
        let limits = NegLimits { frame, items, ids, ..NegLimits::default() };
        let mut sync = NegSync::new(Range { lo: 0, hi: None }, HORIZON, limits);
        let outcomes = drive(&mut sync, &mut relay, &mut ours);
        let proven = outcomes.iter().fold(Ranges::empty(), |sum, outcome| sum.union(&outcome.proven));
        for (at, id) in &relay.events {
            prop_assert!(ours.contains_key(id) || !proven.contains(*at), "lost at {at}: {proven}");
        }
        if max_records == usize::MAX && items == 100_000 {
            prop_assert_eq!(proven, Ranges::single(0, Some(HORIZON)));
            prop_assert_eq!(ours.len() - before, theirs.len());
            let have: HashSet<Id> = outcomes.last().unwrap().have.iter().copied().collect();
            prop_assert_eq!(have, mine.into_keys().collect::<HashSet<_>>());
        }
    }

    #[test]
    fn no_answer_makes_it_panic_or_go_on_without_end(
        n in 0..200u64,
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..60),
        versioned: bool,
    ) {
        let limits = NegLimits { idle_rounds: 10, rounds: 30, ids: 50, ..NegLimits::default() };
        let mut session = session(&events(n, 3), limits);
        for mut message in messages {
            if versioned {
                message.insert(0, 0x61);
            }
            if !matches!(session.message(&hex::encode(&message)), Ok(Reply::Send(_))) {
                break;
            }
        }
        prop_assert!(session.finish().need.len() < 50 + 10);
    }

    #[test]
    fn a_message_with_flipped_bits_is_an_error_or_an_answer(
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..5), n in 0..150u64,
    ) {
        let there = events(150, 3);
        let mut relay = NegRelay::new(there);
        let mut sync = all(0, Some(HORIZON));
        sync.next();
        let NegOpening::Send(window, message) = sync.open(events(n, 3), PROBE) else { return Ok(()) };
        let bytes: Vec<u8> =
            (0..message.len() / 2).map(|i| u8::from_str_radix(&message[2 * i..2 * i + 2], 16).unwrap()).collect();
        let mut answer = relay.session(&window).unwrap().reconcile(&bytes).unwrap();
        for (at, mask) in flips {
            let at = at % answer.len();
            answer[at] ^= mask;
        }
        let _ = sync.message(&hex::encode(&answer));
        prop_assert!(sync.next().is_some() || sync.ended().is_some());
    }
}
