//! Where the URLs come from, and what a line of it means.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use bigbrotr_models::{AddressPolicy, RelayUrl};

/// The list used when `bigbrotr.seed_file` is empty.
pub const BUILT_IN: &str = include_str!("relays.txt");
/// Bytes of a seed file.
pub const MAX_FILE: u64 = 16 << 20;
/// Refused lines shown as examples, and how much of each.
const EXAMPLES: usize = 5;
const EXAMPLE_CHARS: usize = 100;

/// What a list says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seeds {
    /// Each URL once.
    pub urls: BTreeSet<RelayUrl>,
    /// Lines that are neither empty nor a comment.
    pub lines: u64,
    /// Of these, lines that are no relay URL.
    pub refused: u64,
    /// The first of them, without control characters.
    pub examples: Vec<String>,
}

/// Reads a seed file. Blocks.
///
/// # Errors
/// In words, with the path: it is missing, unreadable, no regular file, or larger than [`MAX_FILE`].
pub fn read(path: &str) -> Result<String, String> {
    let file = Path::new(path);
    let fail = |error: std::io::Error| format!("seed file {path}: {error}");
    // A pipe would block for ever, and a device may never end.
    if !fs::metadata(file).map_err(fail)?.is_file() {
        return Err(format!("seed file {path}: not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(file).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("seed file {path}: larger than {} MB", MAX_FILE >> 20));
    }
    // A line in another encoding is a line to refuse, not a reason to refuse the others.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One URL a line, as an operator writes them; `#` begins a comment at the start of a line or after white space. Any
/// line ends, with or without a byte order mark.
pub fn parse(text: &str, policy: AddressPolicy) -> Seeds {
    let mut seeds = Seeds::default();
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).split(['\n', '\r']) {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        seeds.lines += 1;
        match RelayUrl::parse_operator(line, policy) {
            Ok(url) => {
                seeds.urls.insert(url);
            }
            Err(_) => {
                seeds.refused += 1;
                if seeds.examples.len() < EXAMPLES {
                    seeds.examples.push(example(line));
                }
            }
        }
    }
    seeds
}

/// A `#` inside a word is part of a URL.
fn without_comment(line: &str) -> &str {
    let mut after_space = true;
    for (at, letter) in line.char_indices() {
        if letter == '#' && after_space {
            return line.get(..at).unwrap_or(line).trim();
        }
        after_space = letter.is_whitespace();
    }
    line.trim()
}

/// jsonb, where it goes, has no U+0000.
fn example(line: &str) -> String {
    line.chars().take(EXAMPLE_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        parse(text, AddressPolicy::default()).urls.iter().map(|url| url.as_str().to_owned()).collect()
    }

    #[test]
    fn the_built_in_list_is_sixty_or_so_clean_urls() {
        let seeds = parse(BUILT_IN, AddressPolicy::default());
        assert_eq!((seeds.refused, seeds.examples.len()), (0, 0), "{:?}", seeds.examples);
        assert_eq!(seeds.urls.len() as u64, seeds.lines, "a URL is listed twice");
        assert!((50..=80).contains(&seeds.lines), "{}", seeds.lines);
        for url in &seeds.urls {
            assert!(BUILT_IN.lines().any(|line| line == url.as_str()), "{url} is not written as its key");
        }
    }

    #[test]
    fn comments_blank_lines_any_line_end_and_a_byte_order_mark_are_understood() {
        let text =
            "\u{feff}wss://a.com\r\n# wss://no.com\r\n\r\n  wss://b.com  # the second\n\twss://c.com\rwss://d.com#x";
        assert_eq!(keys(text), ["wss://a.com", "wss://b.com", "wss://c.com", "wss://d.com"]);
        assert_eq!(keys("\u{feff}# only a comment"), Vec::<String>::new());
    }

    #[test]
    fn a_line_is_read_as_an_operator_means_it_and_each_url_counts_once() {
        let text = "relay.damus.io\nhttps://relay.damus.io/\nWSS://Relay.Damus.io\nhttp://b.com:8080/x\n";
        assert_eq!(keys(text), ["ws://b.com:8080/x", "wss://relay.damus.io"]);
    }

    #[test]
    fn refused_lines_are_counted_and_the_first_ones_shown() {
        let text = format!("wss://a.com\n{}", "not a\0relay \u{7}!\n".repeat(9));
        let seeds = parse(&text, AddressPolicy::default());
        assert_eq!((seeds.lines, seeds.refused, seeds.urls.len()), (10, 9, 1));
        assert_eq!(seeds.examples, vec!["not a\u{fffd}relay \u{fffd}!"; EXAMPLES]);
        let long = parse(&"x".repeat(5000), AddressPolicy::default());
        assert_eq!(long.examples.first().map(String::len), Some(EXAMPLE_CHARS));
    }

    #[test]
    fn private_addresses_are_the_operators_decision() {
        assert_eq!(keys("ws://127.0.0.1:7777"), Vec::<String>::new());
        assert_eq!(parse("ws://127.0.0.1:7777", AddressPolicy { allow_private: true }).urls.len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing.txt");
        for path in [missing.to_str().unwrap(), dir.path().to_str().unwrap(), "/dev/zero"] {
            let error = read(path).unwrap_err();
            assert!(error.contains(path), "{error}");
        }
        let large = dir.path().join("large.txt");
        File::create(&large).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(read(large.to_str().unwrap()).unwrap_err().contains("larger than 16 MB"));
    }

    #[test]
    fn bytes_that_are_no_utf8_spoil_their_line_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seeds.txt");
        fs::write(&file, b"wss://a.com\n\xff\xfe\xfd\nwss://b.com\n").unwrap();
        let seeds = parse(&read(file.to_str().unwrap()).unwrap(), AddressPolicy::default());
        assert_eq!((seeds.urls.len(), seeds.refused), (2, 1));
    }
}
