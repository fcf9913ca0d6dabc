//! Sets of unix seconds as sorted, disjoint, half-open ranges: the counterpart of `int8multirange`.

/// `[lo, hi)`; `hi == None` is unbounded. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub lo: i64,
    pub hi: Option<i64>,
}
/// A normalised set: sorted, disjoint, non-adjacent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<Range>);
