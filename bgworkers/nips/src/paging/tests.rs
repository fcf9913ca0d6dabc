#![allow(clippy::unwrap_used)]
use super::testing::{Archive, FakeRelay, Send};
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
    fn any_relay(send: Vec<Send>)(
        seconds in seconds(60),
        cap in proptest::option::weighted(0.8, prop_oneof![12..40usize, 40..200usize]),
        varying in proptest::bool::weighted(0.3),
        send in proptest::sample::select(send),
        (until_exclusive, since_exclusive) in any::<(bool, bool)>(),
        ignores_limit in proptest::bool::weighted(0.15),
        ignores_bounds in proptest::bool::weighted(0.1),
        hints in proptest::bool::weighted(0.15),
        duplicates in proptest::bool::weighted(0.15),
        strays in prop_oneof![4 => Just(0usize), 1 => 1..4usize, 1 => Just(100usize)],
        trouble in prop_oneof![2 => Just((0u32, 0u32, 0u32)), 1 => (0..30u32, 0..15u32, 0..15u32)],
        budget in prop_oneof![3 => Just(usize::MAX), 1 => 60..200usize],
        seed in any::<u64>(),
    ) -> FakeRelay {
        let mut relay = FakeRelay::honest(&seconds);
        relay.cap = cap;
        // A cap that is anything from one up on every request cannot be told from an answer of that size.
        relay.cap_from = cap.filter(|_| varying && send == Send::NewestFirst).map(|cap| (cap * 3 / 5).max(12));
        relay.send = send;
        relay.until_exclusive = until_exclusive;
        relay.since_exclusive = since_exclusive;
        relay.ignores_limit = ignores_limit;
        relay.ignores_bounds = ignores_bounds;
        relay.hints = hints;
        relay.duplicates = duplicates;
        relay.strays = strays;
        (relay.loses_eose, relay.closes, relay.disconnects) = trouble;
        relay.budget = budget;
        relay.rng = StdRng::seed_from_u64(seed);
        relay.seed = seed;
        relay
    }
}

fn config() -> ProptestConfig {
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
