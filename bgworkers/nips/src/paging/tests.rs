#![allow(clippy::unwrap_used)]
use super::testing::{Archive, FakeRelay, Send};
use super::{Answer, End, Order, Pager, Progress, Reason, RelayLimits};
use crate::nip01::ClosePrefix;
use crate::nip67::EoseHint;
use bigbrotr_models::ranges::{Range, Ranges};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

const HORIZON: i64 = 1_000_000;

fn spread(n: i64) -> Vec<i64> {
    (0..n).map(|i| 1_000 + i * 900_000 / n.max(1)).collect()
}

fn read(relay: &mut FakeRelay) -> Archive {
    let mut archive = Archive::default();
    archive.pass(relay, 0, 500, HORIZON, 10_000);
    archive
}

#[test]
fn small_and_large_relays_end_complete_with_few_requests() {
    for (n, cap) in
        [(0, 500), (1, 500), (2, 500), (12, 500), (40, 500), (722, 500), (722, 100), (5_000, 500), (1_000, 500)]
    {
        let mut relay = FakeRelay::honest(&spread(n));
        relay.cap = Some(cap);
        let archive = read(&mut relay);
        assert_eq!(archive.held.len(), n as usize);
        assert!(archive.is_complete(0, HORIZON), "{n} {cap}: {}", archive.complete);
        // Each page overlaps the one before by an event.
        let pages = (n as usize).div_ceil(cap - 1);
        assert!(archive.requests <= pages + 2, "{n} {cap}: {} requests", archive.requests);
        assert!(archive.fetched * 10 <= n as usize * 11 + 30, "{n} {cap}: fetched {}", archive.fetched);
        assert!(archive.limits.until_exclusive != Some(true));
    }
}

/// `(events, cap)` of a relay that does what NIP-01 says.
fn seconds(max: usize) -> impl Strategy<Value = Vec<i64>> {
    let single = (900_000..HORIZON + 50).prop_map(|at| vec![at]);
    let burst = (900_000..HORIZON + 5, 2..60usize).prop_map(|(at, n)| vec![at; n]);
    let dense = (999_000..HORIZON, 2..80usize).prop_map(|(at, n)| (0..n as i64).map(|i| at + i / 3).collect());
    let near = (999_900..HORIZON).prop_map(|at| vec![at]);
    let far = prop_oneof![Just(vec![0]), Just(vec![1]), Just(vec![i64::MAX]), Just(vec![4_000_000_000])];
    let piece = prop_oneof![6 => single, 2 => burst, 2 => dense, 3 => near, 1 => far];
    proptest::collection::vec(piece, 0..max).prop_map(|pieces| pieces.concat())
}

prop_compose! {
    pub(super) fn any_relay(send: Vec<Send>)(
        seconds in seconds(60),
        cap in proptest::option::weighted(0.8, prop_oneof![12..40usize, 40..200usize]),
        varying in proptest::bool::weighted(0.3),
        send in proptest::sample::select(send),
        (until_exclusive, since_exclusive) in any::<(bool, bool)>(),
        ignores_limit in proptest::bool::weighted(0.15),
        ignores_bounds in proptest::bool::weighted(0.1),
        hints in proptest::bool::weighted(0.15),
        duplicates in proptest::bool::weighted(0.15),
        (kinds, authors) in (1..20u64, 1..20u64),
        strays in prop_oneof![4 => Just(0usize), 1 => 1..4usize, 1 => Just(100usize)],
        trouble in prop_oneof![2 => Just((0u32, 0u32, 0u32)), 1 => (0..30u32, 0..15u32, 0..15u32)],
        budget in prop_oneof![3 => Just(usize::MAX), 1 => 60..200usize],
        seed in any::<u64>(),
    ) -> FakeRelay {
        let mut relay = FakeRelay::honest(&seconds);
        relay.cap = cap;
        // See "What cannot be told" of the module: a cap of anything from one up on every request, or one within the size of
        // a single second, looks like an answer of that size.
        relay.cap_from = cap.filter(|_| varying && send == Send::NewestFirst).map(|cap| (cap * 3 / 5).max(12));
        if let Some(least) = relay.cap_from {
            let mut counts = std::collections::HashMap::new();
            relay.events.retain(|(at, _)| { let n = counts.entry(*at).or_insert(0); *n += 1; *n < least });
        }
        relay.send = send;
        relay.until_exclusive = until_exclusive;
        relay.since_exclusive = since_exclusive;
        relay.ignores_limit = ignores_limit;
        relay.ignores_bounds = ignores_bounds;
        relay.hints = hints;
        relay.duplicates = duplicates;
        relay.strays = strays;
        (relay.kinds, relay.authors) = (kinds, authors);
        (relay.loses_eose, relay.closes, relay.disconnects) = trouble;
        relay.budget = budget;
        relay.rng = StdRng::seed_from_u64(seed);
        relay.seed = seed;
        relay
    }
}

