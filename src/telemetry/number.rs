//! Numbers in decimal, at the end of a buffer.
//!
//! Must not know formats.

use std::io::Write;

/// Writes an integer in decimal.
pub(super) fn digits(out: &mut Vec<u8>, mut value: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + u8::try_from(value % 10).unwrap_or_default());
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if let Some(written) = out.get_mut(start..) {
        written.reverse();
    }
}

/// Writes `value` with `places` decimals, rounded half to even on its exact value, as C and Python do.
pub(super) fn fixed(out: &mut Vec<u8>, value: f64, places: usize) {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let exponent = bits >> 52;
    // A normal number below 2^53 is `mantissa / 2^shift`, and 53 bits times 10^22 stay below 2^127.
    if !(1..=1075).contains(&exponent) || places > 22 {
        // Writing to a Vec does not fail.
        let _ = write!(out, "{value:.places$}");
        return;
    }
    let power = 10_u128.pow(places.try_into().unwrap_or_default());
    let scaled = u128::from((bits & MANTISSA) | (1 << 52)) * power;
    let shift = u32::try_from(1075 - exponent).unwrap_or_default();
    let rounded = match (scaled.checked_shr(shift), shift) {
        (Some(all), 0) => all,
        (Some(whole), _) => {
            let rest = scaled - (whole << shift);
            let half = 1_u128 << (shift - 1);
            whole + u128::from(rest > half || (rest == half && whole & 1 == 1))
        }
        (None, _) => 0,
    };
    let (Ok(whole), Ok(part)) = (u64::try_from(rounded / power), u64::try_from(rounded % power)) else {
        let _ = write!(out, "{value:.places$}");
        return;
    };
    digits(out, whole);
    if places > 0 {
        out.push(b'.');
        let first = out.len();
        digits(out, part);
        fill(out, first, places, b'0', false);
    }
}

/// Writes the shortest text that reads back as `value`, as Python's `repr` does.
pub(super) fn shortest(out: &mut Vec<u8>, value: f64) {
    let _ = if value != 0.0 && value < 1e-4 {
        let text = format!("{value:e}");
        match text.split_once("e-") {
            Some((mantissa, exponent)) => write!(out, "{mantissa}e-{exponent:0>2}"),
            None => write!(out, "{text}"),
        }
    } else if value.fract() == 0.0 {
        write!(out, "{value:.1}")
    } else {
        write!(out, "{value}")
    };
}

pub(super) fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Makes what follows `start` at least `width` characters wide.
pub(super) fn fill(out: &mut Vec<u8>, start: usize, width: usize, with: u8, behind: bool) {
    let there = out.iter().skip(start).filter(|b| !is_continuation(**b)).count();
    let missing = width.saturating_sub(there);
    out.resize(out.len() + missing, with);
    if !behind && let Some(text) = out.get_mut(start..) {
        text.rotate_right(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"|".to_vec();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8").split_off(1)
    }

    proptest::proptest! {
        #[test]
        fn fixed_point_is_what_the_standard_library_prints(bits: u64, places in 0_usize..25) {
            let value = f64::from_bits(bits >> 1);
            proptest::prop_assert_eq!(with(|out| fixed(out, value, places)), format!("{value:.places$}"));
        }

        #[test]
        fn durations_are_what_the_standard_library_prints(nanos in 0_u64..100_000_000_000) {
            let value = std::time::Duration::from_nanos(nanos).as_secs_f64();
            proptest::prop_assert_eq!(with(|out| fixed(out, value, 7)), format!("{value:.7}"));
        }
    }
}
