//! One connection: HTTP head, upgrade, and the frames under the messages.

use std::sync::{Arc, atomic::Ordering};

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Mutex, MutexGuard, Notify},
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{
            Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

use super::{
    Document, Mode, Negentropy, RelayOptions,
    http::{self, Head},
    pipe::Pipe,
    served::bump,
    server::Shared,
    session::Session,
};

pub(crate) type Socket = WebSocketStream<Pipe>;
type Sink = SplitSink<Socket, Message>;

/// The sending half and what its users share.
pub(crate) struct Connection {
    pub shared: Arc<Shared>,
    sink: Mutex<Sink>,
    /// Bytes of a WebSocket fragment.
    fragment: Option<usize>,
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
        Out { sink: self.sink.lock().await, connection: self }
    }

    /// Refuses a request, by CLOSED or, if the relay is of that sort, by NOTICE.
    pub async fn refuse(&self, sub: &str, text: &str, notice: bool) -> Result<(), Error> {
        self.say(if notice { json!(["NOTICE", text]) } else { json!(["CLOSED", sub, text]) }).await
    }
}

/// The locked sending half: what is fed reaches the client in one piece, without messages of other answers between.
pub(crate) struct Out<'a> {
    sink: MutexGuard<'a, Sink>,
    connection: &'a Connection,
}

impl Out<'_> {
    pub async fn feed(&mut self, message: Message) -> Result<(), Error> {
        self.connection.shared.counters.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
        match (self.connection.fragment, message) {
            (Some(size), Message::Text(text)) => {
                let mut pieces = text.as_bytes().chunks(size.max(1)).peekable();
                let mut kind = Data::Text;
                while let Some(piece) = pieces.next() {
                    let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), pieces.peek().is_none());
                    self.sink.feed(Message::Frame(frame)).await?;
                    kind = Data::Continue;
                }
                Ok(())
            }
            (_, message) => self.sink.feed(message).await,
        }
    }

    pub async fn flush(&mut self) -> Result<(), Error> {
        self.sink.flush().await
    }
}

pub(crate) async fn run(mut stream: TcpStream, shared: Arc<Shared>) {
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
    let open = Open::new(&shared);
    if options.link.max_connections.is_some_and(|max| shared.counters.open.load(Ordering::Relaxed) > max) {
        drop(open);
        let _ = http::respond(&mut stream, &Document::html(429, "<h1>Too many connections</h1>")).await;
        return;
    }
    if http::upgrade(&mut stream, key, &options.link.upgrade_headers).await.is_err() {
        return;
    }
    open.count();
    if options.disconnect.at_connect {
        return;
    }
    let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
    let pipe = Pipe::new(stream, options.link.mute_pongs);
    let socket = WebSocketStream::from_partially_read(pipe, head.rest, Role::Server, Some(config)).await;
    let (sink, source) = socket.split();
    let (fragment, cut) = (options.link.fragment, Notify::new());
    let connection = Connection { shared: Arc::clone(&shared), sink: Mutex::new(sink), fragment, cut };
    // A transport error ends the session like a leaving client.
    let _ = Session::new(Arc::new(connection)).run(source).await;
}

/// Counts an open WebSocket, also when its task is aborted.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        bump(&shared.counters.open);
        Self(shared)
    }

    /// The upgrade is done.
    fn count(&self) {
        self.0.counters.upgraded();
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn document(head: &Head, shared: &Shared, options: &RelayOptions) -> Document {
    if !head.wants_document() {
        return Document { content_type: "text/plain".into(), ..Document::nip11("Please use a Nostr client.\n") };
    }
    bump(&shared.counters.documents);
    match (&options.nip11, &options.negentropy) {
        (Some(document), Negentropy::On(_)) if *document == Document::default() => {
            Document::with_nips(&[1, 11, 42, 45, 67, 77])
        }
        (Some(document), _) => document.clone(),
        (None, _) => Document::html(404, "<h1>Not found</h1>"),
    }
}
