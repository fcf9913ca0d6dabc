//! Sets of unix seconds as sorted, disjoint, half-open ranges: the counterpart of `int8multirange`.

/// `[lo, hi)`; `hi == None` is unbounded. Never empty when built by [`Range::new`] or held by [`Ranges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First second inside.
    pub lo: i64,
    /// First second above; `None`: unbounded.
    pub hi: Option<i64>,
}

/// One past the last `i64`: the end of an unbounded range.
const TOP: i128 = i64::MAX as i128 + 1;

impl Range {
    /// `[lo, hi)`, or `None` if that would be empty.
    pub fn new(lo: i64, hi: Option<i64>) -> Option<Self> {
        hi.is_none_or(|hi| lo < hi).then_some(Self { lo, hi })
    }

    /// Whether `second` lies in the range.
    pub fn contains(&self, second: i64) -> bool {
        self.lo <= second && self.hi.is_none_or(|hi| second < hi)
    }

    /// The last second inside; `i64::MAX` when unbounded.
    pub fn last(&self) -> i64 {
        self.hi.map_or(i64::MAX, |hi| hi.saturating_sub(1))
    }

    /// How many seconds it holds; `None` when unbounded.
    pub fn seconds(&self) -> Option<u64> {
        self.hi.map(|hi| hi.abs_diff(self.lo))
    }

    fn end(&self) -> i128 {
        self.hi.map_or(TOP, i128::from)
    }

    fn from_ends(lo: i128, end: i128) -> Option<Self> {
        if lo >= end {
            return None;
        }
        Some(Self { lo: i64::try_from(lo).ok()?, hi: i64::try_from(end).ok() })
    }
}

/// A normalised set: sorted, disjoint, non-adjacent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<Range>);

/// Why a text is no `int8multirange`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed multirange at byte {offset}")]
pub struct RangesError {
    /// Where reading stopped.
    pub offset: usize,
}

impl Ranges {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The empty set.
    pub fn empty() -> Self {
        Self::default()
    }

    /// `[lo, hi)`; the empty set if `hi <= lo`.
    pub fn single(lo: i64, hi: Option<i64>) -> Self {
        Self(Range::new(lo, hi).into_iter().collect())
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range> + ExactSizeIterator + '_ {
        self.0.iter().copied()
    }

    /// Whether no second is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many separate ranges there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The lowest range.
    pub fn first(&self) -> Option<Range> {
        self.0.first().copied()
    }

    /// The highest range.
    pub fn last(&self) -> Option<Range> {
        self.0.last().copied()
    }

