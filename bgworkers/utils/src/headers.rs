//! A bounded copy of a stranger's response headers.

use tokio_tungstenite::tungstenite::http::HeaderMap;

/// Header lines kept; more are dropped.
pub(crate) const MAX_HEADERS: usize = 128;
/// Bytes kept of one value; more are cut.
const MAX_VALUE: usize = 4096;

/// Response headers in the order received: names in lower case, values as text (bytes that are no UTF-8 become U+FFFD).
/// At most 128 lines of at most 4 KiB each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of `name` (lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of `name` (lower case).
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Does a comma-separated header hold `token`, whatever its case?
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        if self.0.len() < MAX_HEADERS {
            let value = value.get(..MAX_VALUE).unwrap_or(value);
            self.0.push((name.to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned()));
        }
    }
}

impl From<&HeaderMap> for Headers {
    fn from(map: &HeaderMap) -> Self {
        let mut headers = Self::default();
        for (name, value) in map {
            headers.push(name.as_str(), value.as_bytes());
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_lists_and_repeated_lines() {
        let mut headers = Headers::default();
        headers.push("Connection", b"keep-alive, Upgrade");
        assert!(headers.has_token("connection", "upgrade"));
        assert!(!headers.has_token("connection", "close"));
        headers.push("connection", b"close");
        assert!(headers.has_token("connection", "close"));
    }

    #[test]
    fn lines_and_values_are_bounded() {
        let mut headers = Headers::default();
        for _ in 0..1000 {
            headers.push("x", &[b'a'; 10_000]);
        }
        assert_eq!(headers.iter().count(), MAX_HEADERS);
        assert_eq!(headers.get("x").map(str::len), Some(MAX_VALUE));
    }
}
