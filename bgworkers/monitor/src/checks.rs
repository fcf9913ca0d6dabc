//! The checks whose outcome is a document: what each makes of what was seen of a relay.

pub mod dns;
pub mod geo;
pub mod http;
pub mod net;
pub mod ssl;
pub mod write;

use bigbrotr_core::Config;
use bigbrotr_models::Document;
use serde_json::{Map, Value};

/// Which checks are chosen by `bigbrotr.monitor_checks`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    /// NIP-11 documents.
    pub nip11: bool,
    /// Round-trip times.
    pub rtt: bool,
    /// Certificates.
    pub ssl: bool,
    /// DNS records.
    pub dns: bool,
    /// Places of addresses.
    pub geo: bool,
    /// Owners of addresses.
    pub net: bool,
    /// Headers of the upgrade.
    pub http: bool,
}

impl Checks {
    /// The ones chosen.
    pub fn chosen(config: &Config) -> Self {
        let wants = |name: &str| config.monitor_checks.iter().any(|check| check.trim().eq_ignore_ascii_case(name));
        Self {
            nip11: wants("nip11"),
            rtt: wants("rtt"),
            ssl: wants("ssl"),
            dns: wants("dns"),
            geo: wants("geo"),
            net: wants("net"),
            http: wants("http"),
        }
    }

    /// Any at all.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a WebSocket has to be opened: one serves all checks that look at it.
    pub fn need_socket(&self) -> bool {
        self.rtt || self.ssl || self.http
    }

    /// Whether addresses have to be known.
    pub fn need_addresses(&self) -> bool {
        self.geo || self.net
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            ("nip11", self.nip11),
            ("rtt", self.rtt),
            ("ssl", self.ssl),
            ("dns", self.dns),
            ("geo", self.geo),
            ("net", self.net),
            ("http", self.http),
        ];
        all.into_iter().filter(|(_, chosen)| *chosen).map(|(name, _)| name).collect()
    }
}

/// A document of a check, ready for `metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// `metadata.type`.
    pub kind: &'static str,
    /// SHA-256 of the canonical JSON.
    pub id: [u8; 32],
    /// The JSON `jsonb` can hold.
    pub data: String,
}

impl Fact {
    /// A fact of these members; `None` if there is none, or they are no JSON.
    pub fn new(kind: &'static str, members: Members) -> Option<Self> {
        if members.0.is_empty() {
            return None;
        }
        let document = Document::from_json(&Value::Object(members.0).to_string()).ok()?;
        Some(Self { kind, id: *document.id(), data: document.json().to_owned() })
    }
}

/// Members of a document. Keys of unknown values are absent; texts lose U+0000.
#[derive(Debug, Default)]
pub struct Members(Map<String, Value>);

impl Members {
    /// Adds a member if its value is known.
    pub fn set(&mut self, key: &str, value: Option<impl Into<Value>>) {
        let value = match value.map(Into::into) {
            None | Some(Value::Null) => return,
            Some(Value::String(text)) if text.is_empty() => return,
            Some(Value::String(text)) => Value::String(clean(text)),
            Some(value) => value,
        };
        self.0.insert(key.to_owned(), value);
    }

    /// Adds a list unless it is empty.
    pub fn list(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<Value> = values.into_iter().map(|text| Value::String(clean(text))).collect();
        if !values.is_empty() {
            self.0.insert(key.to_owned(), Value::Array(values));
        }
    }
}

fn clean(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

#[cfg(test)]
mod tests;
