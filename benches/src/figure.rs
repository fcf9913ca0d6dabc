//! One line for a figure and what is wanted of it.

/// The less, the better: the ratio is above 1 where it is missed.
pub fn at_most(what: &str, measured: f64, wanted: f64, unit: &str) {
    println!("{what}: {measured:.1} {unit}, wanted ≤ {wanted:.1} ({:.2})", measured / wanted);
}

/// The more, the better: the ratio is below 1 where it is missed.
pub fn at_least(what: &str, measured: f64, wanted: f64, unit: &str) {
    println!("{what}: {measured:.0} {unit}, wanted ≥ {wanted:.0} ({:.2})", measured / wanted);
}

/// Bytes in MB, as settings count them.
pub fn mb(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
