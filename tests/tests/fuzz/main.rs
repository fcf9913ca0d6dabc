//! Every parser that reads a stranger's bytes, over inputs made by mutation of good and bad ones: none may panic, and what
//! it returns must hold. `make fuzz` runs FUZZ_INPUTS (1,000,000) of them a target; `make test` a few.
//! FUZZ_SEED repeats a run. Deterministic, on stable Rust: each input is a function of the seed, the target and its number.

mod mutate;
mod seeds;
mod targets;

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    thread,
    time::{Duration, Instant},
};

use mutate::Mutator;
use targets::{TARGETS, Target};

/// Inputs for a target without FUZZ_INPUTS.
const FEW: u64 = 10_000;
/// No input takes longer on any machine: a parser of moderate cost that does is quadratic in something.
const PATIENCE: Duration = Duration::from_secs(10);

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs a target; the number of inputs, or the first one that fails, in hex.
fn run(target: &Target, inputs: u64, seed: u64) -> Result<u64, String> {
    let seeds = (target.seeds)();
    let mut mutator = Mutator::new(seed ^ target.name.bytes().fold(7, |hash, byte| hash * 31 + u64::from(byte)));
    for number in 0..inputs {
        let input = match seeds.get(usize::try_from(number).unwrap_or(usize::MAX)) {
            Some(seed) => seed.clone(),
            None => mutator.input(&seeds, target.words),
        };
        let started = Instant::now();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        if outcome.is_err() || started.elapsed() > PATIENCE {
            let what = if outcome.is_err() { "panics" } else { "takes too long" };
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(format!("{} {what} on input {number} of seed {seed}: {hex}", target.name));
        }
    }
    Ok(inputs)
}

#[test]
fn no_input_of_a_stranger_makes_a_parser_panic() {
    let (inputs, seed) = (number("FUZZ_INPUTS", FEW), number("FUZZ_SEED", 1));
    let outcomes: Vec<Result<u64, String>> = thread::scope(|scope| {
        let (even, odd) = (0..TARGETS.len()).partition::<Vec<_>, _>(|at| at % 2 == 0);
        let halves = [even, odd].map(|half| {
            scope.spawn(move || {
                half.into_iter()
                    .map(|at| {
                        let started = Instant::now();
                        let outcome = run(&TARGETS[at], inputs, seed);
                        println!("{:<20} {inputs} inputs, {:.1} s", TARGETS[at].name, started.elapsed().as_secs_f64());
                        outcome
                    })
                    .collect::<Vec<_>>()
            })
        });
        halves.into_iter().flat_map(|half| half.join().unwrap_or_default()).collect()
    });
    assert_eq!(outcomes.len(), TARGETS.len());
    let failed: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(failed, Vec::<String>::new());
}

#[test]
fn a_panic_is_found_and_repeated() {
    fn fragile(input: &[u8]) {
        assert!(!input.windows(2).any(|pair| pair == b"!!"));
    }
    let target = Target { name: "fragile", run: fragile, seeds: || vec![b"a!b".to_vec()], words: &["!"] };
    let first = run(&target, 100_000, 1).expect_err("found");
    assert_eq!(run(&target, 100_000, 1).expect_err("found again"), first);
}
