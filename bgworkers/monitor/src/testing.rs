//! A database that only remembers, and relays of a few lines.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bigbrotr_core::log::Log;
use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_core::progress::Progress;
use bigbrotr_core::{BoxFuture, Call, Config, Context, Row, Rows, Store, StoreError, Value};
use bigbrotr_models::AddressPolicy;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_tungstenite::tungstenite::Message;

/// Hands out relays once and remembers what is written.
#[derive(Default)]
pub struct Memory {
    pub due: Mutex<VecDeque<(i32, String)>>,
    pub calls: Mutex<Vec<Call>>,
    pub transactions: AtomicUsize,
    /// Transactions with a call whose arguments hold this text fail.
    pub poison: Mutex<Option<String>>,
}

impl Memory {
    pub fn with(relays: impl IntoIterator<Item = String>) -> Arc<Self> {
        let memory = Self::default();
        *lock(&memory.due) = (1..).zip(relays).collect();
        Arc::new(memory)
    }

    /// Arguments of the calls of a function, in order.
    pub fn args(&self, function: &str) -> Vec<Vec<Value>> {
        lock(&self.calls).iter().filter(|call| call.sql.contains(function)).map(|call| call.args.clone()).collect()
    }

    /// The documents of one type, parsed, in order.
    pub fn documents(&self, kind: &str) -> Vec<serde_json::Value> {
        let of_kind = |args: &Vec<Value>| args[1] == Value::from(kind);
        let data = |args: Vec<Value>| match &args[3] {
            Value::Text(Some(text)) => serde_json::from_str(text).expect("JSON"),
            other => panic!("{other:?}"),
        };
        self.args("record_metadata").into_iter().filter(of_kind).map(data).collect()
    }

    /// The only check of a relay.
    pub fn check(&self, relay_id: i32) -> Recorded {
        let all = self.args("record_check");
        let mut of_relay = all.iter().filter(|args| args[0] == Value::Int(relay_id));
        let args = of_relay.next().unwrap_or_else(|| panic!("relay {relay_id} was not checked: {all:?}"));
        assert!(of_relay.next().is_none(), "checked twice");
        let text = |at: usize| match &args[at] {
            Value::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        let number = |at: usize| text(at).map(|text| text.parse::<f64>().expect("a number"));
        let ok = args[2] == Value::Bool(true);
        Recorded { ok, open: number(3), read: number(4), write: number(5), class: text(6), error: text(7) }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub ok: bool,
    pub open: Option<f64>,
    pub read: Option<f64>,
    pub write: Option<f64>,
    pub class: Option<String>,
    pub error: Option<String>,
}

impl Store for Memory {
    fn transaction(&self, calls: Vec<Call>) -> BoxFuture<'_, Result<Vec<Rows>, StoreError>> {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        let poison = lock(&self.poison).clone();
        if let Some(poison) = poison
            && calls.iter().any(|call| format!("{:?}", call.args).contains(&poison))
        {
            let error = StoreError::Sql { sqlstate: "22P05".into(), message: "poison".into() };
            return Box::pin(async move { Err(error) });
        }
        let mut answers = Vec::new();
        for call in calls {
            answers.push(match (&call.args[..], call.sql) {
                ([Value::Int(max), ..], sql) if sql.contains("claim_checks") => {
                    let mut due = lock(&self.due);
                    let count = due.len().min(usize::try_from(*max).unwrap_or(0));
                    due.drain(..count).map(|(id, url)| Row(vec![Value::Int(id), Value::from(url)])).collect()
                }
                ([Value::IntArray(ids), _], sql) if sql.contains("defer_checks") => {
                    vec![Row(vec![Value::Int(i32::try_from(ids.len()).unwrap_or(0))])]
                }
                _ => Rows::new(),
            });
            lock(&self.calls).push(call);
        }
        Box::pin(async move { Ok(answers) })
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

/// Settings that admit the loopback, with short time-outs.
pub fn config() -> Config {
    Config {
        address_policy: AddressPolicy { allow_private: true },
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_millis(700),
        ..Config::default()
    }
}

/// A context with its other ends.
pub struct World {
    pub context: Context,
    pub shutdown: watch::Sender<bool>,
    pub config: watch::Sender<Arc<Config>>,
}

pub fn world(store: Arc<Memory>, config: Config) -> World {
    let (shutdown, leaving) = watch::channel(false);
    let (config, settings) = watch::channel(Arc::new(config));
    let context = Context {
        store,
        config: settings,
        progress: Arc::new(Progress::default()),
        wake: Arc::new(Notify::new()),
        asked: Arc::default(),
        shutdown: leaving,
        memory: MemoryBudget::unlimited(),
        log: Log::channel(16).0,
    };
    World { context, shutdown, config }
}

/// How a test relay answers: `SUB` in a frame stands for the subscription asked with.
#[derive(Clone, Default)]
pub struct Answers {
    /// Sent as the WebSocket opens.
    pub greeting: Vec<String>,
    /// Sent after the REQ.
    pub frames: Vec<String>,
    /// Then the connection is closed.
    pub hang_up: bool,
    /// Status and body for other requests than a WebSocket upgrade.
    pub document: Option<(u16, Vec<u8>)>,
    /// No WebSocket: the document is served for everything.
    pub http_only: bool,
    /// Pause before anything.
    pub delay: Duration,
}

impl Answers {
    pub fn frames(frames: &[&str]) -> Self {
        Self { frames: frames.iter().map(|frame| (*frame).to_owned()).collect(), ..Self::default() }
    }

    pub fn document(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { document: Some((status, body.into())), ..Self::frames(&[r#"["EOSE","SUB"]"#]) }
    }
}

/// A relay that counts.
pub struct Relay {
    address: SocketAddr,
    pub open: Arc<AtomicUsize>,
    pub peak: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let relay = Self {
            address: listener.local_addr().expect("bound"),
            open: Arc::default(),
            peak: Arc::default(),
            requests: Arc::default(),
        };
        let (open, peak, requests) = (relay.open.clone(), relay.peak.clone(), relay.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, open, peak, requests) = (answers.clone(), open.clone(), peak.clone(), requests.clone());
                tokio::spawn(async move {
                    peak.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    serve(stream, &answers, &requests).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        relay
    }
}

async fn serve(mut stream: TcpStream, answers: &Answers, requests: &Mutex<Vec<String>>) {
    tokio::time::sleep(answers.delay).await;
    let mut head = [0; 2048];
    let Ok(size) = stream.peek(&mut head).await else { return };
    let text = String::from_utf8_lossy(&head[..size]).to_lowercase();
    if answers.http_only || !text.contains("upgrade: websocket") {
        lock(requests).push(text);
        let _ = stream.read(&mut head).await;
        let (status, body) = answers.document.clone().unwrap_or((404, b"<html>nothing here</html>".to_vec()));
        let head = format!("HTTP/1.1 {status} x\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&body).await;
        let _ = stream.shutdown().await;
        return;
    }
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    for frame in &answers.greeting {
        let _ = socket.send(Message::text(frame.clone())).await;
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        lock(requests).push(text.to_string());
        let sub = text.split('"').nth(3).unwrap_or_default().to_owned();
        if !text.starts_with(r#"["REQ""#) {
            continue;
        }
        for frame in &answers.frames {
            if socket.send(Message::text(frame.replace("SUB", &sub))).await.is_err() {
                return;
            }
        }
        if answers.hang_up {
            return;
        }
    }
}
