//! The packed column of `stored_event`, and how rows get in.

use bigbrotr_models::{Event, Packed};
use pgrx::{IntoDatum, pg_extern, pg_guard, pg_sys};

use super::tags;

fn open(body: &[u8]) -> Packed<'_> {
    Packed::open(body).unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}"))
}

fn tags_of(body: &[u8]) -> Vec<Vec<String>> {
    open(body).tags().unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}"))
}

/// An event of which only strings matter.
fn strings(tags: Vec<Vec<String>>, content: String) -> Event {
    let form = bigbrotr_models::IdForm::Json;
    Event { id: [0; 32], pubkey: [0; 32], created_at: 0, kind: 0, tags, content, sig: [0; 64], form }
}

#[pg_extern]
fn body_content(body: &[u8]) -> String {
    let content = open(body).content().unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}"));
    strings(Vec::new(), content).stored_content().into_owned()
}

#[pg_extern]
fn body_sig(body: &[u8]) -> Vec<u8> {
    Packed::sig_of(body).unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}")).to_vec()
}

#[pg_extern]
fn body_raw(body: &[u8], pubkey: &[u8], created_at: i64, kind: i32) -> Option<Vec<u8>> {
    let (pubkey, kind) = (pubkey.try_into().ok()?, u16::try_from(kind).ok()?);
    open(body).raw(pubkey, created_at, kind).unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}"))
}

#[pg_extern]
fn body_size(body: &[u8]) -> i64 {
    let size = Packed::size_of(body).unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}"));
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[pg_extern]
fn body_tag_hashes(body: &[u8]) -> Vec<i32> {
    let mut hashes: Vec<i32> = tags_of(body)
        .iter()
        .filter_map(|tag| match tag.as_slice() {
            [name, value, ..] => match name.as_bytes() {
                // As the jsonb of the same tags shows it.
                [letter] if letter.is_ascii_alphabetic() && value.contains('\0') => {
                    Some(tags::hash(*letter, value.replace('\0', "\u{fffd}").as_bytes()))
                }
                [letter] if letter.is_ascii_alphabetic() => Some(tags::hash(*letter, value.as_bytes())),
                _ => None,
            },
            _ => None,
        })
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

#[pg_extern]
fn body_d_tag(body: &[u8]) -> String {
    let tags = tags_of(body);
    let d = tags.iter().find(|tag| tag.first().is_some_and(|name| name == "d"));
    d.and_then(|tag| tag.get(1)).map(|value| value.replace('\0', "\u{fffd}")).unwrap_or_default()
}

#[pg_extern]
fn body_expiration(body: &[u8]) -> Option<i64> {
    if !Packed::may_expire(body) {
        return None;
    }
    tags_of(body).iter().filter(|tag| tag.first().is_some_and(|name| name == "expiration")).find_map(|tag| {
        let digits = tag.get(1)?.trim_start_matches('0');
        let is_number =
            tag.get(1).is_some_and(|text| !text.is_empty()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Beyond 18 digits it is further away than time is kept.
        (is_number && digits.len() <= 18).then(|| digits.parse().unwrap_or(0))
    })
}

#[pg_extern]
#[allow(clippy::too_many_arguments)]
fn pack_body(
    id: &[u8],
    pubkey: &[u8],
    created_at: i64,
    kind: i32,
    tags: &str,
    content: &str,
    sig: &[u8],
    raw: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let (id, pubkey, sig) = (id.try_into().ok()?, pubkey.try_into().ok()?, sig.try_into().ok()?);
    let event = Event::from_stored(id, pubkey, created_at, u16::try_from(kind).ok()?, tags, content, sig, raw);
    event.ok().map(|event| event.pack())
}

/// Version-1 calling convention, by hand: pgrx knows jsonb only as a document of serde's.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_body_tags_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `body_tags(bytea) → jsonb`.
///
/// # Safety
/// Called by PostgreSQL as the strict function declared in `sql/functions/native.sql`.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn body_tags_wrapper(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: strict, one bytea argument; jsonb_in only reads the C string it is given.
    unsafe {
        let Some(body) = pgrx::fcinfo::pg_getarg::<&[u8]>(call, 0) else { return pg_sys::Datum::from(0) };
        let json = strings(tags_of(body), String::new()).stored_tags();
        let Ok(json) = std::ffi::CString::new(json) else { pgrx::error!("bigbrotr: the stored event is damaged") };
        pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[json.as_c_str().into_datum()])
            .unwrap_or(pg_sys::Datum::from(0))
    }
}
