//! What a cycle did, by name, for `stat_cycles.detail`.

use std::collections::BTreeMap;

use bigbrotr_core::StoreError;
use serde_json::{Map, Value};

/// Counts of a cycle.
#[derive(Debug, Default)]
pub struct Counts {
    rows: BTreeMap<String, u64>,
    analyzed: Vec<String>,
}

impl Counts {
    /// Adds the numbers of a step that answers with a JSON object and says whether it wants to be called again (`more`).
    ///
    /// # Errors
    /// `Shape` for anything but an object.
    pub fn add_object(&mut self, json: &str) -> Result<bool, StoreError> {
        let Ok(Value::Object(object)) = serde_json::from_str(json) else {
            return Err(StoreError::Shape(format!("no JSON object: {}", json.chars().take(100).collect::<String>())));
        };
        for (name, value) in &object {
            if let Some(number) = value.as_u64() {
                self.add(name, number);
            }
        }
        Ok(object.get("more").and_then(Value::as_bool).unwrap_or(false))
    }

    /// Adds to one name.
    pub fn add(&mut self, name: &str, number: u64) {
        *self.rows.entry(name.to_owned()).or_default() += number;
    }

    /// A table was analyzed. False: for the second time in this cycle.
    pub fn add_analyzed(&mut self, table: &str) -> bool {
        let is_new = !self.analyzed.iter().any(|known| known == table);
        if is_new {
            self.analyzed.push(table.to_owned());
        }
        is_new
    }

    /// Rows changed.
    pub fn total(&self) -> u64 {
        self.rows.values().sum()
    }

    /// For `stat_cycles.detail`.
    pub fn detail(self) -> Value {
        let mut detail: Map<String, Value> =
            self.rows.into_iter().map(|(name, number)| (name, Value::from(number))).collect();
        detail.insert("analyzed".to_owned(), Value::from(self.analyzed));
        Value::Object(detail)
    }
}
