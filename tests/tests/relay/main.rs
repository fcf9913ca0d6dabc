//! The test relay does what its options say: each is checked by a bare WebSocket or TCP client.

mod answers;
mod auth;
mod link;
mod live;
mod reconciliation;
mod requests;
mod stores;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bigbrotr_tests::{
    Generator, Relay, RelayHandle, RelayOptions, Spec, Store, distribute,
    generate::now,
    relay::{
        Accepts, Auth, Challenge, Count, Deep, DeepFault, Dialect, Disconnect, Document, Endless, Eose, Extra,
        LimitZero, Link, Live, LiveEnd, MissingLimit, Mode, Order, Refusal, Write,
    },
    signed,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to notice an answer that should not come.
const SILENCE: Duration = Duration::from_millis(150);

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(relay: &RelayHandle) -> Self {
        let stream = TcpStream::connect(relay.address()).await.expect("connects");
        Self(client_async(relay.url(), stream).await.expect("upgrades").0)
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("sends");
    }

    /// The next message; `None` at the end of the connection, however it ends.
    async fn message(&mut self) -> Option<Message> {
        let next = timeout(PATIENCE, self.0.next()).await.expect("an answer in time");
        next.and_then(Result::ok).filter(|message| !message.is_close())
    }

    async fn json(&mut self) -> Value {
        let message = self.message().await.expect("a message");
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    }

    async fn is_silent(&mut self) -> bool {
        timeout(SILENCE, self.0.next()).await.is_err()
    }

    /// Asks, and collects the events up to the first other message (null when the connection ends).
    async fn ask(&mut self, filter: Value) -> (Vec<Value>, Value) {
        self.send(json!(["REQ", "s", filter])).await;
        self.answer().await
    }

    async fn answer(&mut self) -> (Vec<Value>, Value) {
        let mut events = Vec::new();
        while let Some(message) = self.message().await {
            let mut message: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
            if message[0] != "EVENT" {
                return (events, message);
            }
            events.push(message[2].take());
        }
        (events, Value::Null)
    }

    /// `created_at` of the answer.
    async fn times(&mut self, filter: Value) -> Vec<i64> {
        let (events, end) = self.ask(filter).await;
        assert_eq!(end[0], "EOSE");
        events.iter().map(|event| event["created_at"].as_i64().expect("integer")).collect()
    }
}

/// Notes at seconds 1 to `n`.
fn notes(n: i64) -> Vec<String> {
    let mut generator = Generator::new(1);
    (1..=n).map(|at| generator.event(1, at, &[], &format!("note {at}"))).collect()
}

fn relay(options: RelayOptions) -> RelayHandle {
    Relay::start(RelayOptions { events: Store::new(notes(10)), ..options })
}

async fn well_behaved() -> (RelayHandle, Client) {
    let relay = relay(RelayOptions::default());
    let client = Client::connect(&relay).await;
    (relay, client)
}

fn eose() -> Value {
    json!(["EOSE", "s"])
}
