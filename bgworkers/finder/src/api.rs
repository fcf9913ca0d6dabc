//! HTTP APIs that list relays (`api_source`).

use std::sync::{Arc, Mutex, PoisonError};

use bigbrotr_core::{Config, Context, ServiceError, StoreError};
use bigbrotr_models::{AddressPolicy, Network, without_nul};
use bigbrotr_utils::{Dialer, DialerConfig, HttpRequest, USER_AGENT};
use futures_util::StreamExt;

use crate::mentions::Mentions;
use crate::naming::{self, Outcome, Room};
use crate::urls;

/// Bytes of a document.
const MAX_DOCUMENT: usize = 4 << 20;
/// Keys taken of one document.
const MAX_URLS: usize = 20_000;
/// Levels of a document. SQL/JSON copies what is inside once a level.
const MAX_DEPTH: usize = 32;
/// Fetches at a time: one that hangs must not hold up the others, and each may hold a document.
const AT_A_TIME: usize = 4;

pub const RELEASE: &str = "SELECT bigbrotr.release_api_sources()";
pub const CLAIM: &str = "SELECT url, path FROM bigbrotr.claim_api_sources()";
pub const DONE: &str = "SELECT bigbrotr.api_source_done($1, $2, NULLIF($3, -1))";
/// What names no scheme is no URL: it need not come here.
pub const VALUES: &str =
    "SELECT value FROM bigbrotr.json_path_values($1, $2) AS v(value) WHERE value LIKE '%://%' LIMIT 200000";

/// What was fetched.
#[derive(Debug, Default)]
pub struct Sources {
    /// Sources tried.
    pub fetched: u64,
    /// Of these, without success.
    pub failed: u64,
    /// Distinct keys in a document, summed.
    pub urls: u64,
    /// What became of them.
    pub outcome: Outcome,
}

/// The dialer for the settings in force. Making one reads files, so it is kept until they change.
#[derive(Debug, Default)]
pub struct Dialers(Mutex<Option<(Arc<Config>, Dialer)>>);

impl Dialers {
    fn get(&self, config: &Arc<Config>) -> Dialer {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((same, dialer)) if same == config => dialer.clone(),
            _ => {
                let dialer = Dialer::new(settings(config));
                *kept = Some((config.clone(), dialer.clone()));
                dialer
            }
        }
    }
}

/// Only the clearnet, and only if it is on.
fn settings(config: &Config) -> DialerConfig {
    DialerConfig {
        name_servers: config.name_servers.clone(),
        address_policy: config.address_policy,
        ports: config.ports.clone(),
        user_agent: config.user_agent.clone().unwrap_or_else(|| USER_AGENT.to_owned()),
        overlay_connect_timeout: config.overlay_connect_timeout,
        overlay_request_timeout: config.overlay_request_timeout,
        connect_timeout: config.connect_timeout,
        request_timeout: config.request_timeout,
        networks: config.networks.iter().copied().filter(|network| *network == Network::Clearnet).collect(),
        ..DialerConfig::default()
    }
}

/// Makes those due again that a finder claimed which did not end in order.
pub async fn release(context: &Context) -> Result<(), StoreError> {
    context.store.call(RELEASE, Vec::new()).await.map(drop)
}

