//! A small network with every kind of misbehaviour in it.

use std::{sync::Arc, time::Duration};

use bigbrotr_tests::{
    Generator, Relay, RelayHandle, RelayOptions, Spec, Store, distribute, generate, odd,
    relay::{
        Accepts, Auth, Challenge, Deep, DeepFault, Dialect, Disconnect, Document, Endless, Eose, Extra, LimitZero,
        Link, Live, LiveEnd, MissingLimit, Mode, NegFault, NegOn, Negentropy, Order, Refusal,
    },
};

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub relays: usize,
    pub events: usize,
    /// Events of one second.
    pub burst: usize,
    /// Largest answer of the relays that have one.
    pub cap: usize,
    /// Time for everything.
    pub deadline: Duration,
}

impl Scale {
    /// By the environment: `SOAK_RELAYS`, `SOAK_EVENTS`, `SOAK_BURST`, `SOAK_CAP`, `SOAK_SECONDS`.
    pub fn from_env() -> Self {
        let number = |name: &str, usual: usize| match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")),
            Err(_) => usual,
        };
        Self {
            relays: number("SOAK_RELAYS", 40),
            events: number("SOAK_EVENTS", 2_000),
            burst: number("SOAK_BURST", 300),
            cap: number("SOAK_CAP", 50),
            deadline: Duration::from_secs(number("SOAK_SECONDS", 240) as u64),
        }
    }
}

/// What a relay is and what may be asked of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Slow, odd or unusual, but within the protocol: everything is archived and known complete.
    Good,
    /// Everything is archived, or the archive says what is not.
    Bad,
}

pub struct Member {
    pub name: &'static str,
    pub class: Class,
    pub relay: RelayHandle,
}

/// What a relay holds beyond its share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Nothing,
    Burst,
    Odd,
    Invalid,
}

