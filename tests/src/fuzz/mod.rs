//! Fuzz targets: one function of bytes for every parser that reads what a stranger sends. A target panics when a promise is broken;
//! [`run()`] feeds it mutated seeds, on a stable compiler, always the same for the same number.
//!
//! `make fuzz` runs them all, a million inputs each (`FUZZ_INPUTS`), one of them with `FUZZ_TARGET`. `make test` runs a few thousand
//! of each. Under cargo-fuzz a target is one line: `fuzz_target!(|bytes: &[u8]| (bigbrotr_tests::fuzz::target("event").unwrap().run)(bytes))`.

mod mutate;
mod run;
mod seeds;
mod targets;

pub use mutate::Mutator;
pub use run::{Failure, Report, run};
pub use targets::{TARGETS, Target, target};