/// Fetches every source that is due. What goes wrong with one is written to its row.
pub async fn fetch_due(
    context: &Context,
    dialers: &Dialers,
    room: &mut Room,
    sources: &mut Sources,
) -> Result<(), ServiceError> {
    let rows = context.store.call(CLAIM, Vec::new()).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        due.push((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
    }
    context.progress.set_activity(format!("asking {} APIs", due.len()));
    let dialer = dialers.get(&context.config());
    let fetches = due.into_iter().map(|(url, path)| {
        let dialer = &dialer;
        async move {
            let found = fetch(context, dialer, &url, &path).await;
            (url, found)
        }
    });
    let mut fetches = futures_util::stream::iter(fetches).buffer_unordered(AT_A_TIME);
    loop {
        let next = tokio::select! {
            next = fetches.next() => next,
            () = context.until_shutdown() => None,
        };
        let Some((url, found)) = next else { return Ok(()) };
        sources.fetched += 1;
        let written = match found {
            Ok(found) => match naming::write(context, &found, "api", room, None).await {
                Ok(outcome) => Ok((found.len(), outcome)),
                Err(StoreError::Closed) => return Err(StoreError::Closed.into()),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error),
        };
        let (error, count) = match written {
            Ok((count, outcome)) => {
                sources.urls += count as u64;
                sources.outcome.add(outcome);
                (None, i32::try_from(count).unwrap_or(i32::MAX))
            }
            Err(error) => {
                sources.failed += 1;
                (Some(error), -1)
            }
        };
        context.store.call(DONE, vec![url.into(), error.into(), count.into()]).await?;
    }
}

/// What a document names, or why there is none, in words.
async fn fetch(context: &Context, dialer: &Dialer, url: &str, path: &str) -> Result<Mentions, String> {
    context.memory.ready().await;
    let request = HttpRequest::url(url, "application/json", MAX_DOCUMENT).map_err(|e| format!("{}: {e}", e.class()))?;
    let response = dialer.http_get(&request).await.map_err(|error| format!("{}: {error}", error.class()))?;
    if !(200..300).contains(&response.status) {
        return Err(format!("http: status {}", response.status));
    }
    if let Some(encoding) = response.encoding {
        let encoding: String = encoding.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(format!("http: encoded as {encoding}, which was not asked for"));
    }
    let document = document(&response.body)?;
    let values = context.store.call(VALUES, vec![document.into(), path.into()]).await.map_err(|error| match error {
        StoreError::Sql { message, .. } => format!("json: {message}"),
        other => other.to_string(),
    })?;
    let policy = context.config().address_policy;
    let found = tokio::task::spawn_blocking(move || {
        let texts = values.iter().filter_map(|row| row.text(0).ok());
        keys(texts, policy)
    });
    found.await.map_err(|error| error.to_string())
}

/// The body as a text that PostgreSQL can be given. A description with a character that it cannot hold is no reason to lose the
/// relays beside it.
fn document(body: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    // JSON knows no U+0000.
    if text.contains('\0') {
        return Err("json: binary".into());
    }
    if text.trim_start().starts_with('<') {
        return Err("json: an HTML or XML page".into());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("json: nested deeper than {MAX_DEPTH} levels"));
        }
    }
    Ok(without_nul(text).into_owned())
}

fn keys<'a>(texts: impl Iterator<Item = &'a str>, policy: AddressPolicy) -> Mentions {
    let mut found = Mentions::default();
    for url in texts.flat_map(|text| urls::in_text(text, policy)) {
        if found.len() == MAX_URLS {
            break;
        }
        found.add(url);
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn apis_are_asked_over_the_clearnet_only_and_only_if_it_is_on() {
        let config = Config { networks: vec![Network::Tor, Network::Clearnet], ..Config::default() };
        assert_eq!(settings(&config).networks, [Network::Clearnet]);
        assert!(settings(&Config { networks: vec![Network::Tor], ..config }).networks.is_empty());
    }

    #[test]
    fn characters_that_postgres_cannot_hold_cost_nothing_but_themselves() {
        let body = b"\xef\xbb\xbf{\"a\":\"caf\xe9 \\u0000\\ud83d\",\"b\":\"wss://nos.lol\"}";
        assert_eq!(document(body).unwrap(), "{\"a\":\"caf\u{fffd} \u{fffd}\u{fffd}\",\"b\":\"wss://nos.lol\"}");
        for bad in [&b"[\0]"[..], b" <html>"] {
            document(bad).unwrap_err();
        }
    }

    #[test]
    fn a_document_yields_a_bounded_number_of_keys() {
        let texts: Vec<String> = (0..MAX_URLS + 10).map(|n| format!("wss://r{n}.nos.lol")).collect();
        let found = keys(texts.iter().map(String::as_str), AddressPolicy::default());
        assert_eq!(found.len(), MAX_URLS);
    }
}
