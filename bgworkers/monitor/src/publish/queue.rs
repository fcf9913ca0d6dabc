//! What one relay has not had yet. The queue itself is the table `publication`; here is only the next handful.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::{StoreError, Value};
use bigbrotr_models::hex;
use tokio::time::Instant;

use super::Shared;

/// Events taken out of the table at a time. Each may have 64 kB, and there may be twenty relays.
const HANDFUL: usize = 16;
/// Pause between two looks for what is to be sent once more.
const AGAIN: Duration = Duration::from_secs(20);

const PENDING: &str = "SELECT seq, kind, d, event_id, event FROM bigbrotr.publish_pending($1, $2, $3, $4)";

/// An event on its way.
#[derive(Debug, Clone)]
pub struct Item {
    /// `publication.kind`.
    pub kind: i32,
    /// `publication.d`.
    pub d: String,
    /// Id.
    pub id: Vec<u8>,
    /// Id as relays write it.
    pub hex: String,
    /// The event as JSON.
    pub event: String,
}

/// The next handful.
pub struct Queue {
    shared: Arc<Shared>,
    url: String,
    items: VecDeque<Item>,
    /// Up to this number everything was taken.
    after: i64,
    again_at: Instant,
}

impl Queue {
    /// The queue of the relay with this key.
    pub fn new(shared: Arc<Shared>, url: String) -> Self {
        Self { shared, url, items: VecDeque::new(), after: 0, again_at: Instant::now() }
    }

    /// Nothing at hand.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    /// To be sent before the others.
    pub fn put_back(&mut self, item: Item) {
        self.items.push_front(item);
    }

    /// When it should be filled though nothing is new.
    pub fn again_at(&self) -> Instant {
        self.again_at
    }

    /// From the beginning at the next filling.
    pub fn restart(&mut self) {
        self.items.clear();
        self.after = 0;
    }

    /// Takes the next handful if nothing is at hand. `is_quiet`: no event is on its way, so that what is to be sent once
    /// more can be told.
    ///
    /// # Errors
    /// What the store says.
    pub async fn fill(&mut self, is_quiet: bool) -> Result<(), StoreError> {
        if !self.items.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        if is_quiet && now >= self.again_at {
            self.after = 0;
        }
        let args = vec![
            Value::from(self.url.as_str()),
            Value::Bytea(Some(self.shared.plan.pubkey.to_vec())),
            Value::from(self.after),
            Value::from(HANDFUL as i32),
        ];
        for row in self.shared.context.store.call(PENDING, args).await? {
            let id = row.bytea(3)?.to_vec();
            let (hex, event) = (hex::encode(&id), row.text(4)?.to_owned());
            self.after = row.bigint(0)?;
            self.items.push_back(Item { kind: row.int(1)?, d: row.text(2)?.to_owned(), id, hex, event });
        }
        if self.items.len() < HANDFUL {
            self.again_at = now + AGAIN;
        }
        Ok(())
    }
}
