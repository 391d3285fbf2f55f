//! Responses that do not go to a store, and bytes that are no response.

use std::sync::Arc;

use buttress_core::{ByteBudget, Codec, Share};
use buttress_http::Http;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::SET_COOKIE};

use crate::responses::{
    Shared, Upstream, body, decode, encode, encode_at_most, headers, sample, stored,
};

#[test]
fn response_that_is_not_detached_from_its_callers_is_not_written() {
    let budget = Arc::new(ByteBudget::new(usize::MAX));
    let streaming = Http::new().share(sample(), &budget).unwrap();
    assert_eq!(encode(&Http::new(), &streaming), None);
    let incomplete = Share::<Response<Upstream>>::for_cache(&Http::new(), &streaming);
    assert_eq!(encode(&Http::new(), &incomplete), None);
    // Complete, but with the extensions of its own callers.
    let ended = Http::new().share(Response::new(body("", None)), &budget).unwrap();
    assert_eq!(encode(&Http::new(), &ended), None);
    let detached = Share::<Response<Upstream>>::for_cache(&Http::new(), &ended);
    assert!(encode(&Http::new(), &detached).is_some());
}

#[test]
fn response_of_more_than_the_maximum_is_not_written() {
    let shared = stored(sample());
    let length = encode(&Http::new(), &shared).unwrap().len();
    for max in 0..length {
        assert_eq!(encode_at_most(&Http::new(), &shared, max), None);
    }
    let mut out = b"before".to_vec();
    assert!(Http::new().encode(&shared, &mut out, length), "the maximum is of the response alone");
    assert_eq!(decode(out.strip_prefix(b"before").unwrap()).map(|_| ()), Some(()));
}

#[test]
fn up_to_256_headers_and_trailers_go_to_a_store() {
    let of = |count: usize, trailers: usize| {
        let mut response = Response::new(body("", (trailers > 0).then(|| many(trailers))));
        *response.headers_mut() = many(count);
        encode(&Http::new(), &stored(response))
    };
    assert!(decode(&of(256, 0).unwrap()).is_some());
    assert!(decode(&of(200, 56).unwrap()).is_some());
    assert_eq!(of(257, 0), None);
    assert_eq!(of(200, 57), None);
}

#[test]
fn more_than_256_headers_are_not_read() {
    let of = |headers: usize, trailers: usize| {
        let mut bytes = vec![0, 200, 11];
        bytes.extend(length(headers));
        bytes.extend(b"\x01x\x00".repeat(headers));
        bytes.extend(length(trailers + 1));
        bytes.extend(b"\x01x\x00".repeat(trailers));
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        decode(&bytes)
    };
    assert!(of(256, 0).is_some() && of(200, 56).is_some() && of(0, 256).is_some());
    assert!(of(257, 0).is_none() && of(200, 57).is_none() && of(0, 257).is_none());
}

#[test]
fn up_to_64_kib_of_headers_go_to_a_store() {
    let of = |bytes: usize| {
        let mut response = Response::new(body("", Some(headers(&[("x-end", "12")]))));
        let value = HeaderValue::try_from("x".repeat(bytes - "x-longx-end12".len())).unwrap();
        response.headers_mut().insert("x-long", value);
        encode(&Http::new(), &stored(response))
    };
    let bytes = of(65_536).unwrap();
    assert!(decode(&bytes).is_some());
    assert_eq!(of(65_537), None);
    // The same bytes with one more in the value.
    let (length, value) = (&[0xf3, 0xff, 0x03][..], &bytes[14..]);
    assert_eq!(bytes[11..14], *length);
    let longer = [&bytes[..11], &[0xf4, 0xff, 0x03], b"x", value].concat();
    assert!(decode(&longer).is_none());
}

#[test]
fn header_of_a_connection_is_not_read() {
    for name in HOP_BY_HOP {
        assert!(decode(&with_header(name, "x")).is_none(), "{name}");
        assert!(decode(&with_trailer(name, "x")).is_none(), "{name}");
    }
    assert!(decode(&with_header("x-connection", "x")).is_some());
    assert!(decode(&with_trailer("x-connection", "x")).is_some());
}

#[test]
fn trailer_of_a_connection_or_a_client_is_not_written() {
    for name in HOP_BY_HOP.into_iter().chain(["set-cookie"]) {
        let shared = stored(Response::new(body("", Some(headers(&[(name, "x")])))));
        assert_eq!(encode(&Http::new(), &shared), None, "{name}");
    }
}

