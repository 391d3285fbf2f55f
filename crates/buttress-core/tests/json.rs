//! Values as JSON in a store that processes share.

use std::{cell::Cell, collections::BTreeMap};

use buttress_core::{Codec, Json};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Price {
    currency: String,
    cents: u64,
    discount: Option<f64>,
    tags: Vec<String>,
    #[serde(default)]
    rates: BTreeMap<u8, i64>,
}

fn encode<T>(value: &T, max: usize) -> Option<Vec<u8>>
where
    Json: Codec<T>,
{
    let mut out = Vec::new();
    Json.encode(value, &mut out, max).then_some(out)
}

fn decode<T>(bytes: impl AsRef<[u8]>) -> Option<T>
where
    Json: Codec<T>,
{
    Json.decode(Bytes::copy_from_slice(bytes.as_ref()))
}

#[test]
fn the_id_of_the_format_is_fixed() {
    assert_eq!(<Json as Codec<Price>>::ID, 0x4a53_4e31);
}

#[test]
fn value_of_more_than_the_maximum_is_not_written() {
    let text = "twelve bytes".to_owned();
    assert_eq!(encode(&text, 14).as_deref(), Some(&b"\"twelve bytes\""[..]));
    for max in 0..14 {
        assert_eq!(encode(&text, max), None);
    }
    let mut out = b"before".to_vec();
    assert!(Json.encode(&text, &mut out, 14), "the maximum is of the value alone");
    assert_eq!(out, b"before\"twelve bytes\"");
}

#[test]
fn value_that_is_far_too_long_takes_no_memory() {
    let texts = vec!["x".repeat(1000); 1000];
    let mut out = Vec::new();
    assert!(!Json.encode(&texts, &mut out, 100));
    assert!(out.capacity() < 2048);
}

#[test]
fn value_without_a_form_in_json_is_not_written() {
    let by_list = BTreeMap::from([(vec![1, 2], "value".to_owned())]);
    assert_eq!(encode(&by_list, usize::MAX), None);
}

#[test]
fn bytes_that_are_not_the_value_are_a_miss() {
    assert_eq!(decode(b"7"), Some(7_u8));
    for bytes in
        [&b""[..], b" ", b"7 ", b"7\n", b"7,", b"7 7", b"7}", b"256", b"\"7\"", b"\xff", b"null"]
    {
        assert_eq!(decode::<u8>(bytes), None, "{bytes:?}");
    }
    let good = encode(&Price::default(), usize::MAX);
    let good = good.unwrap_or_default();
    assert_eq!(decode(&good), Some(Price::default()));
    for end in 0..good.len() {
        assert_eq!(decode::<Price>(good.get(..end).unwrap_or_default()), None);
    }
}

#[test]
fn deep_nesting_is_a_miss() {
    #[derive(Debug, Deserialize, Serialize)]
    struct Nested(Vec<Self>);

    assert!(decode::<Nested>("[".repeat(100) + &"]".repeat(100)).is_some());
    assert!(decode::<Nested>("[".repeat(1_000_000)).is_none());
}

#[test]
fn other_fields_are_read_as_the_type_says() {
    let old = br#"{"currency":"EUR","cents":1,"discount":null,"tags":[],"removed":true}"#;
    let read: Option<Price> = decode(old);
    assert_eq!(read.map(|price| (price.currency, price.cents)), Some(("EUR".to_owned(), 1)));
    assert_eq!(decode::<Price>(br#"{"currency":"EUR","discount":null,"tags":[]}"#), None);
}

#[test]
fn error_of_the_type_leaves_the_value_unwritten() {
    struct Refuses(Cell<bool>);

    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            self.0.set(true);
            Err(serde::ser::Error::custom("refused"))
        }
    }

    impl<'de> Deserialize<'de> for Refuses {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("refused"))
        }
    }

    let value = Refuses(Cell::new(false));
    assert!(encode(&value, 100).is_none());
    assert!(value.0.get());
    assert!(decode::<Refuses>(b"7").is_none());
}

proptest! {
    #[test]
    fn every_value_reads_back_the_same(price in prices()) {
        let bytes = encode(&price, usize::MAX);
        prop_assert_eq!(bytes.and_then(decode), Some(price));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..64), text in r#"[\[\]{}:,"0-9a-z.e\\-]{0,40}"#) {
        let _: [Option<Price>; 2] = [decode(bytes), decode(text)];
    }
}

fn prices() -> impl Strategy<Value = Price> {
    let text = || prop_oneof!["[a-z]{0,4}", ".{0,9}"];
    let rates = proptest::collection::btree_map(any::<u8>(), any::<i64>(), 0..3);
    let discount =
        option::of(any::<f64>().prop_filter("JSON has no infinity", |value| value.is_finite()));
    (text(), any::<u64>(), discount, vec(text(), 0..3), rates).prop_map(
        |(currency, cents, discount, tags, rates)| Price { currency, cents, discount, tags, rates },
    )
}
