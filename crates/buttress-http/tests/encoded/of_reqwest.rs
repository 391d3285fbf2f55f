//! Responses of reqwest.

use buttress_core::{Codec, Reader, Share};
use buttress_http::Http;
use bytes::Bytes;
use reqwest::{Response, ResponseBuilderExt, Url};

use crate::responses::{self, encode, encode_at_most};

type Shared = <Http as Share<Response>>::Shared;

#[test]
fn the_id_of_the_format_is_fixed() {
    assert_eq!(<Http as Codec<Shared>>::ID, 0x4854_5231);
}

#[tokio::test]
async fn response_reads_back_with_its_url() {
    let shared = stored("http://example.org/path?query#part");
    let bytes = encode(&Http::new(), &shared).unwrap();
    let expected =
        b"\x22http://example.org/path?query#part\x01\x94\x0b\x01\x04etag\x03\"1\"\0\0\x04body";
    assert_eq!(bytes, expected);
    let read: Shared = decode(&bytes).unwrap();
    assert_eq!(encode(&Http::new(), &read).unwrap(), bytes);
    let response = Share::<Response>::restore(&Http::new(), &read, Reader::Follower);
    assert_eq!(response.url().as_str(), "http://example.org/path?query#part");
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["etag"], "\"1\"");
    assert_eq!(response.content_length(), Some(4));
    assert_eq!(response.text().await.unwrap(), "body");
}

#[test]
fn url_with_a_user_or_a_password_is_neither_written_nor_read() {
    for url in ["http://user@host/", "http://user:password@host/", "http://:password@host/"] {
        assert_eq!(encode(&Http::new(), &stored(url)), None);
        assert!(decode(&at(url)).is_none());
    }
    assert!(decode(&at("http://host/@")).is_some());
}

#[test]
fn url_in_another_form_is_not_read() {
    assert!(decode(&at("http://host/")).is_some());
    for url in ["", "host", "http://host", "HTTP://host/", "http://host:80/", "http://host/ ", "/"]
    {
        assert!(decode(&at(url)).is_none(), "{url}");
    }
    assert!(decode(b"\x01\xff").is_none());
}

#[test]
fn the_url_counts_against_the_maximum() {
    let shared = stored("http://host/");
    let bytes = encode(&Http::new(), &shared).unwrap();
    for max in 0..bytes.len() {
        assert_eq!(encode_at_most(&Http::new(), &shared, max), None);
    }
    assert!(encode_at_most(&Http::new(), &shared, bytes.len()).is_some());
}

#[test]
fn every_changed_byte_is_a_miss_or_another_response() {
    let bytes = encode(&Http::new(), &stored("http://host/a?b")).unwrap();
    for place in 0..bytes.len() {
        assert!(decode(&bytes[..place]).is_none());
        for byte in 0..=u8::MAX {
            let mut changed = bytes.clone();
            changed[place] = byte;
            if let Some(read) = decode(&changed) {
                assert_eq!(encode(&Http::new(), &read), Some(changed));
            }
        }
    }
}

fn stored(url: &str) -> Shared {
    let url = Url::parse(url).unwrap();
    let response = http::Response::builder().status(404).header("etag", "\"1\"").url(url);
    responses::stored(Response::from(response.body("body").unwrap()))
}

fn decode(bytes: &[u8]) -> Option<Shared> {
    Http::new().decode(Bytes::copy_from_slice(bytes))
}

/// A response without headers or a body from `url`.
fn at(url: &str) -> Vec<u8> {
    let length = [u8::try_from(url.len()).unwrap()];
    [&length, url.as_bytes(), &[0, 200, 11, 0, 0, 0, 0]].concat()
}