    /// Whether `second` is in the set. O(log n).
    pub fn contains(&self, second: i64) -> bool {
        let after = self.0.partition_point(|range| range.lo <= second);
        after.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|range| range.contains(second))
    }

    /// Whether every second of `other` is in the set.
    pub fn covers(&self, other: &Ranges) -> bool {
        other.subtract(self).is_empty()
    }

    /// How many seconds the set holds; `None` when unbounded above.
    pub fn seconds(&self) -> Option<u64> {
        self.0.iter().try_fold(0u64, |sum, range| Some(sum.saturating_add(range.seconds()?)))
    }

    /// Adds one range. O(n) at worst; O(1) at the top.
    pub fn insert(&mut self, range: Range) {
        let (mut lo, mut end) = (i128::from(range.lo), range.end());
        if lo >= end {
            return;
        }
        let from = self.0.partition_point(|r| r.end() < lo);
        let to = self.0.partition_point(|r| i128::from(r.lo) <= end);
        for r in self.0.get(from..to).unwrap_or_default() {
            lo = lo.min(i128::from(r.lo));
            end = end.max(r.end());
        }
        self.0.splice(from..to.max(from), Range::from_ends(lo, end));
    }

    /// Everything in either set.
    #[must_use]
    pub fn union(&self, other: &Ranges) -> Ranges {
        let mut sorted: Vec<Range> = self.iter().chain(other.iter()).collect();
        sorted.sort_unstable_by_key(|range| range.lo);
        sorted.into_iter().collect()
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Ranges) -> Ranges {
        let mut out = Vec::new();
        let mut cuts = other.0.as_slice();
        for range in &self.0 {
            let (mut lo, end) = (i128::from(range.lo), range.end());
            while let Some((cut, rest)) = cuts.split_first() {
                if i128::from(cut.lo) >= end {
                    break;
                }
                out.extend(Range::from_ends(lo, i128::from(cut.lo)));
                lo = lo.max(cut.end());
                if cut.end() > end {
                    break;
                }
                cuts = rest;
            }
            out.extend(Range::from_ends(lo, end));
        }
        Ranges(out)
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersect(&self, other: &Ranges) -> Ranges {
        let mut out = Vec::new();
        let (mut left, mut right) = (self.0.as_slice(), other.0.as_slice());
        while let (Some((a, rest_a)), Some((b, rest_b))) = (left.split_first(), right.split_first()) {
            out.extend(Range::from_ends(i128::from(a.lo.max(b.lo)), a.end().min(b.end())));
            if a.end() <= b.end() {
                left = rest_a;
            } else {
                right = rest_b;
            }
        }
        Ranges(out)
    }

    /// PostgreSQL's text form, e.g. `{[1,5),[7,)}`. A lower end of `i64::MIN` is written as unbounded.
    pub fn to_multirange(&self) -> String {
        self.to_string()
    }

    /// Reads PostgreSQL's text form: `{}`, `[1,5)`, `[1,5]`, `(1,5)`, `(,5)`, `[7,)` and `empty` elements, in any order,
    /// overlapping or not. An unbounded lower end becomes `i64::MIN`.
    pub fn from_multirange(text: &str) -> Result<Self, RangesError> {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        let mut ranges = Vec::new();
        reader.expect(b'{')?;
        if !reader.accept(b'}') {
            loop {
                ranges.extend(reader.range()?);
                if reader.accept(b'}') {
                    break;
                }
                reader.expect(b',')?;
            }
        }
        reader.skip_space();
        if reader.at < reader.bytes.len() {
            return Err(reader.error());
        }
        ranges.sort_unstable_by_key(|range: &Range| range.lo);
        Ok(ranges.into_iter().collect())
    }
}

impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{")?;
        for (i, range) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match range.lo {
                i64::MIN => f.write_str("(,")?,
                lo => write!(f, "[{lo},")?,
            }
            if let Some(hi) = range.hi {
                write!(f, "{hi}")?;
            }
            f.write_str(")")?;
        }
        f.write_str("}")
    }
}

impl FromIterator<Range> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range>>(iter: I) -> Self {
        let mut out = Self::new();
        for range in iter {
            out.insert(range);
        }
        out
    }
}

impl From<Range> for Ranges {
    fn from(range: Range) -> Self {
        Self::single(range.lo, range.hi)
    }
}

