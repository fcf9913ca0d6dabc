//! NIP-45: how many events match. Advisory: a relay may count what it would not serve.
use serde::Deserialize;

/// The answer to a COUNT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many events.
    pub count: u64,
    /// Whether the relay says that it guessed.
    pub approximate: bool,
}

impl Count {
    /// Reads the object of a `COUNT` message; `None` if it holds no plain count.
    pub fn from_json(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Object {
            count: u64,
            #[serde(default)]
            approximate: bool,
        }
        let Object { count, approximate } = serde_json::from_str(json).ok()?;
        Some(Self { count, approximate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_counts_are_read() {
        let exact = Some(Count { count: 7, approximate: false });
        assert_eq!(Count::from_json(r#"{"count":7}"#), exact);
        assert_eq!(Count::from_json(r#"{"hll":"00","count":7}"#), exact);
        assert_eq!(Count::from_json(r#"{"count":7,"approximate":true}"#), Some(Count { count: 7, approximate: true }));
        for bad in ["{}", r#"{"count":-1}"#, r#"{"count":"7"}"#, r#"{"count":1.5}"#, "[]", ""] {
            assert_eq!(Count::from_json(bad), None, "{bad}");
        }
    }
}
