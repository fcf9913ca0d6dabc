//! Kind classes (NIP-01 "Kinds").

/// How relays are expected to keep events of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindClass {
    Regular,
    Replaceable,
    Ephemeral,
    Addressable,
}
/// The class of `kind`; ranges that NIP-01 leaves unassigned count as regular.
pub fn class(kind: u16) -> KindClass {
    let _ = kind;
    todo!()
}
