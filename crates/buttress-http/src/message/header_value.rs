use std::{str, time::SystemTime};

use buttress_core::WallClock;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Whether there is a header of this name.
///
/// Comparing a name costs about 6 instructions, and hashing one about 100.
#[inline]
pub(crate) fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    if headers.keys_len() > FEW_NAMES {
        return headers.contains_key(name);
    }
    headers.keys().any(|other| other == name)
}

/// Returns the first value of the header of this name.
///
/// Visiting a value costs about 15 instructions, and hashing a name about 100.
#[inline]
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    if headers.keys_len() > FEW_VALUES {
        return headers.get(name);
    }
    headers.iter().find_map(|(other, value)| (other == name).then_some(value))
}

/// The value of a header that occurs once.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value.as_bytes().trim_ascii())
}

/// The members of a header that is a list of tokens, from all of its lines.
pub(crate) fn members<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    let members = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// `1*DIGIT`. A number that does not fit becomes `u64::MAX`.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}

/// A date in any of the three forms of HTTP (RFC 9110, section 5.6.7).
pub(crate) fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()
}

/// The only reading of the wall clock in this crate. A simulation can set the clock.
#[inline]
pub(crate) fn wall_clock() -> SystemTime {
    WallClock::now()
}

/// Up to this number of headers, [`has`] compares names in turn.
const FEW_NAMES: usize = 16;

/// Up to this number of headers, [`find`] compares names in turn.
const FEW_VALUES: usize = 6;
