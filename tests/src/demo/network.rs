//! The demo's relay network: well-behaved relays that differ in what NIP-01 leaves open, and URLs where nobody answers.

use std::{net::TcpListener, sync::Arc, time::Duration};

use crate::{
    Generator, Relay, RelayHandle, RelayOptions, Spec, Store, distribute, generate, real_events,
    relay::{Count, Document, Eose, Mode},
};

/// Generated events.
const EVENTS: usize = 5_000;
/// Relays each event lies on.
const COPIES: usize = 3;
const SEED: u64 = 20_26;

/// One relay of the network.
pub struct Member {
    /// The relay.
    pub handle: RelayHandle,
    /// Its way of answering.
    pub about: &'static str,
    /// Not among the seeds: the finder must find it in an event.
    pub is_hidden: bool,
    /// Whether it has a NIP-11 document.
    pub has_document: bool,
}

/// The network. Dropping it stops all of it.
pub struct Network {
    /// Relays that behave well.
    pub relays: Vec<Member>,
    /// URLs of what is no relay, with what it is.
    pub dead: Vec<(String, &'static str)>,
    /// The real events among those held, as JSON; empty where they are absent.
    pub real: Vec<String>,
    /// Distinct events in the network.
    pub distinct: usize,
    _others: Vec<RelayHandle>,
}

impl Network {
    /// Starts it.
    ///
    /// # Panics
    /// If a port cannot be opened.
    pub fn start() -> Self {
        let real = real_events().unwrap_or_default();
        // The relays cap at 100 and more; what one second holds must be less, or no client could get it all.
        let spec = Spec { bursts: vec![(1_700_000_000, 60)], authors: 400, ..Spec::default() };
        let mut generator = Generator::new(SEED);
        let mut events = generator.corpus(EVENTS, &spec);
        events.extend(real.iter().map(|event| Arc::from(event.as_str())));

        let all = Store::new(events);
        let members = members();
        let held = distribute(all.len(), members.len(), COPIES, SEED);
        let mut relays: Vec<Member> = members
            .into_iter()
            .zip(&held)
            .map(|((about, is_hidden, options), held)| {
                let has_document = options.nip11.is_some();
                let handle = Relay::start(RelayOptions { events: all.subset(held), ..options });
                Member { handle, about, is_hidden, has_document }
            })
            .collect();

        // Relay lists (NIP-65) on relays that are seeds name those that are not.
        let hidden: Vec<_> = relays.iter().filter(|member| member.is_hidden).map(|m| m.handle.url()).collect();
        let tags: Vec<_> = hidden.iter().map(|url| vec!["r".to_owned(), url.clone()]).collect();
        let list = generator.event_by(1, 10002, generate::now() - 3_600, &tags, "");
        for member in relays.iter_mut().filter(|member| !member.is_hidden).take(COPIES) {
            member.handle.add(&list);
        }

        let mut dead = vec![(closed_port(), "closed port")];
        let mut others = Vec::new();
        for (what, mode) in [
            ("silent TCP server", Mode::SilentTcp),
            ("silent WebSocket server", Mode::Silent),
            ("WebSocket echo", Mode::Echo),
            ("HTML page", Mode::Http(Document::html(200, "<html><body>It works!</body></html>"))),
        ] {
            let handle = Relay::start(RelayOptions { mode, ..RelayOptions::default() });
            dead.push((handle.url(), what));
            others.push(handle);
        }
        Self { relays, dead, distinct: all.len() + 1, real, _others: others }
    }

    /// A seed file: the relays that are not hidden, and what is no relay.
    pub fn seeds(&self) -> String {
        let mut text = String::from("# Seeds of the demo\n");
        let live = self.relays.iter().filter(|member| !member.is_hidden).map(|m| (m.handle.url(), m.about));
        for (url, about) in live.chain(self.dead.iter().cloned()) {
            text.push_str(&format!("{url}  # {about}\n"));
        }
        text
    }

    /// Event–relay pairs the network holds.
    pub fn pairs(&self) -> usize {
        self.relays.iter().map(|member| member.handle.held().len()).sum()
    }
}

/// About, hidden, options.
fn members() -> Vec<(&'static str, bool, RelayOptions)> {
    let plain = RelayOptions::default;
    let named = |name: &str, software: &str, version: &str| {
        let document = serde_json::json!({
            "name": name, "software": software, "version": version, "supported_nips": [1, 11, 45],
        });
        Some(Document::nip11(document.to_string()))
    };
    let relay = "https://software.invalid/relay";
    let other = "https://software.invalid/other";
    vec![
        ("no cap", false, RelayOptions { nip11: named("Anchorage", relay, "1.4.0"), ..plain() }),
        (
            "500 events an answer",
            false,
            RelayOptions { cap: Some(500), nip11: named("Basel", relay, "1.4.0"), ..plain() },
        ),
        (
            "100 events an answer",
            false,
            RelayOptions { cap: Some(100), nip11: named("Cusco", relay, "1.3.2"), ..plain() },
        ),
        (
            "250 events an answer, NIP-67 hints",
            false,
            RelayOptions { cap: Some(250), eose: Eose::Hint, nip11: named("Dakar", other, "0.9"), ..plain() },
        ),
        (
            "slow to answer",
            false,
            RelayOptions {
                connect_latency: Duration::from_millis(80),
                request_latency: Duration::from_millis(40),
                cap: Some(1_000),
                nip11: named("Edinburgh", other, "1.0"),
                ..plain()
            },
        ),
        (
            "one subscription at a time, no COUNT",
            false,
            RelayOptions {
                max_subscriptions: Some(1),
                count: Count::Refuse("unsupported: no COUNT".into()),
                nip11: named("Fukuoka", other, "1.0"),
                ..plain()
            },
        ),
        ("found in an event, no NIP-11", true, RelayOptions { cap: Some(400), nip11: None, ..plain() }),
        ("found in an event", true, RelayOptions { cap: Some(300), nip11: named("Hobart", relay, "1.4.0"), ..plain() }),
    ]
}

/// A port of this machine where nobody listens; somebody might, in a moment, but it will hardly be a relay.
fn closed_port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    format!("ws://{}", listener.local_addr().expect("a bound socket has an address"))
}
