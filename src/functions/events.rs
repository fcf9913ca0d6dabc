//! Events: id, verification, exact JSON, and archiving from SQL.

use bigbrotr_models::kind::{KindClass, class};
use bigbrotr_models::{Event, EventError, VerifiedEvent};
use pgrx::{IntoDatum, PgBuiltInOids, Spi, pg_extern};

use crate::gucs;

#[pg_extern]
fn event_id(event: &str) -> Option<Vec<u8>> {
    Event::compute_id_from_json(event.as_bytes()).map(Vec::from)
}

/// What the archive does with every event it is offered.
fn accept(json: &[u8]) -> Result<VerifiedEvent, EventError> {
    if json.len() > gucs::max_event_size() {
        return Err(EventError::TooLarge { limit: gucs::max_event_size() });
    }
    Event::from_json(json)?.verify()
}

#[pg_extern]
fn event_verify(event: &str) -> bool {
    accept(event.as_bytes()).is_ok()
}

#[pg_extern]
fn event_refusal(event: &[u8]) -> Option<&'static str> {
    accept(event).err().map(|error| error.code())
}

#[pg_extern]
#[allow(clippy::too_many_arguments)]
fn event_to_json(
    id: Option<&[u8]>,
    pubkey: Option<&[u8]>,
    created_at: Option<i64>,
    kind: Option<i32>,
    tags: Option<&str>,
    content: Option<&str>,
    sig: Option<&[u8]>,
    raw: Option<&[u8]>,
) -> Option<String> {
    let event = Event::from_stored(
        id?.try_into().ok()?,
        pubkey?.try_into().ok()?,
        created_at?,
        u16::try_from(kind?).ok()?,
        tags?,
        content?,
        sig?.try_into().ok()?,
        raw,
    );
    event.ok().map(|event| event.to_json())
}

/// `url` is a canonical key and the archive lock is held: event_insert() sees to both.
#[pg_extern]
fn native_event_insert(events: Vec<Option<String>>, relay_url: &str) -> i32 {
    let config = gucs::config();
    let mut accepted: Vec<VerifiedEvent> = Vec::new();
    let mut reasons: Vec<&'static str> = Vec::new();
    let mut refused: Vec<&[u8]> = Vec::new();
    for json in events.iter().flatten() {
        match accept(json.as_bytes()) {
            // Ephemeral events are not for keeping (NIP-01).
            Ok(event) if class(event.kind) == KindClass::Ephemeral => {}
            Ok(event) if !config.retention.keeps(event.kind, event.created_at) => {}
            Ok(event) => accepted.push(event),
            Err(error) => {
                reasons.push(error.code());
                refused.push(json.as_bytes());
            }
        }
    }
    accepted.sort_by_key(|event| (event.created_at, event.id));
    accepted.dedup_by_key(|event| event.id);
    let relay_id: i32 = one("SELECT bigbrotr.add_relay($1)", &[text(relay_url)]);
    if !refused.is_empty() {
        let _: i32 = one(
            "SELECT bigbrotr.quarantine($1, $2, $3)",
            &[int(relay_id), array(reasons, PgBuiltInOids::TEXTARRAYOID), array(refused, PgBuiltInOids::BYTEAARRAYOID)],
        );
    }
    if accepted.is_empty() {
        return 0;
    }
    let places: Vec<i32> = (1..).take(accepted.len()).collect();
    let mut authors: Vec<Vec<u8>> = accepted.iter().map(|event| event.pubkey.to_vec()).collect();
    authors.sort_unstable();
    authors.dedup();
    let author_place = |event: &VerifiedEvent| {
        authors.binary_search_by(|author| author.as_slice().cmp(&event.pubkey)).map_or(0, |place| place as i32 + 1)
    };
    one(
        // Nothing was looked up: as of no time.
        "SELECT inserted FROM bigbrotr.archive($1, $2, '{}', 0, 0, $3, $4, $5, $6, $7, $8, $3, $9)",
        &[
            array(accepted.iter().map(|event| event.id.to_vec()).collect(), PgBuiltInOids::BYTEAARRAYOID),
            array(accepted.iter().map(|event| event.created_at).collect(), PgBuiltInOids::INT8ARRAYOID),
            array(places, PgBuiltInOids::INT4ARRAYOID),
            array(authors.clone(), PgBuiltInOids::BYTEAARRAYOID),
            array(accepted.iter().map(author_place).collect(), PgBuiltInOids::INT4ARRAYOID),
            array(accepted.iter().map(|event| i32::from(event.kind)).collect(), PgBuiltInOids::INT4ARRAYOID),
            array(accepted.iter().map(|event| event.pack()).collect(), PgBuiltInOids::BYTEAARRAYOID),
            array(vec![relay_id; accepted.len()], PgBuiltInOids::INT4ARRAYOID),
            typed(config.vanish_enabled, PgBuiltInOids::BOOLOID),
        ],
    )
}

type Arg = pgrx::datum::DatumWithOid<'static>;

fn typed<T: IntoDatum>(value: T, oid: PgBuiltInOids) -> Arg {
    let oid = pgrx::PgOid::BuiltIn(oid).value();
    // SAFETY: every caller names the SQL type of the Rust type it passes.
    unsafe { value.into_datum().map_or_else(|| Arg::null_oid(oid), |datum| Arg::new(datum, oid)) }
}

fn array<T>(items: Vec<T>, oid: PgBuiltInOids) -> Arg
where
    Vec<T>: IntoDatum,
{
    typed(items, oid)
}

fn text(value: &str) -> Arg {
    typed(value, PgBuiltInOids::TEXTOID)
}

fn int(value: i32) -> Arg {
    typed(value, PgBuiltInOids::INT4OID)
}

/// The integer a statement of ours returns. Its errors pass through to the caller of the SQL function.
fn one(sql: &str, args: &[Arg]) -> i32 {
    match Spi::get_one_with_args::<i32>(sql, args) {
        Ok(number) => number.unwrap_or_default(),
        Err(error) => pgrx::error!("bigbrotr: {error}"),
    }
}
