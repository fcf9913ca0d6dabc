//! zstd with our dictionary.

use std::cell::RefCell;
use std::sync::LazyLock;
use zstd_safe::{CCtx, CDict, DCtx, DDict};

/// What Nostr's text is made of, written by hand. Stored events need it: it never changes.
const DICTIONARY: &[u8] = include_bytes!("dictionary.txt");
/// More saves one or two bytes of a hundred and costs half as much time again.
const LEVEL: i32 = 1;
/// The number every frame begins with (RFC 8878, 3.1.1), little-endian.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The longest text taken: above what the largest event can hold.
const MAX_TEXT: u64 = 64 << 20;

static COMPRESS: LazyLock<CDict<'static>> = LazyLock::new(|| CDict::create(DICTIONARY, LEVEL));
static DECOMPRESS: LazyLock<DDict<'static>> = LazyLock::new(|| DDict::create(DICTIONARY));

thread_local! {
    static COMPRESSOR: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSOR: RefCell<(DCtx<'static>, Vec<u8>)> = RefCell::new((DCtx::create(), Vec::new()));
}

/// A frame without its magic number; `None` where that is no shorter.
pub(super) fn compress(text: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
    COMPRESSOR.with_borrow_mut(|context| context.compress_using_cdict(&mut frame, text, &COMPRESS)).ok()?;
    (frame.len() < text.len() + MAGIC.len() && frame.starts_with(&MAGIC)).then(|| frame.split_off(MAGIC.len()))
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
        // A single huge event must not stay in memory for the rest of the session.
        if whole.capacity() > 1 << 16 {
            *whole = Vec::new();
        }
        outcome.ok().map(|_| text)
    })
}
