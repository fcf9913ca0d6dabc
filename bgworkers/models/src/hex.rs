//! Lower-case hexadecimal, the only form NIP-01 allows.
