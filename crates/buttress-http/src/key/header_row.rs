use http::HeaderMap;

use super::{headers::counts, length_prefixed::write};
use crate::options::HttpOptions;

/// Writes the name and value of each counted header. The order of headers with different names does
/// not matter, and the values of a repeated name keep theirs.
pub(crate) fn write_counted(bytes: &mut Vec<u8>, options: &HttpOptions, headers: &HeaderMap) {
    let counted = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        counts(options, name).then_some((name, value.as_bytes()))
    });
    // On the stack for nearly all requests, because a key is made for each call.
    let mut few: [Header<'_>; FEW] = [("", &[]); FEW];
    if headers.len() > FEW {
        return write_sorted(bytes, &mut counted.collect::<Vec<_>>());
    }
    let mut count = 0;
    for (place, header) in few.iter_mut().zip(counted) {
        *place = header;
        count += 1;
    }
    write_sorted(bytes, few.get_mut(..count).unwrap_or_default());
}

fn write_sorted(bytes: &mut Vec<u8>, headers: &mut [Header<'_>]) {
    // Stable, so that the values of a repeated name stay in their order.
    headers
        .sort_by(|(one, _), (other, _)| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
    for (name, value) in headers {
        write(bytes, [name]);
        write(bytes, [value]);
    }
}

type Header<'a> = (&'a str, &'a [u8]);

/// More headers than a browser sends.
const FEW: usize = 24;
