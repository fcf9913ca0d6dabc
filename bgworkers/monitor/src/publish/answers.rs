//! What a relay said to events, on its way into `publication_result`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bigbrotr_core::{Context, StoreError, Value};
use tokio::time::Instant;

use super::queue::Item;

/// Answers written at a time.
const BATCH: usize = 50;
/// How long an answer waits for others.
const DELAY: Duration = Duration::from_millis(500);

const RECORD: &str = "SELECT bigbrotr.record_publication_results($1, $2, $3, $4, $5, $6, $7)";

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The relay has it.
    Accepted,
    /// It does not want it, now or ever.
    Refused,
    /// Nobody knows, or it may be different next time.
    Open,
}

/// Answers not written yet.
#[derive(Default)]
pub struct Answers {
    list: Vec<(Item, Answer, String, i64)>,
    since: Option<Instant>,
}

impl Answers {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds one to an event sent at `sent_us`, unix microseconds.
    pub fn push(&mut self, item: Item, answer: Answer, message: &str, sent_us: i64) {
        self.since.get_or_insert_with(Instant::now);
        self.list.push((item, answer, clean(message), sent_us));
    }

    /// When they are to be written.
    pub fn due(&self) -> Option<Instant> {
        let since = self.since?;
        Some(if self.list.len() >= BATCH { since } else { since + DELAY })
    }

    /// Writes them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn write(&mut self, context: &Context, url: &str) -> Result<(), StoreError> {
        self.since = None;
        // Of two answers to events of one name the last one counts; SQL takes only one.
        let mut list = std::mem::take(&mut self.list);
        let mut seen = std::collections::HashSet::new();
        list.reverse();
        list.retain(|(item, ..)| seen.insert((item.kind, item.d.clone())));
        if list.is_empty() {
            return Ok(());
        }
        let (mut kinds, mut ds, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        let (mut answers, mut messages, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for (item, answer, message, sent_us) in list {
            kinds.push(item.kind);
            ds.push(Some(item.d));
            ids.push(Some(item.id));
            answers.push(match answer {
                Answer::Accepted => 1,
                Answer::Refused => 0,
                Answer::Open => -1,
            });
            messages.push(Some(message));
            times.push(sent_us);
        }
        let args = vec![
            Value::from(url),
            Value::IntArray(kinds),
            Value::TextArray(ds),
            Value::ByteaArray(ids),
            Value::IntArray(answers),
            Value::TextArray(messages),
            Value::BigIntArray(times),
        ];
        context.store.call(RECORD, args).await?;
        Ok(())
    }
}

/// A stranger's text fit for a column: at most 200 characters, no control characters.
pub fn clean(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// Unix microseconds.
pub fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
