//! Is this a Nostr relay? What is asked, and which answers prove it.

use bigbrotr_models::{Event, EventError};
use bigbrotr_nips::nip01::{ClientMessage, RelayMessage};
use rand::Rng;

/// Few relays hold no notes, and the newest one is short.
const FILTER: &str = r#"{"kinds":[1],"limit":1}"#;
/// Characters of a relay's own words that are kept.
const WORDS: usize = 200;

/// Reads answers until one proves that the other side speaks Nostr.
#[derive(Debug)]
pub struct Examiner {
    sub: String,
    messages: usize,
    notice: Option<String>,
    is_echo: bool,
}

impl Examiner {
    /// With a subscription id that only somebody who reads our request can know.
    pub fn new() -> Self {
        let secret: u128 = rand::rng().random();
        Self { sub: format!("{secret:032x}"), messages: 0, notice: None, is_echo: false }
    }

    /// The text frame to send.
    pub fn request(&self) -> String {
        ClientMessage::Req { sub: &self.sub, filter: FILTER }.to_json()
    }

    /// Whether this text frame is proof: an answer to our very request, or a NIP-42 challenge. What an echo, a chat or a
    /// status feed would send is none, and neither is a NOTICE, which many things send.
    pub fn proves(&mut self, text: &str) -> bool {
        self.messages += 1;
        match RelayMessage::parse(text) {
            Ok(RelayMessage::Event { sub, event_json }) => sub == self.sub && looks_like_an_event(event_json),
            Ok(RelayMessage::Eose { sub, .. } | RelayMessage::Closed { sub, .. }) => sub == self.sub,
            Ok(RelayMessage::Auth { challenge }) => !challenge.is_empty(),
            Ok(RelayMessage::Notice { message }) => {
                self.notice = Some(message.chars().filter(|c| !c.is_control()).take(WORDS).collect());
                false
            }
            _ => {
                self.is_echo |= text == self.request();
                false
            }
        }
    }

    /// Whether our request came back, which no relay would send.
    pub fn is_echo(&self) -> bool {
        self.is_echo
    }

    /// A binary message, which no relay would send.
    pub fn binary(&mut self) {
        self.messages += 1;
    }

    /// Messages read.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// What was said instead of a proof.
    pub fn summary(&self) -> String {
        if self.is_echo {
            return "sends back what it gets".to_owned();
        }
        match (&self.notice, self.messages) {
            (Some(notice), _) => format!("only a NOTICE: {notice}"),
            (None, 0) => "no message".to_owned(),
            (None, 1) => "one message, no answer to the request".to_owned(),
            (None, messages) => format!("{messages} messages, no answer to the request"),
        }
    }
}

/// Every field is there in its form. Whether id and signature are right is for whoever archives it.
fn looks_like_an_event(json: &str) -> bool {
    matches!(Event::from_json(json.as_bytes()), Ok(_) | Err(EventError::BadId))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examiner() -> Examiner {
        Examiner { sub: "secret".into(), messages: 0, notice: None, is_echo: false }
    }

    fn event(sub: &str) -> String {
        let (id, sig) = ("0".repeat(64), "0".repeat(128));
        format!(
            r#"["EVENT","{sub}",{{"id":"{id}","pubkey":"{id}","created_at":1,"kind":1,"tags":[],"content":"","sig":"{sig}"}}]"#
        )
    }

    #[test]
    fn an_answer_to_our_request_or_a_challenge_is_proof() {
        for text in [
            r#"["EOSE","secret"]"#,
            r#"["EOSE","secret","finish"]"#,
            r#"["CLOSED","secret","auth-required: who are you?"]"#,
            r#"["CLOSED","secret"]"#,
            r#"["AUTH","challenge"]"#,
            &event("secret"),
        ] {
            assert!(examiner().proves(text), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        let mut echo = examiner();
        assert!(!echo.proves(r#"["REQ","other",{}]"#) && !echo.is_echo());
        assert!(!echo.proves(&echo.request()) && echo.is_echo());
        for text in [
            r#"["EOSE","other"]"#,
            r#"["EOSE"]"#,
            r#"["CLOSED","other","x"]"#,
            r#"["AUTH",""]"#,
            r#"["AUTH",{"kind":22242}]"#,
            r#"["NOTICE","secret"]"#,
            r#"["OK","secret",true,""]"#,
            r#"["REQ","secret",{"kinds":[1],"limit":1}]"#,
            r#"["REQ","secret",["EOSE","secret"]]"#,
            r#"["EOSE",["secret"]]"#,
            r#"["EOSE",{"id":"secret"}]"#,
            r#"["eose","secret"]"#,
            r#"["CLOSED",null,"secret"]"#,
            r#"[["EOSE","secret"]]"#,
            r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"secret"},"id":null}"#,
            r#"{"type":"EOSE","id":"secret"}"#,
            r#"42["EOSE","secret"]"#,
            r#"["COUNT","secret",{"count":1}]"#,
            r#"["EVENT","secret",{}]"#,
            r#"["EVENT","secret",{"kinds":[1],"limit":1}]"#,
            r#"["EVENT","secret","text"]"#,
            r#"{"EOSE":"secret"}"#,
            "EOSE secret",
            "<!doctype html>",
            "",
            &event("other"),
        ] {
            assert!(!examiner().proves(text), "{text}");
        }
    }

    #[test]
    fn the_subscription_id_differs_each_time_and_is_short_enough() {
        let (a, b) = (Examiner::new(), Examiner::new());
        assert_ne!(a.sub, b.sub);
        assert_eq!(a.sub.len(), 32);
        assert!(a.request().contains(&a.sub));
    }

    #[test]
    fn a_notice_is_quoted_without_control_characters_and_cut() {
        let mut examiner = examiner();
        assert_eq!(examiner.summary(), "no message");
        examiner.proves(&format!(r#"["NOTICE","a\u0000b\n{}"]"#, "c".repeat(1000)));
        assert!(examiner.summary().starts_with("only a NOTICE: abc"));
        assert!(examiner.summary().len() < 300);
    }
}
