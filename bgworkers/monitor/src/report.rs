//! Counts of a cycle, for `stat_cycles.detail`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::checks::Checks;
use crate::checks::write::Written;

/// What a stretch of the pool's work came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Checks recorded.
    pub checked: u64,
    /// Of them good.
    pub ok: u64,
    /// The others by `error_class`.
    pub failed: BTreeMap<&'static str, u64>,
    /// NIP-11 documents read.
    pub documents: u64,
    /// Answers without a document.
    pub no_document: u64,
    /// Bodies that went to quarantine.
    pub quarantined: u64,
    /// Documents of the other checks, by their type.
    pub facts: BTreeMap<&'static str, u64>,
    /// Events relays accepted.
    pub written: u64,
    /// Events they did not.
    pub write_refused: u64,
    /// Relays not written to because of what their NIP-11 document says, or because it is not known.
    pub write_not_tried: u64,
    /// Checks put off because their host was busy.
    pub deferred: u64,
    /// Outcomes the database refused.
    pub unrecorded: u64,
}

impl Report {
    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        self.checked += other.checked;
        self.ok += other.ok;
        for (class, count) in &other.failed {
            *self.failed.entry(class).or_default() += count;
        }
        self.documents += other.documents;
        self.no_document += other.no_document;
        self.quarantined += other.quarantined;
        for (kind, count) in &other.facts {
            *self.facts.entry(kind).or_default() += count;
        }
        self.written += other.written;
        self.write_refused += other.write_refused;
        self.write_not_tried += other.write_not_tried;
        self.deferred += other.deferred;
        self.unrecorded += other.unrecorded;
    }

    /// Counts what became of an event.
    pub fn wrote(&mut self, written: &Written) {
        match written {
            Written::Accepted(_) => self.written += 1,
            Written::Refused(_) => self.write_refused += 1,
            Written::NotTried(_) => self.write_not_tried += 1,
        }
    }

    /// Leaves only what is known without its documents.
    pub fn forget_bodies(&mut self) {
        (self.documents, self.quarantined) = (0, 0);
        self.facts.clear();
    }

    /// For `stat_cycles.detail`, with the checks that are done and those that are off.
    pub fn detail(&self, checks: Checks, off: &BTreeMap<&'static str, String>) -> Value {
        json!({
            "checks": checks.names(),
            "off": off,
            "checked": self.checked,
            "ok": self.ok,
            "failed": self.failed,
            "documents": self.documents,
            "no_document": self.no_document,
            "quarantined": self.quarantined,
            "facts": self.facts,
            "written": self.written,
            "write_refused": self.write_refused,
            "write_not_tried": self.write_not_tried,
            "deferred": self.deferred,
            "unrecorded": self.unrecorded,
        })
    }

    /// An idle look is not.
    pub fn is_worth_a_row(&self) -> bool {
        self.checked + self.unrecorded > 0
    }
}
