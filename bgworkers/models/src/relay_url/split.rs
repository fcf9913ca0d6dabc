//! From a text to the pieces that might be URLs. Everything here looks at each character a bounded number of times.

/// What is trimmed without a trace: white space, controls and characters without width.
fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '«' | '»' | '‹' | '›')
}

/// `text` without the white space around it.
pub(super) fn trim_space(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `text` without the white space, quotes, brackets and punctuation around it, plain or percent-encoded.
pub(super) fn trim(mut text: &str) -> &str {
    loop {
        let before = text.len();
        text = trim_space(text);
        text = text.trim_start_matches(|c| is_quote(c) || matches!(c, '<' | '(' | '{'));
        text = text.trim_end_matches(|c| is_quote(c) || matches!(c, '>' | ')' | '}' | ',' | ';' | '|' | '!'));
        while let Some((rest, [b'%', high, low])) = text.as_bytes().split_last_chunk::<3>()
            && matches!(
                (high, low.to_ascii_uppercase()),
                (b'0', b'0' | b'9' | b'A' | b'D') | (b'2', b'0' | b'2' | b'C')
            )
        {
            // `%` and two digits are three characters, so this is a character boundary.
            text = text.get(..rest.len()).unwrap_or_default();
        }
        if text.len() == before {
            return text;
        }
    }
}

/// Length of `ws://` or `wss://` if `text` begins with it, in any case.
pub(super) fn scheme_length(text: &str) -> Option<usize> {
    let begins =
        |scheme: &[u8]| text.as_bytes().get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    [&b"ws://"[..], b"wss://"].into_iter().find(|scheme| begins(scheme)).map(<[u8]>::len)
}

fn is_separator(c: char) -> bool {
    matches!(c, ',' | '|') || c.is_whitespace() || c.is_control()
}

/// Whether `text` is more than one piece.
pub(super) fn is_cut(text: &str) -> bool {
    Pieces(text).nth(1).is_some()
}

/// The trimmed pieces of `text` worth parsing: the only one whatever it is, but of several only those with a scheme.
pub(super) fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let text = trim(text);
    let several = is_cut(text);
    Pieces(text)
        .filter(move |piece| !several || scheme_length(piece).is_some())
        .map(trim)
        .filter(|piece| !piece.is_empty() && *piece != "/" && scheme_length(piece) != Some(piece.len()))
}

/// The non-empty pieces between separators and before every scheme.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start_matches(is_separator);
        let first = text.chars().next()?;
        let end = text
            .char_indices()
            .skip(1)
            .find(|&(at, c)| is_separator(c) || (matches!(c, 'w' | 'W') && scheme_length(&text[at..]).is_some()))
            .map_or(text.len(), |(at, _)| at);
        debug_assert!(end >= first.len_utf8());
        let (piece, rest) = text.split_at_checked(end)?;
        self.0 = rest;
        Some(piece)
    }
}
