//! A NIP-01 filter as an SQL condition.

use bigbrotr_models::{Filter, hex};
use pgrx::pg_extern;
use pgrx::spi::quote_literal;

use super::tags;
use crate::report::refuse;

fn parse(filter: &str) -> Filter {
    Filter::from_json(filter).unwrap_or_else(|error| {
        refuse(
            &format!("not a NIP-01 filter: {error}"),
            "Keys: ids, authors, kinds, since, until, limit and #x for a one-letter tag x.",
        )
    })
}

#[pg_extern]
fn filter_limit(filter: &str) -> Option<i64> {
    parse(filter).limit.map(i64::from)
}

/// Over the columns of `bigbrotr.stored_event`. Values are hexadecimal digits, numbers, or quoted.
#[pg_extern]
fn filter_condition(filter: &str) -> String {
    let filter = parse(filter);
    let mut conditions = Vec::new();
    // E'' reads the same whatever standard_conforming_strings is.
    let keys = |keys: &[[u8; 32]]| keys.iter().map(|key| format!(r"E'\\x{}'", hex::encode(key))).collect::<Vec<_>>();
    if let Some(ids) = &filter.ids {
        conditions.push(is_any_of("id", "bytea", &keys(ids)));
    }
    if let Some(authors) = &filter.authors {
        // Looked up before the scan begins, so that the index on (author_id, created_at) gives them in order.
        let authors = keys(authors);
        conditions.push(match authors.as_slice() {
            [author] => format!("author_id = (SELECT w.id FROM bigbrotr.author AS w WHERE w.pubkey = {author}::bytea)"),
            authors => format!(
                "author_id = ANY (ARRAY(SELECT w.id FROM bigbrotr.author AS w WHERE w.pubkey = ANY (ARRAY[{}]::bytea[])))",
                authors.join(",")
            ),
        });
    }
    if let Some(kinds) = &filter.kinds {
        let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        conditions.push(is_any_of("kind", "integer", &kinds));
    }
    for (letter, values) in &filter.tags {
        // The index finds by hash; the tags themselves decide.
        let hashes: Vec<String> =
            values.iter().map(|value| tags::hash(*letter as u8, value.as_bytes()).to_string()).collect();
        let values: Vec<String> = values.iter().map(quote_literal).collect();
        conditions.push(format!(
            "bigbrotr.body_tag_hashes(body) && ARRAY[{}]::integer[] AND EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(bigbrotr.body_tags(body)) AS t (tag) \
             WHERE t.tag ->> 0 = '{letter}' AND t.tag ->> 1 = ANY (ARRAY[{}]::text[]))",
            hashes.join(","),
            values.join(","),
        ));
    }
    if let Some(since) = filter.since {
        conditions.push(format!("created_at >= {since}"));
    }
    if let Some(until) = filter.until {
        conditions.push(format!("created_at <= {until}"));
    }
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") }
}

/// Equality where there is one value: unlike `= ANY`, an index scan for it keeps the order of the columns that follow, so
/// that "the newest twenty of this author" reads twenty rows.
fn is_any_of(column: &str, sql_type: &str, values: &[String]) -> String {
    match values {
        [value] => format!("{column} = {value}::{sql_type}"),
        values => format!("{column} = ANY (ARRAY[{}]::{sql_type}[])", values.join(",")),
    }
}
