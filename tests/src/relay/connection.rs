//! One connection: HTTP head, upgrade, and the client's messages.

use std::{collections::HashMap, sync::Arc};

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use rand::random;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Mutex, MutexGuard, Notify},
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Auth, Count, Mode, RelayOptions, Write, answer,
    filter::Filter,
    http::{self, Head},
    options::Document,
    served::bump,
    server::Shared,
};
use crate::signed;

/// Longest subscription id (NIP-01).
const SUB_ID_CHARS: usize = 64;
/// Allowed distance of an AUTH event from now, in seconds (NIP-42: about 10 minutes).
const AUTH_WINDOW: i64 = 600;

type Socket = WebSocketStream<TcpStream>;
type Sink = SplitSink<Socket, Message>;

/// The sending half and what its users share.
pub(crate) struct Connection {
    pub shared: Arc<Shared>,
    sink: Mutex<Sink>,
    /// Breaks the connection.
    pub cut: Notify,
}

impl Connection {
    /// Sends one message.
    pub async fn send(&self, message: Message) -> Result<(), Error> {
        let mut out = self.lock().await;
        out.feed(message).await?;
        out.flush().await
    }

    pub async fn say(&self, message: Value) -> Result<(), Error> {
        self.send(Message::text(message.to_string())).await
    }

    pub async fn lock(&self) -> Out<'_> {
        Out { sink: self.sink.lock().await, shared: &self.shared }
    }

    /// Refuses a request, by CLOSED or, if the relay is of that sort, by NOTICE.
    pub async fn refuse(&self, sub: &str, text: &str, notice: bool) -> Result<(), Error> {
        self.say(if notice { json!(["NOTICE", text]) } else { json!(["CLOSED", sub, text]) }).await
    }
}

/// The locked sending half: what is fed reaches the client in one piece, without messages of other answers between.
pub(crate) struct Out<'a> {
    sink: MutexGuard<'a, Sink>,
    shared: &'a Shared,
}

impl Out<'_> {
    pub async fn feed(&mut self, message: Message) -> Result<(), Error> {
        let bytes = message.len() as u64;
        self.sink.feed(message).await?;
        self.shared.counters.bytes.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.sink.flush().await
    }
}

pub(crate) async fn run(mut stream: TcpStream, shared: Arc<Shared>, number: u64) {
    let options = shared.options();
    if options.mode == Mode::SilentTcp {
        std::future::pending::<()>().await;
    }
    let Some(head) = Head::read(&mut stream).await else { return };
    if let Some(name) = head.get("user-agent") {
        shared.counters.user_agent(name);
    }
    if let Mode::Http(document) = &options.mode {
        // A client that leaves early is its own business, here and below.
        let _ = http::respond(&mut stream, document).await;
        return;
    }
    let Some(key) = head.websocket_key() else {
        let _ = http::respond(&mut stream, &document(&head, &shared, &options)).await;
        return;
    };
    sleep(options.connect_latency).await;
    if http::upgrade(&mut stream, key).await.is_err() {
        return;
    }
    bump(&shared.counters.websockets);
    if options.disconnect.at_connect {
        return;
    }
    let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
    let socket = WebSocketStream::from_partially_read(stream, head.rest, Role::Server, Some(config)).await;
    let (sink, source) = socket.split();
    let _open = Open::new(&shared);
    let connection = Arc::new(Connection { shared: Arc::clone(&shared), sink: Mutex::new(sink), cut: Notify::new() });
    let session = Session {
        challenge: format!("{number}-{:032x}", random::<u128>()),
        authenticated: false,
        answers: JoinSet::new(),
        subs: HashMap::new(),
        connection,
    };
    // A transport error ends the session like a leaving client.
    let _ = session.run(source).await;
}

/// Counts an open WebSocket, also when its task is aborted.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.counters.opened();
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.counters.open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

fn document(head: &Head, shared: &Shared, options: &RelayOptions) -> Document {
    if !head.wants_document() {
        return Document { content_type: "text/plain".into(), ..Document::nip11("Please use a Nostr client.\n") };
    }
    bump(&shared.counters.documents);
    options.nip11.clone().unwrap_or_else(|| Document::html(404, "<h1>Not found</h1>"))
}

struct Session {
    connection: Arc<Connection>,
    challenge: String,
    authenticated: bool,
    answers: JoinSet<()>,
    subs: HashMap<String, AbortHandle>,
}

