use std::time::Duration;

use http::HeaderValue;

/// Parses a `grpc-timeout`: one to eight digits and a unit, which is `H`, `M`, `S`, `m`, `u` or
/// `n`. Returns `None` for any other text.
///
/// Zero is accepted, although the [specification] wants a positive number. Zero means that no time
/// is left.
///
/// [specification]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
pub fn parse_grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * HOUR),
        b'M' => Duration::from_secs(number * MINUTE),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Encodes the time left as a `grpc-timeout`, in the finest unit that needs at most eight digits.
///
/// The value is rounded down, never above the time left. Zero is `0n`.
pub fn encode_grpc_timeout(remaining: Duration) -> HeaderValue {
    let seconds = remaining.as_secs();
    let (number, unit) = [
        (remaining.as_nanos(), b'n'),
        (remaining.as_micros(), b'u'),
        (remaining.as_millis(), b'm'),
        (u128::from(seconds), b'S'),
        (u128::from(seconds / MINUTE), b'M'),
    ]
    .into_iter()
    .find(|(number, _)| *number <= MOST)
    .unwrap_or((u128::from(seconds / HOUR).min(MOST), b'H'));
    value(number, unit)
}

fn value(number: u128, unit: u8) -> HeaderValue {
    let mut text = [unit; MOST_DIGITS + 1];
    let mut rest = number;
    let mut start = MOST_DIGITS;
    for (place, digit) in text.iter_mut().enumerate().take(MOST_DIGITS).rev() {
        *digit = b"0123456789".get((rest % 10) as usize).copied().unwrap_or(b'0');
        rest /= 10;
        start = place;
        if rest == 0 {
            break;
        }
    }
    let text = text.get(start..).unwrap_or_default();
    // Digits and a letter are always a valid header value.
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static("0n"))
}

const MOST_DIGITS: usize = 8;
const MOST: u128 = 99_999_999;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
