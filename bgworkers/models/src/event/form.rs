//! The serialisation an id is the hash of, `[0,pubkey,created_at,kind,tags,content]`, in the forms met in the field.

use crate::escape::{Controls, push_string};
use crate::hex;
use sha2::{Digest, Sha256};

/// Which serialisation of the id array hashes to the id. They differ only in how control characters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdForm {
    /// `\u00xx` in lower case, DEL as it is: what most implementations do.
    Json,
    /// Controls as they are: the letter of NIP-01.
    Verbatim,
    /// As `Json`, and DEL as `\u007f`.
    Del,
    /// `\u00XX` in upper case.
    Upper,
}

impl IdForm {
    /// The forms in the order they are tried.
    pub const ALL: [Self; 4] = [Self::Json, Self::Verbatim, Self::Del, Self::Upper];

    fn controls(self) -> Controls {
        match self {
            Self::Json => Controls::Lower,
            Self::Verbatim => Controls::Verbatim,
            Self::Del => Controls::LowerAndDel,
            Self::Upper => Controls::Upper,
        }
    }
}

/// What the id covers.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub pubkey: &'a [u8; 32],
    pub created_at: i64,
    pub kind: u16,
    pub tags: &'a [Vec<String>],
    pub content: &'a str,
}

impl Body<'_> {
    /// Replaces `out` by the serialisation; returns whether the forms differ for this event.
    pub fn write(&self, out: &mut Vec<u8>, form: IdForm) -> bool {
        out.clear();
        out.extend_from_slice(b"[0,\"");
        hex::push(out, self.pubkey);
        out.extend_from_slice(b"\",");
        push_integer(out, self.created_at.unsigned_abs());
        out.push(b',');
        push_integer(out, u64::from(self.kind));
        out.push(b',');
        let tags_differ = push_tags(out, self.tags, form.controls());
        out.push(b',');
        let content_differs = push_string(out, self.content, form.controls());
        out.push(b']');
        tags_differ | content_differs
    }

    /// The id in one form. `hint` is the expected length of the serialisation.
    pub fn id(&self, form: IdForm, hint: usize) -> [u8; 32] {
        let mut out = Vec::with_capacity(hint);
        self.write(&mut out, form);
        Sha256::digest(&out).into()
    }

    /// The first form that hashes to `claimed`, or else the id in the usual form. `hint` as in [`Body::id`].
    pub fn form_of(&self, claimed: &[u8; 32], hint: usize) -> Result<IdForm, [u8; 32]> {
        let mut out = Vec::with_capacity(hint);
        let forms_differ = self.write(&mut out, IdForm::Json);
        let usual: [u8; 32] = Sha256::digest(&out).into();
        if usual == *claimed {
            return Ok(IdForm::Json);
        }
        if forms_differ {
            for form in [IdForm::Verbatim, IdForm::Del, IdForm::Upper] {
                self.write(&mut out, form);
                if Sha256::digest(&out)[..] == claimed[..] {
                    return Ok(form);
                }
            }
        }
        Err(usual)
    }
}

/// Appends tags as a JSON array of arrays; returns whether the forms differ for them.
pub(super) fn push_tags(out: &mut Vec<u8>, tags: &[Vec<String>], controls: Controls) -> bool {
    let mut differs = false;
    out.push(b'[');
    for (at, tag) in tags.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"[" } else { b",[" });
        for (at, element) in tag.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            differs |= push_string(out, element, controls);
        }
        out.push(b']');
    }
    out.push(b']');
    differs
}

/// Appends the shortest decimal form; the formatting machinery of `std` costs as much as the hash of a short event.
fn push_integer(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}
