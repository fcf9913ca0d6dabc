//! Exponential back-off with jitter.

use std::time::Duration;

use rand::Rng;

/// Doubles from `base` up to `max`; `reset` after success.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts without failures.
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, failures: 0 }
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts one more failure and returns the pause before the next try, without jitter.
    pub fn fail(&mut self) -> Duration {
        let pause = self.base.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// `pause` ± 20 %, so that many that failed together do not return together.
pub fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_maximum_and_forgets_on_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let pauses: Vec<u64> = (0..6).map(|_| backoff.fail().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        backoff.reset();
        assert_eq!(backoff.fail().as_secs(), 1);
        for _ in 0..100 {
            backoff.fail();
        }
        assert_eq!(backoff.fail().as_secs(), 10);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for _ in 0..1000 {
            let pause = jitter(Duration::from_secs(10)).as_secs_f64();
            assert!((8.0..12.0).contains(&pause), "{pause}");
        }
    }
}
