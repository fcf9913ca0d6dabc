//! `candidate`, `relay` and `relay_alias` in memory, answering the statements of the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bigbrotr_core::{BoxFuture, Call, Row, Rows, Store, StoreError, Value};

use crate::queue;

#[derive(Debug, Default, Clone)]
pub struct Entry {
    pub failures: i32,
    pub leased: bool,
    pub not_due: bool,
    pub last_error: Option<String>,
    pub claims: usize,
}

#[derive(Debug, Default)]
pub struct Tables {
    pub candidates: BTreeMap<String, Entry>,
    pub relays: BTreeSet<String>,
    pub aliases: BTreeMap<String, String>,
    pub releases: usize,
    pub deferred: BTreeSet<String>,
    /// Writing about these fails.
    pub poisoned: BTreeSet<String>,
    pub networks: Vec<String>,
    /// A relay that everybody who answers is to be compared with.
    pub suspect: Option<String>,
    /// The same URL with the other scheme is blocked, of everybody.
    pub blocks_twins: bool,
    /// Why other URLs are only names of those that were admitted.
    pub reasons: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Memory(pub Mutex<Tables>);

impl Memory {
    pub fn with(urls: impl IntoIterator<Item = String>) -> Self {
        let candidates = urls.into_iter().map(|url| (url, Entry::default())).collect();
        Self(Mutex::new(Tables { candidates, ..Tables::default() }))
    }

    pub fn relays(&self) -> Vec<String> {
        self.0.lock().unwrap().relays.iter().cloned().collect()
    }

    pub fn error_of(&self, url: &str) -> String {
        self.0.lock().unwrap().candidates.get(url).unwrap().last_error.clone().unwrap_or_default()
    }
}

impl Tables {
    fn answer(&mut self, call: &Call) -> Result<Rows, StoreError> {
        let text = |at: usize| match &call.args[at] {
            Value::Text(Some(text)) => text.clone(),
            other => panic!("{other:?}"),
        };
        match call.sql {
            queue::RELEASE => {
                self.releases += 1;
                self.candidates.values_mut().for_each(|row| row.leased = false);
            }
            queue::CLAIM => {
                let [Value::Int(max), Value::Int(lease), Value::TextArray(networks), Value::Bool(untried)] =
                    &call.args[..]
                else {
                    panic!("{call:?}")
                };
                assert!(*lease > 600);
                self.networks = networks.iter().flatten().cloned().collect();
                let blocks_twins = self.blocks_twins;
                let due = self
                    .candidates
                    .iter_mut()
                    .filter(|(_, row)| !row.leased && !row.not_due && (row.failures == 0 || !untried));
                return Ok(due
                    .take(*max as usize)
                    .map(|(url, row)| {
                        row.leased = true;
                        row.claims += 1;
                        Row(vec![url.as_str().into(), Value::Bool(!blocks_twins)])
                    })
                    .collect());
            }
            queue::ADMIT => {
                let (candidate, url) = (text(0), text(1));
                self.check(&candidate)?;
                let Value::IntArray(compared) = &call.args[4] else { panic!("{call:?}") };
                let suspect = self.suspect.as_ref().filter(|suspect| **suspect != url && compared.is_empty());
                if let Some(suspect) = suspect {
                    return Ok(vec![Row(vec!["compare".into(), Value::Int(7), suspect.as_str().into()])]);
                }
                self.candidates.remove(&candidate);
                if let Value::Text(Some(reason)) = &call.args[2] {
                    self.reasons.push(reason.clone());
                }
                if candidate != url {
                    self.aliases.insert(candidate, url.clone());
                }
                self.relays.insert(url.clone());
                return Ok(vec![Row(vec!["promoted".into(), Value::Int(1), url.into()])]);
            }
            queue::MERGE => {
                self.check(&text(0))?;
                self.candidates.remove(&text(0));
                let reason = text(3);
                self.aliases.insert(text(0), reason);
            }
            queue::TWIN => {
                self.candidates.entry(text(1)).or_default();
            }
            queue::RECHECK => {}
            queue::FAIL => {
                self.check(&text(0))?;
                let row = self.candidates.get_mut(&text(0)).unwrap();
                row.failures += 1;
                (row.leased, row.not_due, row.last_error) = (false, true, Some(text(1)));
            }
            queue::DEFER => {
                let Value::TextArray(urls) = &call.args[0] else { panic!("{call:?}") };
                for url in urls.iter().flatten() {
                    let row = self.candidates.get_mut(url).unwrap();
                    (row.leased, row.not_due) = (false, true);
                    self.deferred.insert(url.clone());
                }
            }
            other => panic!("unknown statement {other}"),
        }
        Ok(Rows::new())
    }

    fn check(&self, url: &str) -> Result<(), StoreError> {
        if self.poisoned.contains(url) {
            return Err(StoreError::Sql { sqlstate: "XX000".into(), message: "poisoned".into() });
        }
        Ok(())
    }
}

impl Store for Memory {
    fn transaction(&self, calls: Vec<Call>) -> BoxFuture<'_, Result<Vec<Rows>, StoreError>> {
        Box::pin(async move {
            let mut tables = self.0.lock().unwrap();
            for call in &calls {
                // All or nothing, and only writes that name one URL can fail.
                if let (queue::ADMIT | queue::FAIL, Some(Value::Text(Some(url)))) = (call.sql, call.args.first()) {
                    tables.check(url)?;
                }
            }
            calls.iter().map(|call| tables.answer(call)).collect()
        })
    }
}
