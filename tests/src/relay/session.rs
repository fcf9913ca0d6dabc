//! The client's messages on one connection.

use std::{
    collections::HashMap,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::SplitStream};
use serde_json::{Value, json};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{sleep, sleep_until},
};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{
    Accepts, Auth, Count, Mode, RelayOptions, Write, answer,
    auth::{Barred, Gate},
    connection::{Connection, Socket},
    filter::Filter,
    options::{LimitZero, Link},
    reconcile::Reconciliations,
    served::bump,
};
use crate::signed;

/// Longest subscription id (NIP-01).
const SUB_ID_CHARS: usize = 64;

pub(crate) struct Session {
    connection: Arc<Connection>,
    gate: Gate,
    answers: JoinSet<()>,
    subs: HashMap<String, AbortHandle>,
    reconciliations: Reconciliations,
    /// The REQs of the second that began then.
    rate: (Instant, u32),
}

/// When a connection ends or freezes by itself.
struct Clock {
    started: Instant,
    heard: Instant,
    link: Link,
}

enum Alarm {
    Break,
    Freeze,
}

impl Clock {
    fn new(link: Link) -> Self {
        Self { started: Instant::now(), heard: Instant::now(), link }
    }

    async fn alarm(&self) -> Alarm {
        async fn at(start: Instant, after: Option<Duration>) {
            match after {
                Some(after) => sleep_until((start + after).into()).await,
                None => pending().await,
            }
        }
        tokio::select! {
            () = at(self.heard, self.link.idle) => Alarm::Break,
            () = at(self.started, self.link.lifetime) => Alarm::Break,
            () = at(self.started, self.link.freeze) => Alarm::Freeze,
        }
    }
}

