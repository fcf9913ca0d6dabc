//! Relay URLs.

use bigbrotr_models::{RelayUrl, relay_url};
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use crate::gucs;

#[pg_extern]
fn normalize_relay_url(url: &str) -> Option<String> {
    RelayUrl::parse(url, gucs::address_policy()).ok().map(|url| url.as_str().to_owned())
}

#[pg_extern]
fn operator_relay_url(url: &str) -> Option<String> {
    RelayUrl::parse_operator(url, gucs::address_policy()).ok().map(|url| url.as_str().to_owned())
}

#[pg_extern]
fn relay_url_network(url: &str) -> Option<&'static str> {
    RelayUrl::from_key(url).ok().map(|url| url.network().as_str())
}

#[pg_extern]
fn relay_url_domain(url: &str) -> Option<String> {
    RelayUrl::from_key(url).ok().map(|url| url.registrable_domain().into_owned())
}

#[pg_extern]
fn native_extract_relay_urls(
    content: &str,
) -> TableIterator<'static, (name!(url, String), name!(network, &'static str), name!(recovered, bool))> {
    let found = relay_url::extract(content, gucs::address_policy());
    TableIterator::new(found.into_iter().filter_map(|piece| {
        let url = piece.url.ok()?;
        Some((url.as_str().to_owned(), url.network().as_str(), piece.recovered))
    }))
}