#[test]
fn response_for_a_single_caller_is_not_read() {
    for (name, value) in [
        (SET_COOKIE.as_str(), "a=b"),
        ("cache-control", "private"),
        ("cache-control", "max-age=60, no-store"),
        ("content-range", "bytes 0-1/2"),
        ("content-type", "text/event-stream"),
        ("vary", "*"),
        ("vary", "traceparent"),
    ] {
        assert!(decode(&with_header(name, value)).is_none(), "{name}: {value}");
    }
    assert!(decode(&with_trailer("set-cookie", "a=b")).is_none());
    assert!(decode(&with_header("cache-control", "max-age=60")).is_some());
    for status in [100_u16, 101, 199, 206] {
        assert!(decode(&with_status(status)).is_none(), "{status}");
    }
}

#[test]
fn header_that_this_replica_leaves_out_of_its_keys_forbids_a_response() {
    let bytes = with_header("vary", "x-color");
    let read = |http: Http| -> Option<Shared> { http.decode(bytes.clone().into()) };
    assert!(read(Http::new()).is_some());
    assert!(read(Http::new().ignore_headers([HeaderName::from_static("x-color")])).is_none());
    let shared = decode(&bytes).unwrap();
    let other = Http::new().key_headers([HeaderName::from_static("accept")]);
    assert_eq!(encode(&other, &shared), None);
}

#[test]
fn sensitive_value_does_not_go_to_a_store() {
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    let fields = HeaderMap::from_iter([(HeaderName::from_static("x-token"), secret)]);
    let mut response = Response::new(body("", None));
    *response.headers_mut() = fields.clone();
    assert_eq!(encode(&Http::new(), &stored(response)), None);
    let response = Response::new(body("", Some(fields)));
    assert_eq!(encode(&Http::new(), &stored(response)), None);
}

#[test]
fn bytes_in_another_form_are_not_read() {
    // Status, version, one header, one trailer, size, body.
    let good: &[u8] = b"\x00\xc8\x0b\x01\x01a\x01b\x02\x01c\x01d\x01\0\0\0\0\0\0\0\x02\x02ok";
    assert!(decode(good).is_some());
    let bad: [(&str, &[u8]); 15] = [
        ("a byte after the end", b"\x00\xc8\x0b\0\0\0\0\0"),
        ("status 0", b"\0\0\x0b\0\0\0\0"),
        ("status 1000", b"\x03\xe8\x0b\0\0\0\0"),
        ("another version", b"\x00\xc8\x0c\0\0\0\0"),
        ("upper case", b"\x00\xc8\x0b\x01\x01A\0\0\0\0"),
        ("a name without letters", b"\x00\xc8\x0b\x01\0\0\0\0\0"),
        ("a space in a name", b"\x00\xc8\x0b\x01\x01 \0\0\0\0"),
        ("a line feed in a value", b"\x00\xc8\x0b\x01\x01a\x01\n\0\0\0"),
        ("a long length", b"\x00\xc8\x0b\x80\0\0\0\0"),
        ("a length without end", b"\x00\xc8\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("more headers than bytes", b"\x00\xc8\x0b\xff\x01"),
        ("values apart", b"\x00\xc8\x0b\x03\x01a\0\x01b\0\x01a\0\0\0\0"),
        ("a size of another kind", b"\x00\xc8\x0b\0\0\x03\0"),
        ("the length as a size", b"\x00\xc8\x0b\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (
            "less at most than at least",
            b"\x00\xc8\x0b\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0",
        ),
    ];
    for (what, bytes) in bad {
        assert!(decode(bytes).is_none(), "{what}");
    }
}

fn many(count: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        headers.append("x", HeaderValue::from_static(""));
    }
    headers
}

fn length(length: usize) -> Vec<u8> {
    let [low, ..] = length.to_le_bytes();
    if length < 128 { vec![low] } else { vec![low | 0x80, (length >> 7).try_into().unwrap()] }
}

fn with_header(name: &str, value: &str) -> Vec<u8> {
    [&[0, 200, 11, 1], &field(name, value)[..], &[0, 0, 0]].concat()
}

fn with_trailer(name: &str, value: &str) -> Vec<u8> {
    let size = [1, 0, 0, 0, 0, 0, 0, 0, 0];
    [&[0, 200, 11, 0, 2], &field(name, value)[..], &size, &[0]].concat()
}

fn with_status(status: u16) -> Vec<u8> {
    [&status.to_be_bytes()[..], &[11, 0, 0, 0, 0]].concat()
}

fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| vec![u8::try_from(text.len()).unwrap()];
    [length(name), name.into(), length(value), value.into()].concat()
}

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
