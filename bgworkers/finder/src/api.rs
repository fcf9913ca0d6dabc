//! HTTP APIs that list relays (`api_source`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bigbrotr_core::{Config, Context, ServiceError, StoreError};
use bigbrotr_models::{AddressPolicy, Network, RelayUrl};
use bigbrotr_utils::{Dialer, DialerConfig, HttpRequest, USER_AGENT};
use futures_util::StreamExt;

use crate::urls;

/// Bytes of a document.
const MAX_DOCUMENT: usize = 4 << 20;
/// Keys taken of one document.
const MAX_URLS: usize = 20_000;
/// Fetches at a time: one that hangs must not hold up the others, and each may hold a document.
const AT_A_TIME: usize = 4;

pub const RELEASE: &str = "SELECT bigbrotr.release_api_sources()";
pub const CLAIM: &str = "SELECT url, path FROM bigbrotr.claim_api_sources()";
pub const DONE: &str = "SELECT bigbrotr.api_source_done($1, $2)";
pub const VALUES: &str = "SELECT value FROM bigbrotr.json_path_values($1, $2) AS v(value)";

/// What was fetched.
#[derive(Debug, Default)]
pub struct Sources {
    /// Sources tried.
    pub fetched: u64,
    /// Of these, without success.
    pub failed: u64,
    /// Distinct keys in a document, summed.
    pub urls: u64,
    /// Candidates newly added.
    pub new: u64,
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
pub async fn fetch_due(context: &Context, dialers: &Dialers, sources: &mut Sources) -> Result<(), ServiceError> {
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
            let outcome = fetch(context, dialer, &url, &path).await;
            (url, outcome)
        }
    });
    let mut fetches = futures_util::stream::iter(fetches).buffer_unordered(AT_A_TIME);
    loop {
        let next = tokio::select! {
            next = fetches.next() => next,
            () = context.until_shutdown() => None,
        };
        let Some((url, outcome)) = next else { return Ok(()) };
        sources.fetched += 1;
        let error = match outcome {
            Ok((urls, new)) => {
                sources.urls += urls;
                sources.new += new;
                None
            }
            Err(error) => {
                sources.failed += 1;
                Some(error)
            }
        };
        context.store.call(DONE, vec![url.into(), error.into()]).await?;
    }
}

/// Distinct keys, and how many candidates are new; or why not, in words.
async fn fetch(context: &Context, dialer: &Dialer, url: &str, path: &str) -> Result<(u64, u64), String> {
    context.memory.ready().await;
    let request = HttpRequest::url(url, "application/json", MAX_DOCUMENT).map_err(|e| format!("{}: {e}", e.class()))?;
    let response = dialer.http_get(&request).await.map_err(|error| format!("{}: {error}", error.class()))?;
    if !(200..300).contains(&response.status) {
        return Err(format!("http: status {}", response.status));
    }
    // JSON knows neither, and a text of PostgreSQL cannot hold U+0000.
    let document = String::from_utf8(response.body).ok().filter(|text| !text.contains('\0'));
    let document = document.ok_or("json: not UTF-8 text")?;
    let document = document.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(document);
    let values = context.store.call(VALUES, vec![document.into(), path.into()]).await.map_err(|error| match error {
        StoreError::Sql { message, .. } => format!("json: {message}"),
        other => other.to_string(),
    })?;
    let policy = context.config().address_policy;
    let found = tokio::task::spawn_blocking(move || {
        let texts = values.iter().filter_map(|row| row.text(0).ok());
        keys(texts, policy)
    });
    let found = found.await.map_err(|error| error.to_string())?;
    let new = urls::add(context, &found, "api").await.map_err(|error| error.to_string())?;
    Ok((found.len() as u64, new))
}

fn keys<'a>(texts: impl Iterator<Item = &'a str>, policy: AddressPolicy) -> BTreeSet<RelayUrl> {
    let mut found = BTreeSet::new();
    for url in texts.flat_map(|text| urls::in_text(text, policy)) {
        if found.len() == MAX_URLS {
            break;
        }
        found.insert(url);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_are_asked_over_the_clearnet_only_and_only_if_it_is_on() {
        let config = Config { networks: vec![Network::Tor, Network::Clearnet], ..Config::default() };
        assert_eq!(settings(&config).networks, [Network::Clearnet]);
        assert!(settings(&Config { networks: vec![Network::Tor], ..config }).networks.is_empty());
    }

    #[test]
    fn a_document_yields_a_bounded_number_of_keys() {
        let texts: Vec<String> = (0..MAX_URLS + 10).map(|n| format!("wss://r{n}.nos.lol")).collect();
        let found = keys(texts.iter().map(String::as_str), AddressPolicy::default());
        assert_eq!(found.len(), MAX_URLS);
    }
}
