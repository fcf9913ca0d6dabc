//! The driver.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use super::{Mutator, Target};

/// An input of at most 16 KiB that takes longer is a way to stop us.
const SLOW: Duration = Duration::from_secs(3);

/// What a run without failure did.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Inputs given to the target, seeds included.
    pub inputs: u64,
    /// Time in all.
    pub took: Duration,
    /// Time of the slowest.
    pub slowest: Duration,
}

/// An input that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// The target's name.
    pub target: &'static str,
    /// What was said.
    pub text: String,
    /// The input.
    pub input: Vec<u8>,
}

impl Failure {
    /// Keeps the input as a file in `folder` and says where.
    ///
    /// # Errors
    /// Of the file system.
    pub fn save(&self, folder: &Path) -> std::io::Result<std::path::PathBuf> {
        fs::create_dir_all(folder)?;
        let sum = self
            .input
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let path = folder.join(format!("{}-{sum:016x}", self.target));
        fs::write(&path, &self.input)?;
        Ok(path)
    }
}

/// Gives the target its seeds and then mutations of them, `inputs` in all; stops at the first failure. `number` chooses the mutations.
///
/// # Errors
/// The first input that panics or takes longer than 3 s.
pub fn run(target: &'static Target, inputs: u64, number: u64) -> Result<Report, Failure> {
    let seeds = (target.seeds)();
    let mut first = seeds.clone().into_iter();
    let mut mutator = Mutator::new(seeds, target.words, number);
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    for _ in 0..inputs {
        let input = first.next().unwrap_or_else(|| mutator.input());
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let took = started.elapsed();
        slowest = slowest.max(took);
        let text = match outcome {
            Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
                (Some(text), _) => text.clone(),
                (_, Some(text)) => (*text).to_owned(),
                _ => "a panic without words".to_owned(),
            },
            Ok(()) if took > SLOW => format!("took {took:?}"),
            Ok(()) => continue,
        };
        return Err(Failure { target: target.name, text, input });
    }
    Ok(Report { inputs, took: began.elapsed(), slowest })
}
