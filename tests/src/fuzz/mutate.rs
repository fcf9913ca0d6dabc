//! Inputs made of seeds: cut, joined, repeated, with bits flipped, lengths falsified and words of the format put in.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Larger inputs are cut, so that a million of them end.
const MAX_INPUT: usize = 16 << 10;
/// Inputs of the run kept as further seeds.
const POOL: usize = 256;

/// Bytes that parsers of all kinds treat in a way of their own.
const EVERYWHERE: [&[u8]; 24] = [
    b"\0",
    b"\n",
    b"\r\n\r\n",
    b" ",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc0\x80",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[[[[[[[[[[[[[[[",
    b":",
    b",",
    b"/",
    b"-1",
    b"1e999999999",
    b"18446744073709551616",
    b"0x7f.1",
    b"%00",
];

/// An endless, reproducible source of inputs.
#[derive(Debug)]
pub struct Mutator {
    random: StdRng,
    pool: Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
}

impl Mutator {
    /// Over `seeds`, with `words` of their format. The same `number`, the same inputs.
    pub fn new(seeds: Vec<Vec<u8>>, words: &'static [&'static [u8]], number: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(number),
            pool: if seeds.is_empty() { vec![Vec::new()] } else { seeds },
            words,
        }
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.pool.choose(&mut self.random).cloned().unwrap_or_default();
        // Many small changes get past checksums of structure; few keep most of it.
        for _ in 0..1_u32 << self.random.random_range(0..5_u32) {
            self.change(&mut input);
        }
        input.truncate(MAX_INPUT);
        if self.random.random_ratio(1, 64) {
            if self.pool.len() < POOL {
                self.pool.push(input.clone());
            } else {
                // The first ones are whole and stay.
                let n = self.random.random_range(POOL / 2..POOL);
                self.pool[n].clone_from(&input);
            }
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let random = &mut self.random;
        let at = random.random_range(0..=input.len());
        let end = random.random_range(at..=input.len().min(at + 64));
        match random.random_range(0..10) {
            0 => _ = input.drain(at..end),
            1 => {
                let other = self.pool.choose(random).map(Vec::as_slice).unwrap_or_default();
                let from = random.random_range(0..=other.len());
                let to = random.random_range(from..=other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            2 => {
                let piece = input[at..end].to_vec();
                let times = random.random_range(1..16);
                input.splice(at..at, piece.repeat(times));
            }
            3 => {
                let all = EVERYWHERE.len() + self.words.len();
                let n = random.random_range(0..all);
                let word = if n < EVERYWHERE.len() { EVERYWHERE[n] } else { self.words[n - EVERYWHERE.len()] };
                input.splice(at..at, word.iter().copied());
            }
            4 => input.truncate(at),
            5 => {
                let new: Vec<u8> = (at..end).map(|_| random.random()).collect();
                input.splice(at..end, new);
            }
            6 => {
                // A length that lies, big and little end first.
                let lie = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, u64::from(u32::MAX), u64::MAX];
                let lie = lie.choose(random).copied().unwrap_or_default();
                let bytes = random.random_range(1..=8_usize);
                let encoded = if random.random() {
                    lie.to_le_bytes()[..bytes].to_vec()
                } else {
                    lie.to_be_bytes()[8 - bytes..].to_vec()
                };
                let end = input.len().min(at + bytes);
                input.splice(at..end, encoded);
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = match random.random_range(0..4) {
                        0 => *byte ^ (1 << random.random_range(0..8)),
                        1 => byte.wrapping_add(1),
                        2 => byte.wrapping_sub(1),
                        _ => random.random(),
                    };
                }
            }
        }
    }
}
