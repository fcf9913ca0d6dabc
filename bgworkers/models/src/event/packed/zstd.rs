//! zstd with our dictionary.

use std::cell::RefCell;
use std::sync::LazyLock;
use zstd_safe::{CCtx, CDict, DCtx, DDict};

/// What Nostr's text is made of, written by hand. Stored events need it: it never changes.
const DICTIONARY: &[u8] = include_bytes!("dictionary.txt");
/// More saves one or two bytes of a hundred and costs half as much time again.
const LEVEL: i32 = 1;
/// Shorter text is not tried: reactions and the like, a fifth of all events and of little weight.
const LEAST_TEXT: usize = 48;
/// The number every frame begins with (RFC 8878, 3.1.1), little-endian.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The longest text taken: above what the largest event can hold.
const MAX_TEXT: u64 = 64 << 20;

static COMPRESS: LazyLock<CDict<'static>> = LazyLock::new(|| CDict::create(DICTIONARY, LEVEL));
static DECOMPRESS: LazyLock<DDict<'static>> = LazyLock::new(|| DDict::create(DICTIONARY));

thread_local! {
    static COMPRESSOR: RefCell<(CCtx<'static>, Vec<u8>)> = RefCell::new((CCtx::create(), Vec::new()));
    static DECOMPRESSOR: RefCell<(DCtx<'static>, Vec<u8>)> = RefCell::new((DCtx::create(), Vec::new()));
}

/// Appends a frame without its magic number. False, and nothing appended, where that is no shorter.
pub(super) fn compress(text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.len() < LEAST_TEXT {
        return false;
    }
    COMPRESSOR.with_borrow_mut(|(context, frame)| {
        frame.clear();
        frame.reserve(zstd_safe::compress_bound(text.len()));
        let is_shorter = context.compress_using_cdict(frame, text, &COMPRESS).is_ok()
            && frame.len() < text.len() + MAGIC.len()
            && frame.starts_with(&MAGIC);
        if is_shorter {
            out.extend_from_slice(&frame[MAGIC.len()..]);
        }
        shrink(frame);
        is_shorter
    })
}

/// A single huge event must not stay in memory for the rest of the session.
fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > 1 << 16 {
        *buffer = Vec::new();
    }
}

/// Bytes of the text in a frame.
pub(super) fn length(frame: &[u8]) -> Option<u64> {
    // RFC 8878: the header has 14 bytes at most, and the magic number four more.
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(frame.get(..14.min(frame.len()))?);
    zstd_safe::get_frame_content_size(&head).ok()?.filter(|length| *length <= MAX_TEXT)
}

pub(super) fn decompress(frame: &[u8]) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|(context, whole)| {
        whole.clear();
        whole.extend_from_slice(&MAGIC);
        whole.extend_from_slice(frame);
        let mut text = Vec::with_capacity(usize::try_from(length(frame)?).ok()?);
        let outcome = context.decompress_using_ddict(&mut text, whole, &DECOMPRESS);
        shrink(whole);
        outcome.ok().map(|_| text)
    })
}