impl Session {
    async fn run(mut self, mut source: SplitStream<Socket>) -> Result<(), Error> {
        let connection = Arc::clone(&self.connection);
        let shared = Arc::clone(&connection.shared);
        let options = shared.options();
        if options.mode == Mode::Nostr && options.auth != Auth::None {
            connection.say(json!(["AUTH", self.challenge])).await?;
        }
        loop {
            let message = tokio::select! {
                biased;
                () = connection.cut.notified() => return Ok(()),
                message = source.next() => message,
            };
            let Some(message) = message.transpose()? else { return Ok(()) };
            let options = shared.options();
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
        match (part(0), part(1)) {
            (Some("REQ"), Some(sub)) => self.request(sub, parts.get(2..).unwrap_or_default(), text, options).await,
            (Some("COUNT"), Some(sub)) => self.count(sub, parts.get(2..).unwrap_or_default(), text, options).await,
            (Some("CLOSE"), Some(sub)) => {
                bump(&connection.shared.counters.closes);
                self.end(sub);
                Ok(())
            }
            (Some("EVENT"), None) if parts.len() == 2 => self.publish(&parts[1], text, options).await,
            (Some("AUTH"), None) if parts.len() == 2 => self.authenticate(&parts[1], options).await,
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

    /// What NIP-42 leaves of a request; the text to refuse it with otherwise, empty for no answer.
    fn barred(&self, options: &RelayOptions) -> Option<&'static str> {
        match options.auth {
            Auth::None => None,
            Auth::Required if self.authenticated => None,
            Auth::Required => Some("auth-required: only for authenticated clients"),
            Auth::Silent if self.authenticated => None,
            Auth::Silent => Some(""),
            Auth::Restricted if self.authenticated => Some("restricted: not for you"),
            Auth::Restricted => Some("auth-required: only for authenticated clients"),
        }
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
        let refused = if let Some(text) = self.barred(options) {
            Some((text.to_owned(), notice))
        } else if let Some(refusal) = refusal {
            Some((refusal.text.clone(), notice || refusal.notice))
        } else if sub.is_empty() || sub.chars().count() > SUB_ID_CHARS {
            Some(("invalid: subscription id".to_owned(), notice))
        } else if options.max_subscriptions.is_some_and(|max| self.subs.len() >= max) {
            Some(("error: too many subscriptions".to_owned(), notice))
        } else if filters.is_empty() {
            Some(("invalid: no filter".to_owned(), notice))
        } else {
            parsed.as_ref().err().map(|error| (format!("invalid: {error}"), notice))
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
        if let Some(text) = self.barred(options) {
            return if text.is_empty() { Ok(()) } else { connection.refuse(sub, text, false).await };
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
        let (ok, text) = match (&options.write, self.barred(options), signed::verify(event)) {
            (Write::Silent, ..) | (_, Some(""), _) => return Ok(()),
            (_, Some(text), _) => (false, text.to_owned()),
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

    async fn authenticate(&mut self, event: &Value, options: &RelayOptions) -> Result<(), Error> {
        let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
        let result = if options.auth == Auth::None { Err("no challenge") } else { self.check_auth(event) };
        self.authenticated |= result.is_ok();
        if result.is_ok() {
            bump(&self.connection.shared.counters.auths);
        }
        let text = result.err().map(|reason| format!("invalid: {reason}")).unwrap_or_default();
        self.connection.say(json!(["OK", id, result.is_ok(), text])).await
    }

    fn check_auth(&self, event: &Value) -> Result<(), &'static str> {
        signed::verify(event)?;
        let tags = event.get("tags").and_then(Value::as_array).ok_or("no tags")?;
        let tag = |name: &str| {
            let tag = tags.iter().find(|tag| tag.get(0).and_then(Value::as_str) == Some(name));
            tag.and_then(|tag| tag.get(1)).and_then(Value::as_str)
        };
        if event.get("kind").and_then(Value::as_u64) != Some(22242) {
            return Err("kind is not 22242");
        }
        if tag("challenge") != Some(self.challenge.as_str()) {
            return Err("wrong challenge");
        }
        let address = self.connection.shared.address;
        let hosts = [format!("ws://{address}"), format!("ws://localhost:{}", address.port())];
        let relay = tag("relay").map(|relay| relay.trim_end_matches('/'));
        if !hosts.iter().any(|host| relay == Some(host.as_str())) {
            return Err("relay tag names another relay");
        }
        let at = event.get("created_at").and_then(Value::as_i64).unwrap_or_default();
        if (at - crate::generate::now()).abs() > AUTH_WINDOW { Err("created_at is not now") } else { Ok(()) }
    }
}
