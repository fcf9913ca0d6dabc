//! Kind classes (NIP-01 "Kinds").

/// How relays are expected to keep events of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KindClass {
    /// All versions are kept.
    Regular,
    /// Only the newest per author and kind counts.
    Replaceable,
    /// Passed on, not stored.
    Ephemeral,
    /// Only the newest per author, kind and `d` tag counts.
    Addressable,
}

impl KindClass {
    /// `regular`, `replaceable`, `ephemeral` or `addressable` (the `category` of `kind_counts`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Replaceable => "replaceable",
            Self::Ephemeral => "ephemeral",
            Self::Addressable => "addressable",
        }
    }
}

/// The class of `kind`; ranges that NIP-01 leaves unassigned (45–999, from 40000 on) count as regular.
pub fn class(kind: u16) -> KindClass {
    match kind {
        0 | 3 | 10_000..=19_999 => KindClass::Replaceable,
        20_000..=29_999 => KindClass::Ephemeral,
        30_000..=39_999 => KindClass::Addressable,
        _ => KindClass::Regular,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_change_at_the_edges_of_the_ranges() {
        use KindClass::*;
        for (kind, expected) in [
            (0, Replaceable),
            (1, Regular),
            (2, Regular),
            (3, Replaceable),
            (4, Regular),
            (44, Regular),
            (45, Regular),
            (999, Regular),
            (1000, Regular),
            (9999, Regular),
            (10_000, Replaceable),
            (19_999, Replaceable),
            (20_000, Ephemeral),
            (22_242, Ephemeral),
            (29_999, Ephemeral),
            (30_000, Addressable),
            (39_999, Addressable),
            (40_000, Regular),
            (65_535, Regular),
        ] {
            assert_eq!(class(kind), expected, "{kind}");
        }
    }
}
