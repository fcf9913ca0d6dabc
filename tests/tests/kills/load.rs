//! What goes on meanwhile: relays with a history that get new events, and a client that archives by SQL.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bigbrotr_tests::relay::{Disconnect, Eose, Extra, Order, Refusal};
use bigbrotr_tests::truth::{Pair, is_archivable};
use bigbrotr_tests::{Cluster, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, distribute, generate};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

/// Where the client says it saw its events; nobody answers there.
pub const CLIENT_RELAY: &str = "ws://127.0.0.1:1";
/// Events of the history of each relay, about.
const SHARE: usize = 500;

/// The relays, some of them known to the server already.
pub struct Network {
    relays: Vec<Arc<RelayHandle>>,
    corpus: Vec<Arc<str>>,
    enrolled: watch::Sender<usize>,
    seed: u64,
}

/// Slow enough to be caught in the middle, and most of them with a fault.
fn behaviour(n: usize) -> RelayOptions {
    let normal = || RelayOptions {
        cap: Some(60),
        request_latency: Duration::from_millis(20),
        event_latency: Duration::from_micros(500),
        ..RelayOptions::default()
    };
    match n % 6 {
        0 => normal(),
        1 => RelayOptions { order: Order::NewestShuffled { seed: 1 }, ..normal() },
        2 => RelayOptions { until_exclusive: true, since_exclusive: true, ..normal() },
        3 => {
            let refuse = Some(Refusal { every: 7, text: "error: try again".into(), notice: false });
            RelayOptions { refuse, extra: Extra { doubles: true, ..Extra::default() }, ..normal() }
        }
        4 => {
            RelayOptions { disconnect: Disconnect { probability: 0.001, seed: 5, ..Disconnect::default() }, ..normal() }
        }
        _ => RelayOptions { order: Order::NewestAscending, eose: Eose::Hint, limit_ignored: true, ..normal() },
    }
}

impl Network {
    pub fn new(seed: u64, relays: usize) -> Self {
        let now = generate::now();
        let spec = Spec { authors: 60, created_at: now - 90 * 86_400..now - 60, ..Spec::default() };
        let corpus = Generator::new(seed).corpus(relays * SHARE / 2, &spec);
        let store = Store::new(corpus.clone());
        let shares = distribute(store.len(), relays, 2, seed);
        let relays = shares
            .into_iter()
            .enumerate()
            .map(|(n, share)| Relay::start(RelayOptions { events: store.subset(&share), ..behaviour(n) }))
            .map(Arc::new)
            .collect();
        Self { relays, corpus, enrolled: watch::Sender::new(0), seed }
    }

    pub fn len(&self) -> usize {
        self.relays.len()
    }

    /// Those the server knows.
    pub fn enrolled(&self) -> impl Iterator<Item = &RelayHandle> {
        self.relays[..*self.enrolled.borrow()].iter().map(AsRef::as_ref)
    }

    /// Tells the server about the first `count`.
    pub async fn enrol(&mut self, client: &Client, count: usize) {
        let known = *self.enrolled.borrow();
        for relay in self.relays.iter().take(count).skip(known) {
            // A row may be there: the server may have been killed between its commit and its answer.
            let sql = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet') ON CONFLICT DO NOTHING";
            client.execute(sql, &[&relay.url()]).await.expect("enrolled");
        }
        self.enrolled.send_replace(known.max(count));
    }

    /// Gives two known relays a new event, ten times a second, until it is aborted.
    pub fn feed(&self) -> JoinHandle<()> {
        let (relays, enrolled) = (self.relays.clone(), self.enrolled.subscribe());
        let mut generator = Generator::new(self.seed ^ 1);
        tokio::spawn(async move {
            for n in 0_usize.. {
                let event = generator.event_by(n % 20, 1, generate::now(), &[], &format!("new {n}"));
                let count = (*enrolled.borrow()).max(1);
                relays[n % count].add(&event);
                relays[(n * 7 + 1) % count].add(&event);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    }
}

/// A client that repeats each call until the server says that it is committed.
pub struct Inserter {
    task: JoinHandle<BTreeSet<Pair>>,
    stop: Arc<AtomicBool>,
}

impl Inserter {
    pub fn start(cluster: &Cluster, seed: u64, network: &Network) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(insert(
            cluster.config("postgres", "postgres"),
            Generator::new(seed ^ 2),
            network.corpus.clone(),
            Arc::clone(&stop),
        ));
        Self { task, stop }
    }

    /// The pairs that are committed.
    pub async fn finish(self) -> BTreeSet<Pair> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

async fn insert(
    config: Config,
    mut generator: Generator,
    corpus: Vec<Arc<str>>,
    stop: Arc<AtomicBool>,
) -> BTreeSet<Pair> {
    let mut inserted = BTreeSet::new();
    let mut connection: Option<Client> = None;
    for n in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let at = generate::now();
        let own = (0..10).map(|k| generator.event_by(k, 1, at - 1_000_000, &[], &format!("by SQL {n} {k}")));
        // Half of them come from relays at the same time.
        let theirs = corpus.iter().cycle().skip(n * 10 % corpus.len()).take(10).map(ToString::to_string);
        let events: Vec<String> = own.chain(theirs).collect();
        loop {
            let client = match connection.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => match config.connect(NoTls).await {
                    Ok((client, driver)) => {
                        tokio::spawn(driver);
                        client
                    }
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            match client.execute("SELECT bigbrotr.event_insert($1, $2)", &[&events, &CLIENT_RELAY]).await {
                Ok(_) => {
                    connection = Some(client);
                    break;
                }
                Err(error) => {
                    // The connection is lost or the server is going down: nothing else may go wrong.
                    let code = error.code().map(|code| code.code().to_owned());
                    assert!(code.as_deref().is_none_or(|code| code.starts_with("57P")), "event_insert: {error:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        for json in events.iter().filter(|json| is_archivable(json)) {
            let event: serde_json::Value = serde_json::from_str(json).expect("JSON");
            inserted.insert((event["id"].as_str().expect("an id").to_owned(), CLIENT_RELAY.to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    inserted
}