impl Session {
    pub fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            gate: Gate::new(),
            answers: JoinSet::new(),
            subs: HashMap::new(),
            reconciliations: Reconciliations::default(),
            rate: (Instant::now(), 0),
        }
    }

    pub async fn run(mut self, mut source: SplitStream<Socket>) -> Result<(), Error> {
        let connection = Arc::clone(&self.connection);
        let shared = Arc::clone(&connection.shared);
        let options = shared.options();
        if options.mode == Mode::Nostr {
            self.gate.open(&connection, &options).await?;
        }
        let mut clock = Clock::new(options.link.clone());
        loop {
            let message = tokio::select! {
                biased;
                () = connection.cut.notified() => return Ok(()),
                alarm = clock.alarm() => match alarm {
                    Alarm::Break => return Ok(()),
                    Alarm::Freeze => {
                        let _nobody_writes = connection.lock().await;
                        pending().await
                    }
                },
                message = source.next() => message,
            };
            let Some(message) = message.transpose()? else { return Ok(()) };
            let options = shared.options();
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                clock.heard = Instant::now();
            }
            match (&options.mode, message) {
                (_, Message::Ping(_)) => {
                    bump(&shared.counters.pings);
                }
                (Mode::Echo, message @ (Message::Text(_) | Message::Binary(_))) => connection.send(message).await?,
                (Mode::Nostr, Message::Text(text)) => self.message(&text, &options).await?,
                (Mode::Nostr, Message::Binary(_)) => {
                    connection.say(json!(["NOTICE", "invalid: binary message"])).await?;
                }
                _ => {}
            }
        }
    }

    async fn message(&mut self, text: &str, options: &Arc<RelayOptions>) -> Result<(), Error> {
        let connection = Arc::clone(&self.connection);
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let empty = Vec::new();
        let parts = message.as_array().unwrap_or(&empty);
        let part = |i: usize| parts.get(i).and_then(Value::as_str);
        if options.auth == Auth::First && !self.gate.authenticated && part(0) != Some("AUTH") {
            // Counts as a request that was refused, whatever it was.
            bump(&connection.shared.counters.refused);
            connection.say(json!(["NOTICE", "auth-required: authenticate before anything else"])).await?;
            return Err(Error::ConnectionClosed);
        }
        match (part(0), part(1)) {
            (Some("REQ"), Some(sub)) => self.request(sub, parts.get(2..).unwrap_or_default(), text, options).await,
            (Some("COUNT"), Some(sub)) => self.count(sub, parts.get(2..).unwrap_or_default(), text, options).await,
            (Some("CLOSE"), Some(sub)) => {
                bump(&connection.shared.counters.closes);
                self.end(sub);
                Ok(())
            }
            (Some("EVENT"), None) if parts.len() == 2 => self.publish(&parts[1], text, options).await,
            (Some("AUTH"), None) if parts.len() == 2 => self.gate.authenticate(&parts[1], &connection, options).await,
            (Some("NEG-OPEN"), Some(sub)) if parts.len() == 4 => {
                bump(&connection.shared.counters.neg_opens);
                connection.shared.counters.request(text);
                sleep(options.request_latency).await;
                match self.gate.check(&connection, options).await? {
                    Some(Barred::Silently) => Ok(()),
                    Some(Barred::With(text)) => connection.say(json!(["NEG-ERR", sub, text])).await,
                    None => {
                        let message = part(3).unwrap_or_default();
                        self.reconciliations.open(sub, &parts[2], message, &connection, options).await
                    }
                }
            }
            (Some("NEG-MSG"), Some(sub)) if parts.len() == 3 => {
                self.reconciliations.message(sub, part(2).unwrap_or_default(), &connection, options).await
            }
            (Some("NEG-CLOSE"), Some(sub)) => {
                self.reconciliations.close(sub);
                Ok(())
            }
            (verb, _) => {
                let verb = verb.unwrap_or("message");
                connection.say(json!(["NOTICE", format!("invalid: {verb} not understood")])).await
            }
        }
    }

    fn end(&mut self, sub: &str) {
        if let Some(task) = self.subs.remove(sub) {
            task.abort();
        }
    }

    /// Whether this REQ is one too many for its second.
    fn too_fast(&mut self, accepts: &Accepts) -> bool {
        if self.rate.0.elapsed() >= Duration::from_secs(1) {
            self.rate = (Instant::now(), 0);
        }
        self.rate.1 += 1;
        accepts.requests_per_second.is_some_and(|most| self.rate.1 > most)
    }

    async fn request(
        &mut self,
        sub: &str,
        filters: &[Value],
        text: &str,
        options: &Arc<RelayOptions>,
    ) -> Result<(), Error> {
        let connection = Arc::clone(&self.connection);
        let counters = &connection.shared.counters;
        let number = bump(&counters.reqs);
        counters.request(text);
        let parsed: Result<Vec<_>, _> = filters.iter().map(Filter::parse).collect();
        // The refused REQ has replaced the subscription of the same id all the same.
        self.end(sub);
        while self.answers.try_join_next().is_some() {}
        self.subs.retain(|_, task| !task.is_finished());
        let refusal = options.refuse.as_ref().filter(|refusal| number.is_multiple_of(refusal.every));
        let notice = options.notice_instead_of_closed;
        let refused = if let Some(barred) = self.gate.check(&connection, options).await? {
            match barred {
                Barred::Silently => Some((String::new(), notice)),
                Barred::With(text) => Some((text.to_owned(), notice)),
            }
        } else if let Some(refusal) = refusal {
            Some((refusal.text.clone(), notice || refusal.notice))
        } else if self.too_fast(&options.accepts) {
            Some(("rate-limited: too many requests".to_owned(), notice))
        } else if sub.is_empty() || sub.chars().count() > SUB_ID_CHARS {
            Some(("invalid: subscription id".to_owned(), notice))
        } else if options.max_subscriptions.is_some_and(|max| self.subs.len() >= max) {
            Some(("error: too many subscriptions".to_owned(), notice))
        } else if filters.is_empty() {
            Some(("invalid: no filter".to_owned(), notice))
        } else {
            let checked = parsed.as_ref().map_err(|error| format!("invalid: {error}"));
            checked.and_then(|filters| admit(filters, &connection, options)).err().map(|text| (text, notice))
        };
        if let Some((text, notice)) = refused {
            bump(&counters.refused);
            return if text.is_empty() { Ok(()) } else { connection.refuse(sub, &text, notice).await };
        }
        let filters = parsed.unwrap_or_default().into();
        let answer = answer::run(Arc::clone(&connection), sub.to_owned(), filters, Arc::clone(options), number);
        self.subs.insert(sub.to_owned(), self.answers.spawn(answer));
        Ok(())
    }

    async fn count(&mut self, sub: &str, filters: &[Value], text: &str, options: &RelayOptions) -> Result<(), Error> {
        let connection = &self.connection;
        bump(&connection.shared.counters.counts);
        connection.shared.counters.request(text);
        match self.gate.check(connection, options).await? {
            Some(Barred::Silently) => return Ok(()),
            Some(Barred::With(text)) => return connection.refuse(sub, text, false).await,
            None => {}
        }
        sleep(options.request_latency).await;
        let filters: Result<Vec<_>, _> = filters.iter().map(Filter::parse).collect();
        match (&options.count, filters) {
            (Count::Silent, _) => Ok(()),
            (Count::Refuse(text), _) => connection.refuse(sub, text, options.notice_instead_of_closed).await,
            (_, Err(error)) => connection.refuse(sub, &format!("invalid: {error}"), false).await,
            (Count::Fixed(count), _) => connection.say(json!(["COUNT", sub, { "count": count }])).await,
            (Count::Exact, Ok(filters)) => {
                let count = connection.shared.count(&filters);
                connection.say(json!(["COUNT", sub, { "count": count }])).await
            }
        }
    }

    async fn publish(&mut self, event: &Value, text: &str, options: &RelayOptions) -> Result<(), Error> {
        let connection = &self.connection;
        bump(&connection.shared.counters.publishes);
        let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
        let barred = self.gate.check(connection, options).await?;
        let (ok, text) = match (&options.write, barred, signed::verify(event)) {
            (Write::Silent, ..) | (_, Some(Barred::Silently), _) => return Ok(()),
            (Write::Notice(text), ..) => return connection.say(json!(["NOTICE", text])).await,
            (Write::Closed(text), ..) => return connection.say(json!(["CLOSED", id, text])).await,
            (Write::OtherId, ..) => return connection.say(json!(["OK", "0".repeat(64), true, ""])).await,
            (_, Some(Barred::With(text)), _) => (false, text.to_owned()),
            (Write::Refuse(text), ..) => (false, text.clone()),
            (Write::Store, None, Err(reason)) => (false, format!("invalid: {reason}")),
            (Write::Store, None, Ok(())) => {
                // The event as the client wrote it: in a message of two elements, from the first brace to the last.
                let raw = text.find('{').zip(text.rfind('}')).and_then(|(from, to)| text.get(from..=to));
                let new = connection.shared.add(raw.unwrap_or_default(), true);
                (true, if new { String::new() } else { "duplicate: already held".to_owned() })
            }
        };
        connection.say(json!(["OK", id, ok, text])).await
    }
}

/// Whether the relay takes these filters; the refusal otherwise.
fn admit(filters: &[Filter], connection: &Connection, options: &RelayOptions) -> Result<(), String> {
    let accepts = &options.accepts;
    if accepts.filters.is_some_and(|most| filters.len() > most) {
        return Err("invalid: too many filters".to_owned());
    }
    for filter in filters {
        if accepts.list.is_some_and(|most| filter.longest_list() > most) {
            return Err("invalid: filter has too many elements".to_owned());
        }
        if accepts.limit.is_some_and(|most| filter.limit > Some(most)) {
            return Err("invalid: limit is too large".to_owned());
        }
        if accepts.limit_zero == LimitZero::Refused && filter.limit == Some(0) {
            return Err("invalid: limit must be positive".to_owned());
        }
        if let Some(text) = &options.withheld_text
            && connection.shared.names_withheld(filter, options)
        {
            return Err(text.clone());
        }
    }
    Ok(())
}
