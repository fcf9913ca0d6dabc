//! What a client says.

/// A message to a relay. Filters and events are JSON text already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// `["REQ", sub, filter]`: one filter, so that its `limit` means something.
    Req {
        /// Subscription id, 1–64 characters.
        sub: &'a str,
        /// A JSON object.
        filter: &'a str,
    },
    /// `["CLOSE", sub]`.
    Close {
        /// Subscription id.
        sub: &'a str,
    },
    /// `["EVENT", event]`.
    Event {
        /// A JSON object.
        event: &'a str,
    },
    /// `["AUTH", event]` (NIP-42).
    Auth {
        /// A JSON object of kind 22242.
        event: &'a str,
    },
    /// `["COUNT", query, filter]` (NIP-45).
    Count {
        /// Query id, 1–64 characters.
        query: &'a str,
        /// A JSON object.
        filter: &'a str,
    },
    /// `["NEG-OPEN", sub, filter, message]` (NIP-77). Its ids are apart from those of REQ.
    NegOpen {
        /// Subscription id, 1–64 characters.
        sub: &'a str,
        /// A JSON object; without `limit`.
        filter: &'a str,
        /// The opening message in hex.
        message: &'a str,
    },
    /// `["NEG-MSG", sub, message]` (NIP-77).
    NegMsg {
        /// Subscription id.
        sub: &'a str,
        /// The message in hex.
        message: &'a str,
    },
    /// `["NEG-CLOSE", sub]` (NIP-77).
    NegClose {
        /// Subscription id.
        sub: &'a str,
    },
}

impl ClientMessage<'_> {
    /// The text frame.
    pub fn to_json(&self) -> String {
        match self {
            Self::Req { sub, filter } => format!(r#"["REQ",{},{filter}]"#, quoted(sub)),
            Self::Close { sub } => format!(r#"["CLOSE",{}]"#, quoted(sub)),
            Self::Event { event } => format!(r#"["EVENT",{event}]"#),
            Self::Auth { event } => format!(r#"["AUTH",{event}]"#),
            Self::Count { query, filter } => format!(r#"["COUNT",{},{filter}]"#, quoted(query)),
            Self::NegOpen { sub, filter, message } => {
                format!(r#"["NEG-OPEN",{},{filter},{}]"#, quoted(sub), quoted(message))
            }
            Self::NegMsg { sub, message } => format!(r#"["NEG-MSG",{},{}]"#, quoted(sub), quoted(message)),
            Self::NegClose { sub } => format!(r#"["NEG-CLOSE",{}]"#, quoted(sub)),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_compact_and_escaped() {
        assert_eq!(
            ClientMessage::Req { sub: "a\"b", filter: r#"{"limit":1}"# }.to_json(),
            r#"["REQ","a\"b",{"limit":1}]"#
        );
        assert_eq!(ClientMessage::Close { sub: "s" }.to_json(), r#"["CLOSE","s"]"#);
        assert_eq!(ClientMessage::Event { event: "{}" }.to_json(), r#"["EVENT",{}]"#);
        assert_eq!(ClientMessage::Auth { event: "{}" }.to_json(), r#"["AUTH",{}]"#);
        assert_eq!(ClientMessage::Count { query: "q", filter: "{}" }.to_json(), r#"["COUNT","q",{}]"#);
        let open = ClientMessage::NegOpen { sub: "n", filter: r#"{"since":1}"#, message: "6100000200" };
        assert_eq!(open.to_json(), r#"["NEG-OPEN","n",{"since":1},"6100000200"]"#);
        assert_eq!(ClientMessage::NegMsg { sub: "n", message: "61" }.to_json(), r#"["NEG-MSG","n","61"]"#);
        assert_eq!(ClientMessage::NegClose { sub: "n" }.to_json(), r#"["NEG-CLOSE","n"]"#);
    }
}
