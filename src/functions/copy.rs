//! New rows of `stored_event`, by COPY from memory: half the CPU time of INSERT (docs/benchmarks.md), as rows reach the
//! heap in bulk, with one WAL record a page.

use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};

use pgrx::{Array, PgRelation, pg_extern, pg_guard, pg_sys};

/// COPY … (FORMAT binary): signature, flags, extension length.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Field count of a row that ends the file.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
const COLUMNS: [&CStr; 6] = [c"seq", c"created_at", c"author_id", c"kind", c"body", c"id"];
/// Place of an event that was kept out.
const KEPT_OUT: i64 = 0;
/// Place of an event that is neither known nor among the new ones.
const MISSING: i64 = -1;

// sequence.h is not among pgrx's bindings; the signature is the same in PostgreSQL 13 to 18.
unsafe extern "C-unwind" {
    fn nextval_internal(sequence: pg_sys::Oid, check_permissions: bool) -> i64;
}

thread_local! {
    /// What COPY has still to read: its callback has no argument for it.
    static SOURCE: RefCell<(Vec<u8>, usize)> = RefCell::default();
}

/// Rows in the binary format of COPY.
struct Rows(Vec<u8>);

impl Rows {
    fn new(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(HEADER.len() + bytes + TRAILER.len());
        out.extend_from_slice(HEADER);
        Self(out)
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn row(&mut self, seq: i64, created_at: i64, author: i32, kind: i32, id: &[u8], body: &[u8]) {
        self.0.extend_from_slice(&(COLUMNS.len() as i16).to_be_bytes());
        self.field(&seq.to_be_bytes());
        self.field(&created_at.to_be_bytes());
        self.field(&author.to_be_bytes());
        self.field(&kind.to_be_bytes());
        self.field(body);
        self.field(id);
    }
}

/// Stores the new events of a batch that `seqs` does not know, and returns `seqs` with theirs filled in: 0 for one that
/// `kept_out` names, −1 for one that is not among the new ones. Places count from 1.
#[pg_extern]
#[allow(clippy::too_many_arguments)]
fn copy_events(
    ids: Array<&[u8]>,
    created_ats: Vec<i64>,
    seqs: Vec<Option<i64>>,
    new_places: Vec<i32>,
    author_ids: Vec<i32>,
    author_places: Vec<i32>,
    kinds: Vec<i32>,
    bodies: Array<&[u8]>,
    kept_out: Vec<i32>,
) -> Vec<i64> {
    let place_of = |place: i32| usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
    let ids: Vec<&[u8]> = ids.iter().map(Option::unwrap_or_default).collect();
    let mut seqs: Vec<i64> = seqs.into_iter().map(|seq| seq.unwrap_or(MISSING)).collect();
    for place in kept_out.into_iter().filter_map(place_of) {
        if let Some(seq) = seqs.get_mut(place).filter(|seq| **seq == MISSING) {
            *seq = KEPT_OUT;
        }
    }
    let sequence = pgrx::Spi::get_one::<pg_sys::Oid>("SELECT 'bigbrotr.event_seq'::regclass::oid").ok().flatten();
    let Some(sequence) = sequence else { pgrx::error!("bigbrotr: the sequence of events is missing") };
    let mut rows = Rows::new(bodies.iter().flatten().map(|body| body.len() + 100).sum());
    let mut count = 0;
    for (n, (place, body)) in new_places.into_iter().zip(bodies.iter()).enumerate() {
        let author = author_places.get(n).copied().and_then(place_of).and_then(|place| author_ids.get(place));
        let (Some(place), Some(body), Some(kind), Some(author)) = (place_of(place), body, kinds.get(n), author) else {
            pgrx::error!("bigbrotr: arrays of a batch do not fit together")
        };
        let (Some(id), Some(at), Some(seq)) = (ids.get(place), created_ats.get(place), seqs.get_mut(place)) else {
            pgrx::error!("bigbrotr: arrays of a batch do not fit together")
        };
        if *seq == MISSING {
            // SAFETY: an Oid of a sequence; no check of permissions is needed where the caller may write the table.
            *seq = unsafe { nextval_internal(sequence, false) };
            rows.row(*seq, *at, *author, *kind, id, body);
            count += 1;
        }
    }
    if count > 0 {
        rows.0.extend_from_slice(&TRAILER);
        copy("bigbrotr.stored_event", rows.0);
    }
    seqs
}

fn copy(table: &str, rows: Vec<u8>) {
    let relation = PgRelation::open_with_name_and_share_lock(table)
        .unwrap_or_else(|error| pgrx::error!("bigbrotr: {table}: {error}"));
    SOURCE.with_borrow_mut(|source| *source = (rows, 0));
    // SAFETY: the relation is locked and stays open; everything else lives in the current memory context. An error leaves
    // by unwinding, and the transaction's end frees what COPY holds.
    unsafe {
        let relation = pg_sys::table_open(relation.oid(), pg_sys::RowExclusiveLock as pg_sys::LOCKMODE);
        let state = pg_sys::make_parsestate(std::ptr::null_mut());
        pg_sys::addRangeTableEntryForRelation(
            state,
            relation,
            pg_sys::RowExclusiveLock as c_int,
            std::ptr::null_mut(),
            false,
            false,
        );
        let mut columns = pgrx::PgList::<c_void>::new();
        for column in COLUMNS {
            columns.push(pg_sys::makeString(pg_sys::pstrdup(column.as_ptr())).cast());
        }
        let mut options = pgrx::PgList::<pg_sys::DefElem>::new();
        let binary = pg_sys::makeString(pg_sys::pstrdup(c"binary".as_ptr()));
        options.push(pg_sys::makeDefElem(pg_sys::pstrdup(c"format".as_ptr()), binary.cast(), -1));
        let copy = pg_sys::BeginCopyFrom(
            state,
            relation,
            std::ptr::null_mut(),
            std::ptr::null(),
            false,
            Some(read),
            columns.into_pg(),
            options.into_pg(),
        );
        pg_sys::CopyFrom(copy);
        pg_sys::EndCopyFrom(copy);
        pg_sys::free_parsestate(state);
        pg_sys::table_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        // What follows in this transaction sees the rows.
        pg_sys::CommandCounterIncrement();
    }
    SOURCE.with_borrow_mut(|source| *source = Default::default());
}

/// Gives COPY what it asks for.
///
/// # Safety
/// Called by COPY with a buffer of at least `most` bytes.
#[pg_guard]
unsafe extern "C-unwind" fn read(buffer: *mut c_void, _least: c_int, most: c_int) -> c_int {
    SOURCE.with_borrow_mut(|(bytes, at)| {
        let rest = bytes.get(*at..).unwrap_or_default();
        let count = rest.len().min(usize::try_from(most).unwrap_or(0));
        // SAFETY: the buffer holds `most` bytes and is COPY's own.
        unsafe { std::ptr::copy_nonoverlapping(rest.as_ptr(), buffer.cast::<u8>(), count) };
        *at += count;
        count as c_int
    })
}
