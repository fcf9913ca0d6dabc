//! The answer to one REQ: stored events, whatever the relay adds, the EOSE, then new events.

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::{
    Endless, Eose, RelayOptions,
    connection::{Connection, Out},
    filter::Filter,
    index::{Page, Slot},
    served::bump,
};
use crate::generate::{Generator, now};

/// Why an answer ends before its end.
enum End {
    /// The relay breaks the connection.
    Cut,
    /// The client is gone.
    Gone,
}

impl From<Error> for End {
    fn from(_: Error) -> Self {
        Self::Gone
    }
}

pub(crate) async fn run(
    connection: Arc<Connection>,
    sub: String,
    filters: Arc<[Filter]>,
    options: Arc<RelayOptions>,
    number: u64,
) {
    let answer = Answer { prefix: prefix(&sub), connection: &connection, options: &options, sub: &sub };
    if let Err(End::Cut) = answer.send(filters, number).await {
        connection.cut.notify_one();
    }
}

/// The EVENT frame up to the event.
fn prefix(sub: &str) -> String {
    format!("[\"EVENT\",{},", json!(sub))
}

fn frame(prefix: &str, event: &str) -> Message {
    let mut text = String::with_capacity(prefix.len() + event.len() + 1);
    text.push_str(prefix);
    text.push_str(event);
    text.push(']');
    Message::text(text)
}

struct Answer<'a> {
    connection: &'a Connection,
    options: &'a RelayOptions,
    sub: &'a str,
    prefix: String,
}

impl Answer<'_> {
    async fn send(&self, filters: Arc<[Filter]>, number: u64) -> Result<(), End> {
        sleep(self.options.request_latency).await;
        let newest = filters.iter().filter_map(|filter| filter.until).max();
        let (page, mut live) = self.connection.shared.subscribe(filters, self.options);
        self.stored(&page, number).await?;
        self.extra().await?;
        if let Some(endless) = self.options.extra.endless {
            return self.endless(endless, &page, newest).await;
        }
        self.eose(page.cut).await?;
        drop(page);
        while let Some(slot) = live.events.recv().await {
            let mut out = self.connection.lock().await;
            self.event(&mut out, &slot).await?;
            out.flush().await?;
        }
        Ok(())
    }

    async fn event(&self, out: &mut Out<'_>, slot: &Slot) -> Result<(), End> {
        self.raw(out, &self.prefix, &slot.event.raw).await?;
        slot.count();
        Ok(())
    }

    async fn raw(&self, out: &mut Out<'_>, prefix: &str, event: &str) -> Result<(), End> {
        out.feed(frame(prefix, event)).await?;
        bump(&self.connection.shared.counters.events);
        Ok(())
    }

    async fn stored(&self, page: &Page, number: u64) -> Result<(), End> {
        let disconnect = &self.options.disconnect;
        let mut dice = (disconnect.probability > 0.0).then(|| StdRng::seed_from_u64(disconnect.seed ^ number));
        let mut out = self.connection.lock().await;
        for (sent, slot) in page.slots.iter().enumerate() {
            let unlucky = dice.as_mut().is_some_and(|dice| dice.random::<f64>() < disconnect.probability);
            if unlucky || disconnect.after_events == Some(sent) {
                out.flush().await?;
                return Err(End::Cut);
            }
            if !self.options.event_latency.is_zero() {
                out.flush().await?;
                drop(out);
                sleep(self.options.event_latency).await;
                out = self.connection.lock().await;
            }
            self.event(&mut out, slot).await?;
        }
        out.flush().await?;
        if disconnect.after_events == Some(page.slots.len()) { Err(End::Cut) } else { Ok(()) }
    }

    async fn extra(&self) -> Result<(), End> {
        let extra = &self.options.extra;
        let mut out = self.connection.lock().await;
        for event in &extra.off_filter {
            self.raw(&mut out, &self.prefix, event).await?;
        }
        for event in &extra.foreign_sub {
            self.raw(&mut out, &prefix(&format!("not-{}", self.sub)), event).await?;
        }
        for text in &extra.text {
            out.feed(Message::text(text.as_str())).await?;
        }
        for bytes in &extra.raw_text {
            out.feed(Message::Frame(Frame::message(bytes.clone(), OpCode::Data(Data::Text), true))).await?;
        }
        for bytes in &extra.binary {
            out.feed(Message::binary(bytes.clone())).await?;
        }
        if let Some(bytes) = extra.huge {
            out.feed(Message::text("x".repeat(bytes))).await?;
        }
        Ok(out.flush().await?)
    }

    async fn endless(&self, endless: Endless, page: &Page, newest: Option<i128>) -> Result<(), End> {
        let mut generator = Generator::new(0);
        let at = newest.and_then(|at| i64::try_from(at).ok()).unwrap_or_else(now).min(now());
        let mut stored = page.slots.iter().cycle();
        for number in 0_u64.. {
            let mut out = self.connection.lock().await;
            match (endless, stored.next()) {
                (Endless::Repeat, Some(slot)) => self.event(&mut out, slot).await?,
                _ => {
                    let event = generator.event(1, at, &[], &format!("endless {number}"));
                    self.raw(&mut out, &self.prefix, &event).await?;
                }
            }
            out.flush().await?;
        }
        Ok(())
    }

    async fn eose(&self, cut: bool) -> Result<(), End> {
        let message = match &self.options.eose {
            Eose::Plain => Some(json!(["EOSE", self.sub])),
            Eose::Hint => Some(json!(["EOSE", self.sub, if cut { "more" } else { "finish" }])),
            Eose::Always(hint) => Some(json!(["EOSE", self.sub, hint])),
            Eose::Never => None,
        };
        let mut out = self.connection.lock().await;
        if let Some(message) = message {
            out.feed(Message::text(message.to_string())).await?;
            bump(&self.connection.shared.counters.eoses);
        }
        for event in &self.options.extra.after_eose {
            self.raw(&mut out, &self.prefix, event).await?;
        }
        Ok(out.flush().await?)
    }
}
