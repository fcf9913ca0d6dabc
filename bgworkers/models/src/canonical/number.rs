//! Numbers in plain decimal.

use super::MAX_EXPONENT_ZEROS;

/// Appends a JSON number without exponent, leading and trailing zeros; zero has no sign.
pub(super) fn push_plain(out: &mut Vec<u8>, number: &str) -> Result<(), &'static str> {
    const TOO_LARGE: &str = "exponent too large";
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (number, None),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = Vec::with_capacity(whole.len() + fraction.len());
    digits.extend_from_slice(whole.as_bytes());
    digits.extend_from_slice(fraction.as_bytes());
    let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
    if leading == digits.len() {
        out.push(b'0');
        return Ok(());
    }
    let exponent = match exponent {
        None => 0,
        Some(text) => parse_exponent(text).ok_or(TOO_LARGE)?,
    };
    let trailing = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    let significant = digits.get(leading..digits.len() - trailing).unwrap_or_default();
    // How many of the significant digits stand before the point; zeros fill what is missing on either side.
    let length = |text: &[u8]| i64::try_from(text.len()).map_err(|_| TOO_LARGE);
    let point = length(whole.as_bytes())? - i64::try_from(leading).map_err(|_| TOO_LARGE)? + exponent;
    if negative {
        out.push(b'-');
    }
    let zeros = |count: i64| {
        let count = usize::try_from(count).map_err(|_| TOO_LARGE)?;
        // Zeros that are written out in the text are its author's own.
        if exponent != 0 && count > MAX_EXPONENT_ZEROS.max(number.len()) { Err(TOO_LARGE) } else { Ok(count) }
    };
    let count = length(significant)?;
    if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + zeros(-point)?, b'0');
        out.extend_from_slice(significant);
    } else if point >= count {
        out.extend_from_slice(significant);
        out.resize(out.len() + zeros(point - count)?, b'0');
    } else {
        let (before, after) = significant.split_at(usize::try_from(point).map_err(|_| TOO_LARGE)?);
        out.extend_from_slice(before);
        out.push(b'.');
        out.extend_from_slice(after);
    }
    Ok(())
}

/// An exponent that could still give a number of bearable length.
fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.trim_start_matches('0');
    if digits.len() > 12 {
        return None;
    }
    let value = if digits.is_empty() { 0 } else { digits.parse::<i64>().ok()? };
    Some(if negative { -value } else { value })
}
