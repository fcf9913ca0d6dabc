//! Lower-case hexadecimal, the only form NIP-01 allows.

const DIGITS: &[u8; 16] = b"0123456789abcdef";
const BAD: u8 = 0xff;
/// Value of each byte as a lower-case hex digit, `BAD` for every other byte.
const VALUES: [u8; 256] = {
    let mut table = [BAD; 256];
    let mut value = 0;
    while value < 16 {
        table[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    table
};

/// Exactly `2 * N` lower-case hex digits as bytes; anything else (upper case, other lengths) is `None`.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    // Errors are gathered in `seen` rather than tested per digit, which keeps the loop free of branches.
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| VALUES[digit as usize]);
        seen |= high | low;
        *byte = (high << 4) | (low & 0x0f);
    }
    (seen <= 0x0f).then_some(bytes)
}

/// `bytes` in lower-case hex.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(bytes.iter().flat_map(|&byte| digits(byte).map(char::from)));
    text
}

/// Appends `bytes` in lower-case hex.
pub(crate) fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().flat_map(|&byte| digits(byte)));
}

fn digits(byte: u8) -> [u8; 2] {
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 0x0f) as usize]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_every_byte() {
        let all: [u8; 256] = std::array::from_fn(|i| i as u8);
        assert_eq!(decode::<256>(&encode(&all)), Some(all));
        let mut pushed = Vec::new();
        push(&mut pushed, &all);
        assert_eq!(pushed, encode(&all).into_bytes());
    }

    #[test]
    fn refuses_other_digits_and_lengths() {
        assert_eq!(decode::<2>("0aff"), Some([0x0a, 0xff]));
        for bad in ["", "0af", "0afff", "0AFF", "0aFf", "0agf", " 0af", "0xff", "é\u{0}a", "0a\u{0}f"] {
            assert_eq!(decode::<2>(bad), None, "{bad:?}");
        }
    }
}
