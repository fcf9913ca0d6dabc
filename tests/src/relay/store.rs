//! Events as a relay holds them: the bytes as they came, and what filters look at.

use std::{fs, io, path::Path, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

/// One event, valid or not. Members a broken text does not give are absent, and then no filter that names them matches.
#[derive(Debug)]
pub struct Held {
    /// The JSON text, sent as it is.
    pub raw: Arc<str>,
    /// The `id` it claims.
    pub id: Option<String>,
    /// The `pubkey` it claims.
    pub pubkey: Option<String>,
    /// `created_at`; 0 if there is none.
    pub created_at: i128,
    /// `kind`.
    pub kind: Option<u64>,
    /// First values of the one-letter tags.
    pub(crate) tags: Vec<(char, String)>,
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    pubkey: String,
    created_at: i64,
    kind: u64,
    tags: Vec<Vec<String>>,
}

impl Held {
    /// Reads a text with as much tolerance as it needs: proper event, any JSON object, then by searching the text.
    pub fn new(raw: impl Into<Arc<str>>) -> Self {
        let raw = raw.into();
        if let Ok(wire) = serde_json::from_str::<Wire>(&raw) {
            let letter = |tag: Vec<String>| {
                let mut tag = tag.into_iter();
                Some((one_letter(&tag.next()?)?, tag.next()?))
            };
            let tags = wire.tags.into_iter().filter_map(letter).collect();
            return Self {
                raw,
                id: Some(wire.id),
                pubkey: Some(wire.pubkey),
                created_at: wire.created_at.into(),
                kind: Some(wire.kind),
                tags,
            };
        }
        match serde_json::from_str::<Value>(&raw) {
            Ok(value) => Self::from_value(raw, &value),
            Err(_) => Self::from_fragments(raw),
        }
    }

    fn from_value(raw: Arc<str>, value: &Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let letter = |tag: &Value| Some((one_letter(tag.get(0)?.as_str()?)?, tag.get(1)?.as_str()?.to_owned()));
        let tags = value.get("tags").and_then(Value::as_array);
        let at = value.get("created_at");
        let at = at
            .and_then(|v| v.as_i64().map(i128::from).or(v.as_u64().map(i128::from)).or(v.as_f64().map(|f| f as i128)));
        Self {
            id: text("id"),
            pubkey: text("pubkey"),
            created_at: at.unwrap_or(0),
            kind: value.get("kind").and_then(Value::as_u64),
            tags: tags.map(|tags| tags.iter().filter_map(letter).collect()).unwrap_or_default(),
            raw,
        }
    }

    fn from_fragments(raw: Arc<str>) -> Self {
        let after = |name: &str| raw.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest.trim_start());
        let text = |name: &str| after(name)?.strip_prefix('"')?.split('"').next().map(str::to_owned);
        let number = |name: &str| {
            let rest = after(name)?;
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
            rest.get(..end)?.parse::<i128>().ok()
        };
        Self {
            id: text("id"),
            pubkey: text("pubkey"),
            created_at: number("created_at").unwrap_or(0),
            kind: number("kind").and_then(|kind| u64::try_from(kind).ok()),
            tags: Vec::new(),
            raw: Arc::clone(&raw),
        }
    }
}

fn one_letter(name: &str) -> Option<char> {
    let mut chars = name.chars();
    match (chars.next(), chars.next()) {
        (Some(letter), None) if letter.is_ascii_alphabetic() => Some(letter),
        _ => None,
    }
}

/// Events to be held by relays. Copies and subsets share the events, so a hundred overlapping relays cost pointers.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<Vec<Arc<Held>>>);

impl Store {
    /// From JSON texts, in their order. They need not be valid.
    pub fn new<T: Into<Arc<str>>>(events: impl IntoIterator<Item = T>) -> Self {
        events.into_iter().map(|raw| Arc::new(Held::new(raw))).collect()
    }

    /// From a file with one event a line; empty lines are left out.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn from_jsonl(file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file)?;
        Ok(Self::new(text.lines().filter(|line| !line.trim().is_empty())))
    }

    /// The events with these positions (as `distribute` gives them); positions beyond the end are left out.
    pub fn subset(&self, positions: &[usize]) -> Self {
        positions.iter().filter_map(|i| self.0.get(*i).cloned()).collect()
    }

    /// The events, in the order they were given.
    pub fn events(&self) -> &[Arc<Held>] {
        &self.0
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Arc<Held>> for Store {
    fn from_iter<T: IntoIterator<Item = Arc<Held>>>(events: T) -> Self {
        Self(Arc::new(events.into_iter().collect()))
    }
}
