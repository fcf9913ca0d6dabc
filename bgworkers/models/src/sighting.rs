//! Sightings: which events a relay was seen to hold, as sets of archive positions in leaves.
//!
//! A leaf is a range of `created_at` and the `seq` of every event in it that the relay was seen to hold; the leaves of a
//! relay never overlap. [`plan`] says which leaves change when new sightings come in.

mod plan;

pub use plan::plan;

use roaring::RoaringTreemap;

/// A leaf with more members is split, unless they all are of one second.
pub const MAX_LEAF: u64 = 1_000;

/// How far a leaf is filled while it grows at its ends. The rest is for what arrives late within its range, and for the
/// second at which one page ends and the next begins, so that loading page by page never splits.
pub const FILL_LEAF: u64 = 900;

/// A leaf with as many is not extended at its ends any more: to write it again for each page that comes costs more, in time
/// and in bytes until the next VACUUM, than a leaf more.
pub const GROW_LEAF: u64 = 300;

/// More members than this are taken for damage.
pub const MAX_MEMBERS: u64 = 1 << 22;

/// A row of the table `sighting`, without its relay.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Least `created_at`, inclusive.
    pub lo: i64,
    /// Greatest `created_at`, inclusive.
    pub hi: i64,
    /// `event.seq` of the members.
    pub members: RoaringTreemap,
}

impl Leaf {
    /// Number of members (`sighting.n`).
    pub fn n(&self) -> u64 {
        self.members.len()
    }
}

/// What has to be written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// `lo` of leaves that are no more; none of them is the `lo` of an upserted one.
    pub deleted: Vec<i64>,
    /// Leaves that are new or have changed, by `lo`.
    pub upserted: Vec<Leaf>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.upserted.is_empty()
    }
}

/// Bytes that are no serialised members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("damaged set of sightings")]
pub struct BadMembers;

/// The bytes of `sighting.members`: the portable roaring format, runs compressed.
pub fn serialize(members: &RoaringTreemap) -> Vec<u8> {
    let mut members = members.clone();
    members.optimize();
    let mut bytes = Vec::with_capacity(members.serialized_size());
    // Writing to memory does not fail.
    let written = members.serialize_into(&mut bytes);
    debug_assert!(written.is_ok());
    bytes
}

/// The members in `sighting.members`.
pub fn deserialize(bytes: &[u8]) -> Result<RoaringTreemap, BadMembers> {
    let mut rest = bytes;
    let members = RoaringTreemap::deserialize_from(&mut rest).map_err(|_| BadMembers)?;
    let sound = rest.is_empty()
        // We never write one without members; such sets would be equal and look different.
        && members.bitmaps().all(|(_, bitmap)| !bitmap.is_empty())
        && members.len() <= MAX_MEMBERS
        && members.max().is_none_or(|greatest| greatest <= i64::MAX.unsigned_abs());
    if sound { Ok(members) } else { Err(BadMembers) }
}

/// The `seq`s in `sighting.members`, ascending.
pub fn members(bytes: &[u8]) -> Result<Vec<i64>, BadMembers> {
    Ok(deserialize(bytes)?.into_iter().map(u64::cast_signed).collect())
}

/// Whether `seq` is in `sighting.members`.
pub fn contains(bytes: &[u8], seq: i64) -> Result<bool, BadMembers> {
    let members = deserialize(bytes)?;
    Ok(u64::try_from(seq).is_ok_and(|seq| members.contains(seq)))
}

#[cfg(test)]
mod tests;
