//! A short run of every target; `make fuzz` is the long one.

use bigbrotr_tests::fuzz::{Mutator, TARGETS, run};

/// Inputs of each target in `make test`.
const INPUTS: u64 = 20_000;

#[test]
fn no_target_breaks_its_promise() {
    let failures: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = TARGETS.iter().map(|target| scope.spawn(move || run(target, INPUTS, 1).err())).collect();
        runs.into_iter().filter_map(|run| run.join().expect("the driver does not panic")).collect()
    });
    assert!(
        failures.is_empty(),
        "{:#?}",
        failures.iter().map(|f| (f.target, &f.text, f.input.escape_ascii().to_string())).collect::<Vec<_>>()
    );
}

#[test]
fn seeds_are_inputs_their_targets_accept_and_none_is_missing() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        seeds.iter().for_each(|seed| (target.run)(seed));
    }
    let certificates = (bigbrotr_tests::fuzz::target("x509").expect("a target").seeds)();
    assert!(certificates.iter().all(|seed| seed.len() > 200));
}

#[test]
fn the_same_number_gives_the_same_inputs() {
    let inputs = |number| {
        let mut mutator = Mutator::new(vec![b"hello".to_vec()], &[b"word"], number);
        (0..1000).map(|_| mutator.input()).collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
    assert!(inputs(1).iter().any(|input| input.windows(4).any(|part| part == b"word")));
}
