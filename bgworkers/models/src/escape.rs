//! JSON strings with the escapes of NIP-01, in the forms that serializers in the field give the remaining controls; and JSON
//! texts without escapes that no UTF-8 text, or no text of PostgreSQL, can hold.

use std::borrow::Cow;

/// How U+0000–U+001F other than `\b \t \n \f \r`, and U+007F, are written. Everything else never differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controls {
    /// `\u001b`, DEL as it is: what most implementations do.
    Lower,
    /// As they are: the letter of NIP-01.
    Verbatim,
    /// `\u001b`, and DEL as `\u007f`.
    LowerAndDel,
    /// `\u001B`, DEL as it is.
    Upper,
}

const PLAIN: u8 = 0;
const CONTROL: u8 = 1;
const DEL: u8 = 2;
/// What each byte asks for: nothing, the letter of its short escape, or a decision by form.
const CLASS: [u8; 256] = {
    let mut table = [PLAIN; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = CONTROL;
        byte += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[0x7f] = DEL;
    table
};

/// Appends `text` as a JSON string, quotes included. Returns whether it held a character that the forms write differently.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str, controls: Controls) -> bool {
    let bytes = text.as_bytes();
    let mut differs = false;
    let mut copied = 0;
    out.push(b'"');
    for (at, &byte) in bytes.iter().enumerate() {
        let class = CLASS[byte as usize];
        if class == PLAIN {
            continue;
        }
        let digits = match (class, controls) {
            (CONTROL | DEL, _) => {
                differs = true;
                match (class, controls) {
                    (_, Controls::Verbatim) => continue,
                    (DEL, Controls::LowerAndDel) => b"0123456789abcdef",
                    (DEL, _) => continue,
                    (_, Controls::Upper) => b"0123456789ABCDEF",
                    _ => b"0123456789abcdef",
                }
            }
            _ => {
                out.extend_from_slice(&bytes[copied..at]);
                out.extend_from_slice(&[b'\\', class]);
                copied = at + 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[copied..at]);
        let (high, low) = (digits[(byte >> 4) as usize], digits[(byte & 0x0f) as usize]);
        out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        copied = at + 1;
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
    differs
}

/// A JSON text with U+FFFD for the escapes that `text` and `jsonb` refuse: `\u0000`, and lone surrogates. What is no JSON stays none.
pub fn without_nul(json: &str) -> Cow<'_, str> {
    mended(json, |unit| unit == 0)
}

/// Makes the strings of what is nearly JSON valid: raw control characters, which somebody forgot to escape, are escaped, and U+FFFD
/// stands for each escape of a lone surrogate, which no Unicode text can hold. One bad string is no reason to do without the rest.
pub fn repaired(json: &str) -> Cow<'_, str> {
    let json = mended(json, |_| false);
    let (mut in_string, mut escaped) = (false, false);
    let mut out = String::new();
    let mut copied = 0;
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            0..0x20 if in_string => {
                out.push_str(json.get(copied..at).unwrap_or_default());
                out.push_str(&format!("\\u{byte:04x}"));
                copied = at + 1;
            }
            _ => {}
        }
    }
    if copied == 0 {
        return json;
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

fn mended(json: &str, is_bad: impl Fn(u16) -> bool) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        let start = at + found;
        // A backslash and the one character it is for: `\\u0000` is a backslash and five characters.
        at = start + 1 + json.get(start + 1..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let Some(unit) = unit_at(json, start) else { continue };
        at = start + 6;
        let is_paired = matches!(unit, 0xd800..=0xdbff) && matches!(unit_at(json, at), Some(0xdc00..=0xdfff));
        if is_paired {
            at += 6;
        } else if matches!(unit, 0xd800..=0xdfff) || is_bad(unit) {
            out.push_str(json.get(copied..start).unwrap_or_default());
            out.push('\u{FFFD}');
            copied = at;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// The UTF-16 unit of the escape (`\u` and four hex digits) that begins here.
fn unit_at(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

/// The text written by the functions that only ever append whole characters.
pub(crate) fn into_string(out: Vec<u8>) -> String {
    debug_assert!(std::str::from_utf8(&out).is_ok());
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str, controls: Controls) -> (String, bool) {
        let mut out = Vec::new();
        let differs = push_string(&mut out, text, controls);
        (into_string(out), differs)
    }

    #[test]
    fn escapes_that_no_text_can_hold_are_replaced_and_nothing_else_is() {
        for (json, wanted) in [
            (r#"{"a":"b\u0000c"}"#, "{\"a\":\"b\u{FFFD}c\"}"),
            (r#""\\u0000""#, r#""\\u0000""#),
            (r#""\\\u0000""#, "\"\\\\\u{FFFD}\""),
            (r#""\ud800""#, "\"\u{FFFD}\""),
            (r#""\uDC00x""#, "\"\u{FFFD}x\""),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, "\"\u{FFFD}\\ud83d\\ude00\""),
            (r#""\ude00\ud83d""#, "\"\u{FFFD}\u{FFFD}\""),
            (r#""\ud83d\\ude00""#, "\"\u{FFFD}\\\\ude00\""),
            (r#""\u00e9\n\é""#, r#""\u00e9\n\é""#),
            (r#""\u+041""#, r#""\u+041""#),
            (r#""\ud8"#, r#""\ud8"#),
            ("\"\\ué00\"", "\"\\ué00\""),
            ("\\", "\\"),
            ("", ""),
        ] {
            assert_eq!(without_nul(json), wanted, "{json}");
        }
        assert_eq!(repaired(r#""\u0000\ud800""#), "\"\\u0000\u{FFFD}\"");
    }

    #[test]
    fn raw_controls_in_strings_are_escaped_and_those_between_them_are_white_space() {
        for (json, wanted) in [
            ("{\n\"a\":\t\"b\nc\\\"\0\"}", "{\n\"a\":\t\"b\\u000ac\\\"\\u0000\"}"),
            ("\"a\\\u{1}\"", "\"a\\\u{1}\""),
            ("\"é\u{1f}\u{7f}\"", "\"é\\u001f\u{7f}\""),
            ("{}", "{}"),
        ] {
            assert_eq!(repaired(json), wanted, "{json:?}");
        }
    }

    #[test]
    fn the_seven_short_escapes_are_the_same_in_every_form() {
        for form in [Controls::Lower, Controls::Verbatim, Controls::LowerAndDel, Controls::Upper] {
            let (json, differs) = string("\u{8}\t\n\u{c}\r\"\\/<>&'é\u{2028}\u{feff}😀", form);
            assert_eq!(json, "\"\\b\\t\\n\\f\\r\\\"\\\\/<>&'é\u{2028}\u{feff}😀\"");
            assert!(!differs);
        }
    }

    #[test]
    fn other_controls_follow_the_form() {
        let text = "a\u{0}\u{1b}\u{7f}b";
        assert_eq!(string(text, Controls::Lower), ("\"a\\u0000\\u001b\u{7f}b\"".into(), true));
        assert_eq!(string(text, Controls::Verbatim), ("\"a\u{0}\u{1b}\u{7f}b\"".into(), true));
        assert_eq!(string(text, Controls::LowerAndDel), ("\"a\\u0000\\u001b\\u007fb\"".into(), true));
        assert_eq!(string(text, Controls::Upper), ("\"a\\u0000\\u001B\u{7f}b\"".into(), true));
    }
}