pub(super) fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(384);
    ProptestConfig { cases, max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::default() }
}

fn nothing_is_lost(mut relay: FakeRelay, page_limit: u32, since: i64) -> Result<(), TestCaseError> {
    let mut archive = Archive::default();
    let mut horizon = HORIZON - 500;
    for _ in 0..5 {
        archive.pass(&mut relay, since, page_limit, horizon, 30_000);
        let lost = archive.lost(&relay);
        prop_assert!(lost.is_empty(), "called complete and never delivered: {lost:?} {}", archive.complete);
        horizon += 125;
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_called_complete_was_delivered_newest_first(
        relay in any_relay(vec![Send::NewestFirst]), limit in prop_oneof![Just(500u32), 10..60u32], since in prop_oneof![Just(0i64), 900_000..HORIZON],
    ) {
        nothing_is_lost(relay, limit, since)?;
    }

    #[test]
    fn what_is_called_complete_was_delivered_unordered(
        relay in any_relay(vec![Send::Ascending, Send::Random]), limit in prop_oneof![Just(500u32), 10..60u32], since in prop_oneof![Just(0i64), 900_000..HORIZON],
    ) {
        nothing_is_lost(relay, limit, since)?;
    }

    #[test]
    fn honest_relays_end_complete(
        seconds in seconds(80), cap in 20..200usize, uncapped: bool, until_exclusive: bool, since_exclusive: bool,
    ) {
        let mut seconds = seconds;
        seconds.sort_unstable();
        let most = (cap / 2).saturating_sub(1).max(1);
        let mut counts = std::collections::HashMap::new();
        seconds.retain(|at| { let n = counts.entry(*at).or_insert(0usize); *n += 1; *n <= most });
        let n = seconds.len();
        let mut relay = FakeRelay::honest(&seconds);
        relay.cap = Some(if uncapped { n + 1 } else { cap });
        relay.until_exclusive = until_exclusive;
        relay.since_exclusive = since_exclusive;
        let archive = read(&mut relay);
        let below = relay.events.iter().filter(|(at, _)| *at < HORIZON);
        prop_assert!(below.clone().all(|(_, id)| archive.held.contains(id)));
        let one_second = n > 10 && below.clone().all(|(at, _)| Some(*at) == below.clone().map(|(at, _)| *at).next());
        prop_assume!(!one_second);
        prop_assert!(archive.is_complete(0, HORIZON), "{} {:?}", archive.complete, archive.limits);
    }
}

fn with_burst(at: i64, n: usize) -> FakeRelay {
    let mut seconds = spread(300);
    seconds.extend(std::iter::repeat_n(at, n));
    let mut relay = FakeRelay::honest(&seconds);
    relay.cap = Some(100);
    relay
}

#[test]
fn a_burst_above_the_cap_costs_its_own_second_only() {
    for at in [0, 1, 999, 1_000, 450_000, 898_000, 999_998, HORIZON - 1] {
        for (until_exclusive, since_exclusive) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut relay = with_burst(at, 250);
            relay.until_exclusive = until_exclusive;
            relay.since_exclusive = since_exclusive;
            let archive = read(&mut relay);
            assert_eq!(archive.lost(&relay), [0i64; 0]);
            let open = Ranges::single(0, Some(HORIZON)).subtract(&archive.complete);
            assert_eq!(open, Ranges::single(at, Some(at + 1)), "burst at {at}");
        }
    }
}

#[test]
fn a_burst_below_the_cap_is_proven_wherever_it_is() {
    for at in [0, 1, 999, 450_000, 898_000, HORIZON - 1] {
        let archive = read(&mut with_burst(at, 45));
        assert!(archive.is_complete(0, HORIZON), "burst at {at}: {}", archive.complete);
    }
}

