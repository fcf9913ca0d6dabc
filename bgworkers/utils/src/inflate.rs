//! Bodies that came compressed though nothing compressed was asked for: some servers know no other way.

use crate::error::DialError;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::Read;

/// What is left of `encoding` (a `Content-Encoding`, RFC 9110 §8.4) after `body` was unpacked as far as we can: gzip and deflate, also gzip
/// without a header that says so. What cannot be unpacked stays as it is: some servers name an encoding and do not use it.
///
/// # Errors
/// `Oversize` for more than `limit` bytes: a few bytes can stand for megabytes.
pub(crate) fn inflate(
    body: Vec<u8>,
    encoding: Option<&str>,
    limit: usize,
) -> Result<(Vec<u8>, Option<String>), DialError> {
    let name =
        encoding.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty() && name != "identity");
    let is_gzip = body.starts_with(&[0x1f, 0x8b]);
    let unpacked = match name.as_deref() {
        None | Some("gzip" | "x-gzip") if is_gzip => read(MultiGzDecoder::new(body.as_slice()), limit)?,
        // With the frame of RFC 1950, as it should be, or without, as it was often understood.
        Some("deflate") => match read(ZlibDecoder::new(body.as_slice()), limit)? {
            None => read(DeflateDecoder::new(body.as_slice()), limit)?,
            unpacked => unpacked,
        },
        _ => None,
    };
    Ok(match unpacked {
        Some(unpacked) => (unpacked, None),
        None => (body, name),
    })
}

/// All of it; `None`: it is damaged, or something else.
fn read(from: impl Read, limit: usize) -> Result<Option<Vec<u8>>, DialError> {
    let mut unpacked = Vec::new();
    match from.take(limit as u64 + 1).read_to_end(&mut unpacked) {
        Ok(_) if unpacked.len() > limit => Err(DialError::Oversize { limit, size: None }),
        Ok(_) => Ok(Some(unpacked)),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_compressed_unasked_is_unpacked() {
        let text = b"{\"name\":\"a relay\"}";
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(text).unwrap();
        for (body, encoding) in [
            (gzip(text), Some("gzip")),
            (gzip(text), Some(" X-GZIP ")),
            (gzip(text), None),
            (gzip(text), Some("identity")),
            ([gzip(&text[..5]), gzip(&text[5..])].concat(), Some("gzip")),
            (zlib.finish().unwrap(), Some("deflate")),
            (raw.finish().unwrap(), Some("Deflate")),
            (text.to_vec(), None),
            (text.to_vec(), Some("")),
        ] {
            assert_eq!(inflate(body, encoding, 1000).unwrap(), (text.to_vec(), None), "{encoding:?}");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_stays_as_it_is() {
        let cut = &gzip(b"some text that is cut")[..20];
        for (body, encoding) in [
            (&b"{}"[..], "gzip"),
            (b"{}", "br"),
            (b"{}", "deflate"),
            (b"\x8b\x02", "gzip, br"),
            (cut, "gzip"),
            (b"", "gzip"),
        ] {
            assert_eq!(
                inflate(body.to_vec(), Some(encoding), 1000).unwrap(),
                (body.to_vec(), Some(encoding.to_owned()))
            );
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let bomb = gzip(&vec![b' '; 10 << 20]);
        assert!(bomb.len() < 20_000);
        for encoding in [Some("gzip"), None] {
            assert_eq!(
                inflate(bomb.clone(), encoding, 1 << 16),
                Err(DialError::Oversize { limit: 1 << 16, size: None })
            );
        }
    }
}
