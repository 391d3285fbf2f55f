use std::{fmt::Write, time::Duration};

use buttress_core::Quota;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Appends `RateLimit-Policy` and `RateLimit` for `quotas`.
///
/// Both are lists of structured fields (draft-ietf-httpapi-ratelimit-headers-11, RFC 9651), so the
/// lines of an inner layer can stay.
pub(crate) fn announce(headers: &mut HeaderMap, quotas: &[Quota]) {
    append(headers, POLICY, quotas, |item, quota| {
        let window = whole_seconds(quota.window).max(1);
        write!(item, ";q={};w={}", integer(quota.quota), integer(window))
    });
    append(headers, LIMIT, quotas, |item, quota| {
        let reset = whole_seconds(quota.reset);
        write!(item, ";r={};t={}", integer(quota.remaining), integer(reset))
    });
}

/// Appends a line of `name`: for each quota its name and the parameters that `describe` writes.
fn append(
    headers: &mut HeaderMap,
    name: HeaderName,
    quotas: &[Quota],
    describe: impl Fn(&mut String, &Quota) -> std::fmt::Result,
) {
    let mut line = String::new();
    for quota in quotas {
        if !line.is_empty() {
            line.push(',');
        }
        write_string(&mut line, &quota.name);
        // Writing to a `String` does not fail.
        let _ = describe(&mut line, quota);
    }
    // Printable ASCII is always a valid header value.
    if !line.is_empty()
        && let Ok(value) = HeaderValue::try_from(line)
    {
        headers.append(name, value);
    }
}

/// An `sf-string` (RFC 9651, section 3.3.3), which holds printable ASCII. Any other byte is written
/// as `%XX`.
fn write_string(line: &mut String, text: &str) {
    line.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(byte)]),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => {
                let _ = write!(line, "%{byte:02X}");
            }
        }
    }
    line.push('"');
}

/// An `sf-integer` (RFC 9651, section 3.3.1), which has at most 15 digits.
fn integer(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}

/// The seconds, rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    let whole = duration.as_secs();
    if duration.subsec_nanos() > 0 { whole.saturating_add(1) } else { whole }
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