#[test]
fn a_later_pass_asks_only_for_what_is_new() {
    let mut relay = FakeRelay::honest(&spread(722));
    relay.cap = Some(500);
    let mut archive = read(&mut relay);
    let first = archive.requests;
    archive.pass(&mut relay, 0, 500, HORIZON + 60, 100);
    assert_eq!(archive.requests, first + 1, "an empty answer proves its window");
    assert!(archive.is_complete(0, HORIZON + 60));
    for i in 1..6 {
        let now = HORIZON + 60 + i * 60;
        relay.events.extend([
            (now - 30, super::testing::id(10_000 + i as u64)),
            (now - 20, super::testing::id(20_000 + i as u64)),
        ]);
        archive.pass(&mut relay, 0, 500, now, 100);
        assert!(archive.is_complete(0, now));
        assert!(archive.lost(&relay).is_empty());
    }
    assert!(archive.requests <= first + 1 + 3 + 3 + 1 + 1 + 1 + 2, "{} requests", archive.requests);
}

#[test]
fn events_from_the_future_are_fetched_and_never_called_complete() {
    let mut seconds = spread(50);
    seconds.extend([HORIZON, HORIZON + 7, 4_000_000_000, i64::MAX]);
    let mut relay = FakeRelay::honest(&seconds);
    let archive = read(&mut relay);
    assert_eq!(archive.held.len(), 54);
    assert_eq!(archive.complete, Ranges::single(0, Some(HORIZON)));
}

#[test]
fn live_events_before_eose_do_not_make_a_relay_unordered() {
    let mut pager = Pager::new(Ranges::single(0, None), 500, HORIZON, RelayLimits::default());
    pager.next().unwrap();
    let relay = FakeRelay::honest(&[]);
    let mut items: Vec<_> = (0..20).map(|i| relay.item((9_000 - i, super::testing::id(i as u64)))).collect();
    items.insert(10, relay.item((HORIZON + 1, super::testing::id(99))));
    let progress = pager.answer(Answer { items: &items, off_window: 0, end: End::Eose { hint: None } });
    assert_eq!(pager.limits().order, Order::NewestFirst);
    assert_eq!(progress.complete, Ranges::single(8_982, Some(HORIZON)));
}

#[test]
fn finish_proves_a_window_in_one_request() {
    let mut relay = FakeRelay::honest(&[5_000; 60]);
    relay.hints = true;
    let archive = read(&mut relay);
    assert_eq!((archive.requests, archive.is_complete(0, HORIZON)), (1, true));
}

#[test]
fn what_does_not_end_proves_nothing() {
    for (end, reason) in [
        (End::Disconnected, Reason::Disconnected),
        (End::Closed(ClosePrefix::AuthRequired), Reason::NeedsAuth),
        (End::Closed(ClosePrefix::Blocked), Reason::Refused),
        (End::Closed(ClosePrefix::RateLimited), Reason::Closed),
        (End::Closed(ClosePrefix::Unsupported), Reason::Unsupported),
    ] {
        let mut pager = Pager::new(Ranges::single(10, None), 500, HORIZON, RelayLimits::default());
        pager.next().unwrap();
        let relay = FakeRelay::honest(&[]);
        let items: Vec<_> = (0..50).map(|i| relay.item((9_000 - i, super::testing::id(i as u64)))).collect();
        let progress = pager.answer(Answer { items: &items, off_window: 0, end });
        assert!(progress.complete.is_empty());
        assert_eq!(progress.incomplete, [(Range { lo: 10, hi: Some(HORIZON) }, reason)]);
        assert_eq!((pager.next(), pager.ended()), (None, Some(reason)));
    }
}

#[test]
fn a_relay_that_never_sends_eose_is_read_down_and_left() {
    let mut relay = FakeRelay::honest(&spread(900));
    relay.loses_eose = 100;
    let archive = read(&mut relay);
    assert!(archive.complete.is_empty());
    assert!(archive.held.len() == 900 && archive.requests <= 8, "{} {}", archive.held.len(), archive.requests);
    let mut silent = FakeRelay::honest(&[]);
    silent.loses_eose = 100;
    assert_eq!(read(&mut silent).requests, 2);
}

