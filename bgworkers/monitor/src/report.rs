//! Counts of a cycle, for `stat_cycles.detail`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

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
        self.deferred += other.deferred;
        self.unrecorded += other.unrecorded;
    }

    /// For `stat_cycles.detail`.
    pub fn detail(&self) -> Value {
        json!({
            "checked": self.checked,
            "ok": self.ok,
            "failed": self.failed,
            "documents": self.documents,
            "no_document": self.no_document,
            "quarantined": self.quarantined,
            "deferred": self.deferred,
            "unrecorded": self.unrecorded,
        })
    }

    /// An idle look is not.
    pub fn is_worth_a_row(&self) -> bool {
        self.checked + self.unrecorded > 0
    }
}
