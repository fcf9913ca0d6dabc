//! The answer to one REQ: stored events, whatever the relay adds, the EOSE, then new events.

use std::{future::pending, sync::Arc, time::Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::time::{sleep, sleep_until};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::{
    Deep, DeepFault, Endless, Eose, Live, MissingLimit, RelayOptions,
    connection::{Connection, Out},
    filter::Filter,
    index::{Page, Slot},
    served::bump,
    server::Subscription,
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

fn is_deep(filter: &Filter, deep: &Deep) -> bool {
    let far_back = i128::from(now()) - i128::from(deep.age);
    filter.until.is_some_and(|until| until < far_back) && !(deep.unbounded_only && filter.since.is_some())
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
        if self.options.accepts.missing_limit == MissingLimit::Silent && filters.iter().any(|f| f.limit.is_none()) {
            return Ok(());
        }
        let newest = filters.iter().filter_map(|filter| filter.until).max();
        let deep = self.options.deep.as_ref().filter(|deep| filters.iter().any(|filter| is_deep(filter, deep)));
        let (mut page, mut live) = self.connection.shared.subscribe(filters, self.options);
        match deep.map(|deep| &deep.fault) {
            None => {}
            Some(DeepFault::Silent) => return Ok(()),
            Some(DeepFault::Empty) => page = Page::default(),
            Some(DeepFault::Slow(pause)) => sleep(*pause).await,
            Some(DeepFault::Closed(text)) => {
                bump(&self.connection.shared.counters.refused);
                return Ok(self.connection.refuse(self.sub, text, self.options.notice_instead_of_closed).await?);
            }
        }
        self.stored(&page, number).await?;
        self.extra().await?;
        if let Some(endless) = self.options.extra.endless {
            return self.endless(endless, &page, newest).await;
        }
        self.eose(page.cut).await?;
        drop(page);
        if let Eose::ThenClosed(text) = &self.options.eose {
            return Ok(self.connection.refuse(self.sub, text, false).await?);
        }
        self.live(&mut live).await
    }

    /// What is new, until the relay ends the subscription.
    async fn live(&self, live: &mut Subscription) -> Result<(), End> {
        let Live { lose_every, delay, end } = &self.options.live;
        let started = Instant::now();
        let (mut number, mut sent) = (0_u64, 0);
        loop {
            if let Some(end) = end.as_ref().filter(|end| end.after_events.is_some_and(|most| sent >= most)) {
                return Ok(self.connection.refuse(self.sub, &end.text, false).await?);
            }
            let over = async {
                match end.as_ref().and_then(|end| Some((end, end.after?))) {
                    Some((end, after)) => {
                        sleep_until((started + after).into()).await;
                        end
                    }
                    None => pending().await,
                }
            };
            let (came, slot) = tokio::select! {
                end = over => return Ok(self.connection.refuse(self.sub, &end.text, false).await?),
                event = live.events.recv() => match event {
                    Some(event) => event,
                    None => return Ok(()),
                },
            };
            number += 1;
            if lose_every.is_some_and(|every| number.is_multiple_of(every)) {
                continue;
            }
            sleep_until((came + *delay).into()).await;
            let mut out = self.connection.lock().await;
            self.event(&mut out, &slot).await?;
            out.flush().await?;
            sent += 1;
        }
    }

    async fn event(&self, out: &mut Out<'_>, slot: &Slot) -> Result<(), End> {
        let text = self.options.dialect.apply(&slot.event.raw);
        for _ in 0..if self.options.extra.doubles { 2 } else { 1 } {
            self.raw(out, &self.prefix, &text).await?;
            slot.count();
        }
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
        let plain = json!(["EOSE", self.sub]);
        let messages = match &self.options.eose {
            Eose::Plain | Eose::ThenClosed(_) => vec![plain],
            Eose::Hint => vec![json!(["EOSE", self.sub, if cut { "more" } else { "finish" }])],
            Eose::Always(hint) => vec![json!(["EOSE", self.sub, hint])],
            Eose::Twice => vec![plain.clone(), plain],
            Eose::Never => Vec::new(),
        };
        let mut out = self.connection.lock().await;
        for message in messages {
            out.feed(Message::text(message.to_string())).await?;
            bump(&self.connection.shared.counters.eoses);
        }
        for event in &self.options.extra.after_eose {
            self.raw(&mut out, &self.prefix, event).await?;
        }
        Ok(out.flush().await?)
    }
}