#[test]
fn an_answer_over_budget_is_asked_in_parts() {
    let mut relay = FakeRelay::honest(&spread(2_000));
    relay.ignores_limit = true;
    relay.budget = 300;
    let archive = read(&mut relay);
    assert!(archive.is_complete(0, HORIZON), "{}", archive.complete);
}

#[test]
fn a_relay_that_ignores_bounds_is_found_out_and_left() {
    let mut relay = FakeRelay::honest(&spread(2_000));
    relay.ignores_bounds = true;
    relay.cap = Some(100);
    let archive = read(&mut relay);
    assert!(archive.requests < 10 && archive.lost(&relay).is_empty(), "{}", archive.requests);
}

#[test]
fn unordered_relays_end_complete_too() {
    for send in [Send::Ascending, Send::Random] {
        let mut relay = FakeRelay::honest(&spread(3_000));
        relay.cap = Some(100);
        relay.send = send;
        let archive = read(&mut relay);
        assert!(archive.is_complete(0, HORIZON) && archive.lost(&relay).is_empty(), "{send:?} {}", archive.complete);
        assert!(archive.requests < 300, "{send:?}: {} requests", archive.requests);
    }
}

#[test]
fn an_answer_without_a_question_proves_nothing() {
    let mut pager = Pager::new(Ranges::single(0, None), 500, HORIZON, RelayLimits::default());
    let progress = pager.answer(Answer { items: &[], off_window: 0, end: End::Eose { hint: Some(EoseHint::Finish) } });
    assert_eq!(progress, Progress::default());
    assert!(pager.next().is_some());
}

#[test]
fn limits_survive_being_stored() {
    let limits = read(&mut with_burst(5, 10)).limits;
    let json = serde_json::to_string(&limits).unwrap();
    assert_eq!(serde_json::from_str::<RelayLimits>(&json).unwrap(), limits);
    assert_eq!(serde_json::from_str::<RelayLimits>("{}").unwrap(), RelayLimits::default());
}

#[test]
fn a_second_above_the_cap_is_fetched_by_kinds_and_authors_and_stays_open() {
    for (kinds, authors) in [(40, 1), (1, 40), (3, 20), (12, 300)] {
        for send in [Send::NewestFirst, Send::Ascending, Send::Random] {
            let mut seconds = spread(1_000);
            seconds.extend([500_000; 3_000]);
            let mut relay = FakeRelay::honest(&seconds);
            (relay.kinds, relay.authors, relay.send, relay.cap) = (kinds, authors, send, Some(500));
            let archive = read(&mut relay);
            assert_eq!(archive.held.len(), 4_000, "{kinds} kinds {authors} authors {send:?}");
            let open = Ranges::single(0, Some(HORIZON)).subtract(&archive.complete);
            assert_eq!(open, Ranges::single(500_000, Some(500_001)), "{send:?}");
            assert!(archive.requests < 250, "{kinds} {authors} {send:?}: {} requests", archive.requests);
        }
    }
}

#[test]
fn authors_known_elsewhere_are_asked_too() {
    let mut relay = FakeRelay::honest(&[500_000; 900]);
    (relay.kinds, relay.authors, relay.cap) = (1, 900, Some(100));
    assert!(read(&mut relay).held.len() < 900);
    let mut pager = Pager::new(Ranges::single(0, None), 500, HORIZON, RelayLimits::default());
    pager.suggest_authors(relay.events.iter().map(|event| relay.item(*event).pubkey));
    let mut held = std::collections::HashSet::new();
    while let Some(window) = pager.next() {
        let (items, off_window, end) = relay.answer(&window);
        held.extend(items.iter().map(|item| item.id));
        pager.answer(Answer { items: &items, off_window, end });
    }
    assert_eq!(held.len(), 900);
}

#[test]
fn seconds_above_the_cap_cost_a_bounded_number_of_requests() {
    let seconds: Vec<i64> = (0..60).flat_map(|i| [10_000 + i * 50; 30]).collect();
    let mut relay = FakeRelay::honest(&seconds);
    (relay.kinds, relay.authors, relay.cap) = (30, 1, Some(1));
    let archive = read(&mut relay);
    assert!(archive.requests < 1_500 && archive.lost(&relay).is_empty(), "{}", archive.requests);
}
