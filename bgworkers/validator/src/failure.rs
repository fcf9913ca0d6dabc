//! Why a candidate gave no proof.

use std::fmt;

use bigbrotr_utils::DialError;

/// A class to count by, words to read, and whether it is worth coming back soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// As `relay_check.error_class`.
    pub class: &'static str,
    /// In words, without control characters.
    pub text: String,
    /// Of a kind that does not pass within minutes: the next tries are hours and days away.
    pub is_lasting: bool,
}

impl Failure {
    /// One that may pass.
    pub fn new(class: &'static str, text: impl Into<String>) -> Self {
        Self { class, text: text.into(), is_lasting: false }
    }

    /// One that will not soon.
    pub fn lasting(class: &'static str, text: impl Into<String>) -> Self {
        Self { class, text: text.into(), is_lasting: true }
    }

    /// The candidate had no part in it: its network was switched off after it was claimed, or this machine had no place or
    /// descriptor left for it.
    pub fn is_ours(&self) -> bool {
        matches!(self.class, "network_off" | "busy")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.text)
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        let class = error.class();
        let said = error.to_string();
        // The class need not be said twice.
        let text = ["DNS: ", "TCP: ", "TLS: ", "HTTP: "].iter().find_map(|prefix| said.strip_prefix(prefix));
        Self { class, text: text.unwrap_or(&said).to_owned(), is_lasting: is_lasting(&error) }
    }
}

/// Decided by somebody, not by an accident of the moment.
fn is_lasting(error: &DialError) -> bool {
    match error {
        DialError::NameNotFound(_)
        | DialError::RefusedAddress { .. }
        | DialError::RefusedName(_)
        | DialError::RedirectRefused(_)
        | DialError::TooManyRedirects(_)
        | DialError::Upgrade(_) => true,
        // A page, a redirect, "not here". Not: overloaded, too early, too often.
        DialError::HttpStatus { status, .. } => *status < 500 && !matches!(status, 408 | 425 | 429),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigbrotr_models::Network;
    use std::time::Duration;

    fn status(status: u16) -> DialError {
        DialError::HttpStatus { status, content_type: Some("text/html".into()), location: None }
    }

    #[test]
    fn what_somebody_decided_lasts_and_what_happens_passes() {
        for error in [DialError::NameNotFound("nos.lol".into()), status(200), status(301), status(404), status(410)] {
            assert!(Failure::from(error.clone()).is_lasting, "{error}");
        }
        let stage = bigbrotr_utils::Stage::Tcp;
        for error in [
            DialError::Dns("no resolver answers".into()),
            DialError::Tcp("connection refused".into()),
            DialError::Timeout { stage, after: Duration::from_secs(10) },
            DialError::Disconnected,
            status(429),
            status(502),
        ] {
            assert!(!Failure::from(error.clone()).is_lasting, "{error}");
        }
    }

    #[test]
    fn what_this_machine_lacks_is_no_failure_of_the_candidate() {
        for error in [DialError::NoDescriptor, DialError::Busy("192.0.2.1".into()), DialError::NetworkOff(Network::Tor)]
        {
            assert!(Failure::from(error.clone()).is_ours(), "{error}");
        }
        assert!(!Failure::from(DialError::Tcp("connection refused".into())).is_ours());
    }

    #[test]
    fn the_class_is_said_once() {
        for (error, wanted) in [
            (DialError::Tcp("connection refused".into()), "tcp: connection refused"),
            (DialError::Dns("refused".into()), "dns: refused"),
            (DialError::NameNotFound("nos.lol".into()), "dns: nos.lol has no address"),
            (DialError::Http("malformed answer".into()), "http: malformed answer"),
            (status(404), "http: HTTP 404 (text/html) instead of a WebSocket"),
        ] {
            assert_eq!(Failure::from(error).to_string(), wanted);
        }
    }
}
