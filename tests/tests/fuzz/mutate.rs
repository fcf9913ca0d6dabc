//! Inputs from inputs.

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// Longest input, bytes.
const LONGEST: usize = 64 << 10;
/// What counts and lengths in binary formats turn on.
const BYTES: [u8; 8] = [0, 1, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x30];

/// A stream of inputs.
pub struct Mutator(SmallRng);

impl Mutator {
    /// Equal seeds give equal streams.
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// Another input: one of `seeds` after some changes, with `words` of the format among what is put in.
    pub fn input(&mut self, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
        let mut input = self.pick(seeds).cloned().unwrap_or_default();
        for _ in 0..1 << self.0.random_range(0..5) {
            self.change(&mut input, seeds, words);
            input.truncate(LONGEST);
        }
        input
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        (!all.is_empty()).then(|| &all[self.0.random_range(0..all.len())])
    }

    /// A place in an input, its end included.
    fn place(&mut self, input: &[u8]) -> usize {
        self.0.random_range(0..=input.len())
    }

    fn span(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let (a, b) = (self.place(input), self.place(input));
        let most = 1 << self.0.random_range(0..12);
        a.min(b)..a.max(b).min(a.min(b) + most)
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
        let at = self.place(input);
        match self.0.random_range(0..10) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.0.random_range(0..8);
                }
            }
            1 => {
                let value = BYTES[self.0.random_range(0..BYTES.len())];
                if let Some(byte) = input.get_mut(at) {
                    *byte = value;
                }
            }
            2 => {
                let byte = self.0.random();
                input.insert(at, byte);
            }
            3 => {
                let span = self.span(input);
                input.drain(span);
            }
            4 => {
                let piece = input[self.span(input)].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                // Nesting and long runs.
                let piece = input[self.span(input)].to_vec();
                let times = self.0.random_range(1..200);
                let times = times.min(LONGEST / piece.len().max(1));
                input.splice(at..at, piece.repeat(times));
            }
            6 => {
                if let Some(other) = self.pick(seeds).cloned() {
                    let piece = other[self.span(&other)].to_vec();
                    input.splice(at..at, piece);
                }
            }
            7 => {
                if let Some(other) = self.pick(seeds).cloned() {
                    let from = self.place(&other);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
            8 => {
                if let Some(word) = self.pick(words) {
                    input.splice(at..at, word.bytes());
                }
            }
            _ => {
                let span = self.span(input);
                self.0.fill(&mut input[span]);
            }
        }
    }
}