type Kind = (&'static str, Class, More, RelayOptions);

pub fn network(scale: Scale) -> Vec<Member> {
    let now = generate::now();
    let mut generator = Generator::new(31);
    let spec = Spec { authors: 60, created_at: now - 60 * 86_400..now - 120, ..Spec::default() };
    let corpus = generator.corpus(scale.events, &spec);
    let burst_at = now - 9 * 86_400;
    let burst = generator.corpus(scale.burst, &Spec { bursts: vec![(burst_at, scale.burst)], ..spec });
    let text = |odd: Vec<odd::Odd>| odd.into_iter().map(|(_, event)| Arc::from(event)).collect::<Vec<Arc<str>>>();
    let valid = text(odd::valid(&mut generator, now - 5_000));
    let mut invalid = text(odd::invalid(&mut generator, now - 6_000));
    invalid.push(odd::oversize(&mut generator, now - 7_000).into());
    let kinds: Vec<Kind> = good(scale).into_iter().chain(bad(scale, &invalid)).collect();
    let shares = distribute(corpus.len(), scale.relays, 3.min(scale.relays), 17);
    let started = shares.into_iter().zip(kinds.iter().cycle()).map(|(share, (name, class, more, options))| {
        let more: &[Arc<str>] = match more {
            More::Nothing => &[],
            More::Burst => &burst,
            More::Odd => &valid,
            More::Invalid => &invalid,
        };
        let share = share.iter().filter_map(|i| corpus.get(*i));
        let events = Store::new(share.chain(more).cloned());
        Member { name, class: *class, relay: Relay::start(RelayOptions { events, ..options.clone() }) }
    });
    started.collect()
}

fn good(scale: Scale) -> Vec<Kind> {
    let normal = RelayOptions::default;
    let capped = || RelayOptions { cap: Some(scale.cap), ..normal() };
    let link = |link| RelayOptions { link, ..normal() };
    let unusual = Accepts {
        list: Some(scale.cap),
        only_with_condition: true,
        limit_zero: LimitZero::Refused,
        missing_limit: MissingLimit::Silent,
        ..Accepts::default()
    };
    let good = vec![
        ("plain", More::Nothing, normal()),
        ("odd but valid events", More::Odd, normal()),
        ("cap", More::Nothing, capped()),
        ("hints", More::Nothing, RelayOptions { eose: Eose::Hint, ..capped() }),
        ("NIP-77", More::Nothing, RelayOptions { negentropy: Negentropy::on(), ..capped() }),
        ("picky", More::Nothing, RelayOptions { accepts: unusual, ..capped() }),
        ("pretty", More::Nothing, RelayOptions { dialect: Dialect::Pretty, ..normal() }),
        ("escaped", More::Odd, RelayOptions { dialect: Dialect::Escaped, ..normal() }),
        ("fragments", More::Nothing, link(Link { fragment: Some(100), ..Link::default() })),
        ("one connection", More::Nothing, link(Link { max_connections: Some(1), ..Link::default() })),
        ("slow", More::Nothing, RelayOptions { request_latency: Duration::from_millis(50), ..capped() }),
    ];
    good.into_iter().map(|(name, more, options)| (name, Class::Good, more, options)).collect()
}

fn bad(scale: Scale, invalid: &[Arc<str>]) -> Vec<Kind> {
    let normal = RelayOptions::default;
    let capped = || RelayOptions { cap: Some(scale.cap), ..normal() };
    let ordered = |order| RelayOptions { order, ..capped() };
    let refusing = |text: &str, every, notice| RelayOptions {
        refuse: Some(Refusal { every, text: text.into(), notice }),
        ..capped()
    };
    let breaking = |disconnect| RelayOptions { disconnect, ..capped() };
    let sending = |extra| RelayOptions { extra, ..normal() };
    let reconciling = |fault| RelayOptions {
        negentropy: Negentropy::On(NegOn { fault: Some(fault), ..NegOn::default() }),
        ..capped()
    };
    let asking = |auth, challenge| RelayOptions { auth, challenge, ..normal() };
    let end = LiveEnd { after_events: None, after: Some(Duration::from_secs(1)), text: "error: enough".into() };
    let bad = vec![
        ("burst above our limit", More::Burst, normal()),
        ("burst above the cap", More::Burst, capped()),
        ("burst above the cap, shuffled", More::Burst, ordered(Order::NewestShuffled { seed: 1 })),
        ("random order", More::Nothing, ordered(Order::Random { seed: 2 })),
        ("ascending", More::Nothing, ordered(Order::Ascending)),
        ("exclusive", More::Nothing, RelayOptions { until_exclusive: true, since_exclusive: true, ..capped() }),
        ("limit ignored", More::Burst, RelayOptions { limit_ignored: true, ..normal() }),
        ("windows ignored", More::Nothing, RelayOptions { ignore_since_until: true, ..capped() }),
        ("no EOSE", More::Nothing, RelayOptions { eose: Eose::Never, ..normal() }),
        ("CLOSED after EOSE", More::Nothing, RelayOptions { eose: Eose::ThenClosed("error: done".into()), ..capped() }),
        ("every third refused", More::Nothing, refusing("error: busy", 3, false)),
        ("every fourth noticed", More::Nothing, refusing("too many requests, slow down", 4, true)),
        (
            "breaks off",
            More::Nothing,
            breaking(Disconnect { after_events: Some(scale.cap / 2), ..Disconnect::default() }),
        ),
        (
            "breaks at random",
            More::Nothing,
            breaking(Disconnect { probability: 0.01, seed: 3, ..Disconnect::default() }),
        ),
        ("invalid events", More::Invalid, normal()),
        (
            "garbage",
            More::Nothing,
            sending(Extra {
                foreign_sub: invalid.iter().take(9).cloned().collect(),
                after_eose: invalid.iter().skip(9).take(9).cloned().collect(),
                text: vec!["[".repeat(10_000), r#"["EOSE"]"#.into(), r#"["CLOSED","other","error: x"]"#.into()],
                binary: vec![vec![0, 159, 146, 150]],
                doubles: true,
                ..Extra::default()
            }),
        ),
        (
            "no UTF-8",
            More::Nothing,
            sending(Extra { raw_text: vec![b"[\"EVENT\",\"\xff\"]".to_vec()], ..Extra::default() }),
        ),
        ("huge frames", More::Nothing, sending(Extra { huge: Some(20 << 20), ..Extra::default() })),
        ("endless and new", More::Nothing, sending(Extra { endless: Some(Endless::Fresh), ..Extra::default() })),
        ("endless and old", More::Nothing, sending(Extra { endless: Some(Endless::Repeat), ..Extra::default() })),
        ("flood of ids", More::Nothing, reconciling(NegFault::Flood(50_000))),
        ("endless rounds", More::Nothing, reconciling(NegFault::Endless)),
        (
            "withheld",
            More::Nothing,
            RelayOptions {
                withheld_kinds: vec![4, 1059],
                withheld_text: Some("restricted: not for you".into()),
                negentropy: Negentropy::On(NegOn { phantoms: vec![(1_700_000_000, [7; 32])], ..NegOn::default() }),
                ..capped()
            },
        ),
        ("AUTH without a CLOSED", More::Nothing, asking(Auth::Silent, Challenge::Several(3))),
        ("oversize challenge", More::Nothing, asking(Auth::Required, Challenge::Oversize(1 << 20))),
        (
            "restless",
            More::Nothing,
            RelayOptions {
                link: Link { lifetime: Some(Duration::from_secs(1)), ..Link::default() },
                live: Live { lose_every: Some(2), end: Some(end), ..Live::default() },
                ..capped()
            },
        ),
        (
            "freezes",
            More::Nothing,
            RelayOptions { link: Link { freeze: Some(Duration::from_millis(20)), ..Link::default() }, ..capped() },
        ),
        (
            "silent in the deep",
            More::Nothing,
            RelayOptions {
                deep: Some(Deep { age: 20 * 86_400, unbounded_only: false, fault: DeepFault::Silent }),
                ..capped()
            },
        ),
        ("web page", More::Nothing, RelayOptions { mode: Mode::Http(Document::html(200, "<html>")), ..normal() }),
    ];
    bad.into_iter().map(|(name, more, options)| (name, Class::Bad, more, options)).collect()
}