impl Extend<Range> for Ranges {
    fn extend<I: IntoIterator<Item = Range>>(&mut self, iter: I) {
        for range in iter {
            self.insert(range);
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error(&self) -> RangesError {
        RangesError { offset: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.skip_space();
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    fn expect(&mut self, byte: u8) -> Result<(), RangesError> {
        if self.accept(byte) { Ok(()) } else { Err(self.error()) }
    }

    fn number(&mut self) -> Result<Option<i64>, RangesError> {
        self.skip_space();
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'+') {
            self.at += 1;
        }
        let digits = self.bytes.get(start..self.at).unwrap_or_default();
        if digits.is_empty() {
            return Ok(None);
        }
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or(RangesError { offset: start })
    }

    fn range(&mut self) -> Result<Option<Range>, RangesError> {
        self.skip_space();
        let word = self.bytes.get(self.at..self.at + 5).unwrap_or_default();
        if word.eq_ignore_ascii_case(b"empty") {
            self.at += 5;
            return Ok(None);
        }
        let lower_inclusive = self.accept(b'[');
        if !lower_inclusive {
            self.expect(b'(')?;
        }
        let lo = self.number()?;
        self.expect(b',')?;
        let hi = self.number()?;
        let upper_inclusive = self.accept(b']');
        if !upper_inclusive {
            self.expect(b')')?;
        }
        if lo.zip(hi).is_some_and(|(lo, hi)| lo > hi) {
            return Err(self.error());
        }
        let lo = lo.map_or(i128::from(i64::MIN), |lo| i128::from(lo) + i128::from(!lower_inclusive));
        let end = hi.map_or(TOP, |hi| i128::from(hi) + i128::from(upper_inclusive));
        Ok(Range::from_ends(lo, end))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SPAN: i64 = 24;

    fn naive(ranges: &Ranges) -> BTreeSet<i64> {
        (-1..=SPAN + 8).filter(|second| ranges.contains(*second)).collect()
    }

    fn any_ranges() -> impl Strategy<Value = Ranges> {
        let range = (0..SPAN, proptest::option::weighted(0.9, 0..6i64));
        proptest::collection::vec(range, 0..8)
            .prop_map(|list| list.into_iter().filter_map(|(lo, len)| Range::new(lo, len.map(|l| lo + l))).collect())
    }

    fn assert_normalised(ranges: &Ranges) {
        for pair in ranges.0.windows(2) {
            assert!(pair[0].hi.unwrap() < pair[1].lo, "{ranges}");
        }
        assert!(ranges.iter().all(|range| range.hi.is_none_or(|hi| range.lo < hi)), "{ranges}");
    }

    proptest! {
        #[test]
        fn set_operations_agree_with_a_naive_set(a in any_ranges(), b in any_ranges()) {
            let (x, y) = (naive(&a), naive(&b));
            for (got, want) in [
                (a.union(&b), x.union(&y).copied().collect::<BTreeSet<_>>()),
                (a.subtract(&b), x.difference(&y).copied().collect()),
                (a.intersect(&b), x.intersection(&y).copied().collect()),
            ] {
                assert_normalised(&got);
                prop_assert_eq!(naive(&got), want);
            }
            prop_assert_eq!(a.covers(&b), y.is_subset(&x));
        }

        #[test]
        fn inserting_in_any_order_normalises(a in any_ranges(), lo in 0..SPAN, len in 0..9i64) {
            let mut grown = a.clone();
            grown.insert(Range { lo, hi: Some(lo + len) });
            assert_normalised(&grown);
            prop_assert_eq!(&grown, &a.union(&Ranges::single(lo, Some(lo + len))));
            let want: BTreeSet<i64> = naive(&a).into_iter().chain(lo..lo + len).collect();
            prop_assert_eq!(naive(&grown), want);
        }

        #[test]
        fn text_form_round_trips(a in any_ranges()) {
            prop_assert_eq!(Ranges::from_multirange(&a.to_multirange()).unwrap(), a);
        }

        #[test]
        fn arbitrary_text_is_an_error_or_a_set(text in "[\\[\\](){},0-9 empty-]{0,24}") {
            if let Ok(ranges) = Ranges::from_multirange(&text) {
                assert_normalised(&ranges);
            }
        }
    }

    #[test]
    fn reads_every_form_postgres_writes() {
        for (text, want) in [
            ("{}", "{}"),
            (" { } ", "{}"),
            ("{empty}", "{}"),
            ("{[1,5),[7,)}", "{[1,5),[7,)}"),
            ("{[7,),[1,5)}", "{[1,5),[7,)}"),
            ("{[1,5]}", "{[1,6)}"),
            ("{(1,5)}", "{[2,5)}"),
            ("{(,5)}", "{(,5)}"),
            ("{(,)}", "{(,)}"),
            ("{[1,3),[3,4]}", "{[1,5)}"),
            ("{[3,3)}", "{}"),
            ("{[5,9223372036854775807]}", "{[5,)}"),
            ("{[-5,-2)}", "{[-5,-2)}"),
        ] {
            assert_eq!(Ranges::from_multirange(text).unwrap().to_multirange(), want, "{text}");
        }
        assert!(Ranges::from_multirange("{(,5)}").unwrap().contains(i64::MIN));
    }

    #[test]
    fn refuses_what_postgres_refuses() {
        for text in [
            "",
            "{",
            "}",
            "{[1,5)",
            "[1,5)",
            "{[5,1)}",
            "{[1;5)}",
            "{[1,5),}",
            "{[a,5)}",
            "{[1,5)}x",
            "{[1,99999999999999999999)}",
        ] {
            assert!(Ranges::from_multirange(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_ends_of_the_domain_do_not_overflow() {
        let all = Ranges::single(i64::MIN, None);
        assert!(all.contains(i64::MIN) && all.contains(i64::MAX));
        let holed = all.subtract(&Ranges::single(i64::MAX, None));
        assert_eq!(holed.to_multirange(), "{(,9223372036854775807)}");
        assert!(!holed.contains(i64::MAX));
        assert_eq!(holed.union(&Ranges::single(i64::MAX, None)), all);
        assert_eq!(all.seconds(), None);
        assert_eq!(Ranges::single(0, Some(10)).seconds(), Some(10));
    }
}
