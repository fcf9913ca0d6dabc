//! The elements of a JSON array as slices, without building a tree and without recursion.

/// How deep a message may nest: enough for any event, and for what surrounds it.
const MAX_DEPTH: usize = 64;
/// More elements than any message has.
pub(super) const MAX_ELEMENTS: usize = 16;

/// Skips JSON white space from `at`.
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// One past the closing quote of the string that opens at `at`.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// One past the value that begins at `at`. Brackets are matched; what is between them is left to whoever parses it.
fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => {
            let (mut at, mut depth) = (at, 0usize);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string_end(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
                if depth > MAX_DEPTH {
                    return None;
                }
            }
        }
        _ => {
            let mut end = at;
            while !matches!(bytes.get(end), None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')) {
                end += 1;
            }
            (end > at).then_some(end)
        }
    }
}

/// The raw elements of the array that is all of `text`; `None` if it is none, nests too deep or has too many.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    let mut out = Vec::with_capacity(4);
    if bytes.get(at) == Some(&b']') {
        return (skip_space(bytes, at + 1) == bytes.len()).then_some(out);
    }
    loop {
        let end = value_end(bytes, at)?;
        if out.len() == MAX_ELEMENTS {
            return None;
        }
        out.push(text.get(at..end)?);
        at = skip_space(bytes, end);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            b']' => return (skip_space(bytes, at + 1) == bytes.len()).then_some(out),
            _ => return None,
        }
    }
}

/// `sub` and the raw event of a message in the form nearly all relays send: `["EVENT","sub",{…}]` without white space
/// or escapes in the id. `None`: take the long way.
pub(super) fn event(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("[\"EVENT\",\"")?;
    let quote = rest.bytes().position(|byte| byte == b'"' || byte == b'\\')?;
    let (sub, rest) = (rest.get(..quote)?, rest.get(quote..)?);
    let json = rest.strip_prefix("\",")?.strip_suffix(']')?;
    // One object and nothing after it: an element more would leave the brackets unmatched at the end.
    (json.starts_with('{') && value_end(json.as_bytes(), 0) == Some(json.len())).then_some((sub, json))
}
