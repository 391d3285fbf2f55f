//! Version 1 of the format, byte by byte. Replicas of other versions read and write these bytes, so
//! another format needs another id.

use buttress_core::Codec;
use buttress_http::Http;
use bytes::Bytes;
use http::{HeaderMap, Response, Version};
use http_body::{Body, Frame, SizeHint};

use crate::responses::{Shared, body, decode, encode, sample, see, stored};

#[test]
fn the_id_of_the_format_is_fixed() {
    assert_eq!(<Http as Codec<Shared>>::ID, 0x4854_5431);
}

#[test]
fn response_is_written_as_documented() {
    let bytes = encode(&Http::new(), &stored(sample())).unwrap();
    let expected: [&[u8]; 12] = [
        &[0x01, 0x94], // 404
        &[20],         // HTTP/2
        &[4],
        b"\x04vary\x06accept",
        b"\x04vary\x00",
        b"\x04etag\x03\"1\"",
        b"\x05x-odd\x01\xff",
        &[2], // one trailer
        b"\x08checksum\x014",
        &[1, 0, 0, 0, 0, 0, 0, 0, 4], // at least 4 bytes, because a body with trailers states no size
        &[4],
        b"body",
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(see(&decode(&bytes).unwrap()), see(&stored(sample())));
}

#[test]
fn smallest_response_takes_seven_bytes() {
    let bytes = encode(&Http::new(), &stored(Response::new(body("", None)))).unwrap();
    assert_eq!(bytes, [0, 200, 11, 0, 0, 0, 0]);
}

#[test]
fn long_parts_have_a_length_in_several_bytes() {
    let text = "x".repeat(300);
    let mut response = Response::new(body(text.clone(), None));
    response.headers_mut().insert("x", text.parse().unwrap());
    let bytes = encode(&Http::new(), &stored(response)).unwrap();
    let long = [&[0xac, 0x02], text.as_bytes()].concat();
    assert_eq!(bytes, [&[0, 200, 11, 1, 1, b'x'], &long[..], &[0, 0], &long].concat());
}

#[test]
fn every_version_of_http_is_written() {
    for (version, byte) in [
        (Version::HTTP_09, 9),
        (Version::HTTP_10, 10),
        (Version::HTTP_11, 11),
        (Version::HTTP_2, 20),
        (Version::HTTP_3, 30),
    ] {
        let mut response = Response::new(body("", None));
        *response.version_mut() = version;
        let bytes = encode(&Http::new(), &stored(response)).unwrap();
        assert_eq!(bytes[2], byte);
        assert_eq!(see(&decode(&bytes).unwrap()).version, version);
    }
}

#[test]
fn empty_trailers_differ_from_none() {
    let none = stored(Response::new(body("", None)));
    let empty = stored(Response::new(body("", Some(HeaderMap::new()))));
    let of = |shared| encode(&Http::new(), shared).unwrap();
    assert_eq!(of(&none)[4], 0);
    assert_eq!(of(&empty)[4], 1);
    assert_eq!(see(&decode(&of(&empty)).unwrap()), see(&empty));
    assert_ne!(see(&empty), see(&none));
}

#[test]
fn size_that_the_body_stated_is_kept() {
    // A response to `HEAD`, whose body is over before it begins, and states a size.
    for (least, most, expected) in [
        (0, Some(0), vec![0]),
        (7, Some(7), vec![2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 7]),
        (7, Some(9), vec![2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9]),
        (7, None, vec![1, 0, 0, 0, 0, 0, 0, 0, 7]),
        (0, None, vec![1, 0, 0, 0, 0, 0, 0, 0, 0]),
        (u64::MAX, None, vec![1, 255, 255, 255, 255, 255, 255, 255, 255]),
    ] {
        let shared = stored(Response::new(Ended { least, most }));
        let bytes = encode(&Http::new(), &shared).unwrap();
        assert_eq!(bytes[5..bytes.len() - 1], expected);
        let read = decode(&bytes).unwrap();
        assert_eq!(see(&read).sizes, [(least, most)]);
    }
}

#[test]
fn decoded_response_holds_no_part_of_the_bytes() {
    let bytes = Bytes::from(encode(&Http::new(), &stored(sample())).unwrap());
    let read: Option<Shared> = Http::new().decode(bytes.clone());
    assert!(read.is_some());
    assert!(bytes.is_unique(), "a small response would keep the answer of the store alive");
}

/// A body without data, of this size.
struct Ended {
    least: u64,
    most: Option<u64>,
}

impl Body for Ended {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.least);
        if let Some(most) = self.most {
            hint.set_upper(most);
        }
        hint
    }
}
