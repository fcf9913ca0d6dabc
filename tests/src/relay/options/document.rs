//! What a relay serves over HTTP.

use std::time::Duration;

/// Something served over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// Further header lines, such as a `Location`.
    pub headers: Vec<(String, String)>,
    /// Body, as it is.
    pub body: Vec<u8>,
    /// Pause before the answer.
    pub delay: Duration,
}

impl Document {
    /// A NIP-11 document with this text.
    pub fn nip11(text: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            content_type: "application/nostr+json".into(),
            headers: Vec::new(),
            body: text.into(),
            delay: Duration::ZERO,
        }
    }

    /// An HTML page with this status.
    pub fn html(status: u16, text: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: "text/html; charset=utf-8".into(), ..Self::nip11(text) }
    }

    /// A valid NIP-11 document whose description fills it up to about this many bytes.
    pub fn huge(bytes: usize) -> Self {
        let mut text = String::from(r#"{"name":"huge","description":""#);
        text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len() + 2)));
        text.push_str("\"}");
        Self::nip11(text)
    }
}

impl Document {
    /// The default document, with these NIPs.
    pub fn with_nips(nips: &[u32]) -> Self {
        Self::nip11(format!(
            r#"{{"name":"test relay","description":"a relay for tests","software":"bigbrotr-tests","version":"0.1.0","supported_nips":{nips:?}}}"#,
        ))
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::with_nips(&[1, 11, 42, 45, 67])
    }
}
