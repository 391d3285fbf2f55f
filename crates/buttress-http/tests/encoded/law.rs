//! What holds for every response and for any bytes.

use buttress_http::Http;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::responses::{Upstream, body, decode, encode, encode_at_most, sample, see, stored};

proptest! {
    #[test]
    fn every_response_reads_back_the_same(response in responses()) {
        let shared = stored(response);
        let bytes = encode(&Http::new(), &shared).unwrap();
        let read = decode(&bytes).unwrap();
        prop_assert_eq!(see(&read), see(&shared));
        prop_assert_eq!(encode(&Http::new(), &read).unwrap(), bytes);
    }

    #[test]
    fn exact_room_is_enough_and_a_byte_less_is_not(response in responses()) {
        let shared = stored(response);
        let bytes = encode(&Http::new(), &shared).unwrap();
        prop_assert_eq!(encode_at_most(&Http::new(), &shared, bytes.len()), Some(bytes.clone()));
        prop_assert_eq!(encode_at_most(&Http::new(), &shared, bytes.len() - 1), None);
    }

    #[test]
    fn any_bytes_are_a_miss_or_are_written_again(bytes in vec(any::<u8>(), 0..64)) {
        is_canonical(&bytes)?;
    }

    #[test]
    fn damaged_bytes_are_a_miss_or_are_written_again(
        response in responses(),
        place in any::<prop::sample::Index>(),
        with in vec(any::<u8>(), 0..4),
        removed in 0_usize..4,
    ) {
        let mut bytes = encode(&Http::new(), &stored(response)).unwrap();
        let start = place.index(bytes.len());
        let end = bytes.len().min(start + removed);
        bytes.splice(start..end, with);
        is_canonical(&bytes)?;
    }
}

#[test]
fn every_truncation_is_a_miss() {
    let bytes = encode(&Http::new(), &stored(sample())).unwrap();
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_none(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn every_flipped_bit_is_a_miss_or_another_response() {
    let bytes = encode(&Http::new(), &stored(sample())).unwrap();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            is_canonical(&flipped).unwrap();
        }
    }
}

#[test]
fn every_changed_byte_is_a_miss_or_another_response() {
    let bytes = encode(&Http::new(), &stored(sample())).unwrap();
    for place in 0..bytes.len() {
        for byte in 0..=u8::MAX {
            let mut changed = bytes.clone();
            changed[place] = byte;
            is_canonical(&changed).unwrap();
        }
    }
}

fn is_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Some(read) = decode(bytes) {
        prop_assert_eq!(encode(&Http::new(), &read), Some(bytes.to_vec()));
        prop_assert!(see(&read).is_over);
    }
    Ok(())
}

fn responses() -> impl Strategy<Value = Response<Upstream>> {
    let versions = select(vec![
        Version::HTTP_09,
        Version::HTTP_10,
        Version::HTTP_11,
        Version::HTTP_2,
        Version::HTTP_3,
    ]);
    let statuses = select(vec![200, 203, 204, 301, 404, 410, 500, 599, 999]);
    let data = vec(any::<u8>(), 0..300);
    (statuses, versions, fields(), data, option::of(fields())).prop_map(
        |(status, version, headers, data, trailers)| {
            let mut response = Response::new(body(data, trailers));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            *response.version_mut() = version;
            *response.headers_mut() = headers;
            response
        },
    )
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let names = select(vec!["etag", "age", "x-a", "x-b", "link", "content-type", "date"]);
    let value = vec(prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..=255], 0..20);
    let own = "x-[a-z0-9_.!#-]{1,150}";
    let name = prop_oneof![names.prop_map(str::to_owned), own.prop_map(|name| name)];
    vec((name, value), 0..8).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::try_from(name).unwrap();
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    })
}
