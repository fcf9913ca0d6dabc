//! Hashes of one-letter tags, for the tag index. The hash is stored in indexes, so it never changes.

use pgrx::{IntoDatum, pg_extern, pg_guard, pg_sys};

/// FNV-1a over the letter and the value, folded to 32 bits. Collisions are harmless: every match is rechecked.
pub fn hash(letter: u8, value: &[u8]) -> i32 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in std::iter::once(&letter).chain(value) {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    ((state >> 32) ^ state) as u32 as i32
}

#[pg_extern]
fn tag_hash(name: &str, value: &str) -> Option<i32> {
    match name.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => Some(hash(*letter, value.as_bytes())),
        _ => None,
    }
}

/// Version-1 calling convention, by hand: pgrx would turn the document into text and parse that.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_tag_hashes_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `tag_hashes(jsonb) → integer[]`: walks the binary document, three levels deep and no further.
///
/// # Safety
/// Called by PostgreSQL as the strict function declared in `sql/functions/native.sql`.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tag_hashes_wrapper(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: strict, one jsonb argument; the iterator only reads the detoasted copy.
    let hashes = unsafe {
        let argument = pgrx::fcinfo::pg_getarg_datum_raw(call, 0);
        let document = pg_sys::pg_detoast_datum(argument.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        hashes_of(&raw mut (*document).root)
    };
    hashes.into_datum().unwrap_or(pg_sys::Datum::from(0))
}

/// # Safety
/// `root` is the container of a valid, detoasted Jsonb.
unsafe fn hashes_of(root: *mut pg_sys::JsonbContainer) -> Vec<i32> {
    use pg_sys::JsonbIteratorToken as Token;
    let mut hashes = Vec::new();
    // SAFETY: the caller's promise; a string value points into the document, which outlives this loop.
    unsafe {
        let mut iterator = pg_sys::JsonbIteratorInit(root);
        let mut value = std::mem::zeroed::<pg_sys::JsonbValue>();
        let (mut depth, mut place, mut letter) = (0_u32, 0_u32, None);
        loop {
            match pg_sys::JsonbIteratorNext(&mut iterator, &mut value, false) {
                Token::WJB_DONE => break,
                Token::WJB_BEGIN_ARRAY | Token::WJB_BEGIN_OBJECT => {
                    depth += 1;
                    place = 0;
                    letter = None;
                }
                Token::WJB_END_ARRAY | Token::WJB_END_OBJECT => depth -= 1,
                Token::WJB_ELEM if depth == 2 && value.type_ == pg_sys::jbvType::jbvString => {
                    let string = value.val.string;
                    let text =
                        std::slice::from_raw_parts(string.val.cast::<u8>(), usize::try_from(string.len).unwrap_or(0));
                    match (place, text) {
                        (0, [name]) if name.is_ascii_alphabetic() => letter = Some(*name),
                        (1, value) => hashes.extend(letter.map(|letter| hash(letter, value))),
                        _ => {}
                    }
                    place += 1;
                }
                _ => place += 1,
            }
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}
