//! Strings as one text, with hexadecimal digits taken out.

use crate::hex;
use std::cell::RefCell;

const ELEMENT_END: u8 = 0xfe;
const TAG_END: u8 = 0xfd;
const TAGS_END: u8 = 0xfc;
const HASH: u8 = 0xf8;
const HEX: u8 = 0xf9;

/// Bytes of a hash: ids, keys.
const HASH_BYTES: usize = 32;
/// Digits from which taking them out is worth its marker.
const LEAST_DIGITS: usize = 32;

/// What an event's strings become.
#[derive(Default)]
pub(super) struct Written {
    pub text: Vec<u8>,
    pub binary: Vec<u8>,
}

thread_local! {
    /// Kept from event to event: two allocations less for each.
    static BUFFERS: RefCell<Written> = RefCell::default();
}

/// Writes tags and content and shows them to `read`.
pub(super) fn with_written<T>(tags: &[Vec<String>], content: &str, read: impl FnOnce(&Written) -> T) -> T {
    BUFFERS.with_borrow_mut(|written| {
        written.text.clear();
        written.binary.clear();
        written.event(tags, content);
        let outcome = read(written);
        // A single huge event must not stay in memory for the rest of the session.
        if written.text.capacity() + written.binary.capacity() > 1 << 17 {
            *written = Written::default();
        }
        outcome
    })
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl Written {
    fn event(&mut self, tags: &[Vec<String>], content: &str) {
        for tag in tags {
            for (place, element) in tag.iter().enumerate() {
                if place > 0 {
                    self.text.push(ELEMENT_END);
                }
                self.string(element.as_bytes());
            }
            self.text.push(TAG_END);
        }
        self.text.push(TAGS_END);
        self.string(content.as_bytes());
    }

    fn string(&mut self, mut rest: &[u8]) {
        while rest.len() >= LEAST_DIGITS {
            let Some(run) = find_run(rest) else { break };
            let (before, from) = rest.split_at(run.0);
            let (digits, after) = from.split_at(run.1);
            self.text.extend_from_slice(before);
            self.digits(digits);
            rest = after;
        }
        self.text.extend_from_slice(rest);
    }

    /// A run of digits; what does not make whole bytes, or too few of them, stays text.
    fn digits(&mut self, digits: &[u8]) {
        let mut rest = digits;
        while let Some((hash, after)) = rest.split_at_checked(2 * HASH_BYTES) {
            self.text.push(HASH);
            self.bytes(hash);
            rest = after;
        }
        let even = rest.len() & !1;
        if even >= LEAST_DIGITS {
            let (digits, after) = rest.split_at(even);
            self.text.push(HEX);
            self.text.push((even / 2) as u8);
            self.bytes(digits);
            rest = after;
        }
        self.text.extend_from_slice(rest);
    }

    fn bytes(&mut self, digits: &[u8]) {
        let value = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
        self.binary.extend(digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])));
    }
}

/// Start and length of the first run of at least [`LEAST_DIGITS`] digits. Looks at every place a run of that length must
/// cover, and only there.
fn find_run(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut probe = LEAST_DIGITS - 1;
    while probe < bytes.len() {
        if is_digit(bytes[probe]) {
            let start = bytes[..probe].iter().rposition(|byte| !is_digit(*byte)).map_or(0, |last| last + 1);
            let end = bytes[probe..].iter().position(|byte| !is_digit(*byte)).map_or(bytes.len(), |more| probe + more);
            if end - start >= LEAST_DIGITS {
                return Some((start, end - start));
            }
            probe = end + LEAST_DIGITS;
        } else {
            probe += LEAST_DIGITS;
        }
    }
    None
}

/// Reads the text again.
pub(super) struct Reader<'a> {
    text: std::slice::Iter<'a, u8>,
    binary: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a [u8], binary: &'a [u8]) -> Self {
        Self { text: text.iter(), binary }
    }

    /// One string and the byte that ended it; `None` for the end of the text.
    fn string(&mut self) -> Option<(String, Option<u8>)> {
        let mut string = Vec::new();
        loop {
            let rest = self.text.as_slice();
            let plain = rest.iter().position(|byte| *byte >= HASH).unwrap_or(rest.len());
            let (before, from) = rest.split_at(plain);
            string.extend_from_slice(before);
            let marker = from.first().copied();
            self.text = from.get(1..).unwrap_or_default().iter();
            match marker {
                Some(HASH) => self.hex(&mut string, HASH_BYTES)?,
                Some(HEX) => {
                    let count = usize::from(*self.text.next()?);
                    self.hex(&mut string, count)?;
                }
                end => return Some((String::from_utf8(string).ok()?, end)),
            }
        }
    }

    fn hex(&mut self, string: &mut Vec<u8>, count: usize) -> Option<()> {
        let (bytes, rest) = self.binary.split_at_checked(count)?;
        hex::push(string, bytes);
        self.binary = rest;
        Some(())
    }

    pub fn tags(&mut self) -> Option<Vec<Vec<String>>> {
        let mut tags = Vec::new();
        let mut tag = Vec::new();
        loop {
            let (element, end) = self.string()?;
            match end? {
                ELEMENT_END => tag.push(element),
                TAG_END => {
                    tag.push(element);
                    tags.push(std::mem::take(&mut tag));
                }
                TAGS_END if tag.is_empty() && element.is_empty() => return Some(tags),
                _ => return None,
            }
        }
    }

    pub fn content(&mut self) -> Option<String> {
        // Only the marker of hexadecimal digits matters for what is passed over.
        loop {
            match *self.text.next()? {
                TAGS_END => break,
                HASH => self.binary = self.binary.get(HASH_BYTES..)?,
                HEX => {
                    let count = usize::from(*self.text.next()?);
                    self.binary = self.binary.get(count..)?;
                }
                _ => {}
            }
        }
        match self.string()? {
            (content, None) => Some(content),
            _ => None,
        }
    }
}
