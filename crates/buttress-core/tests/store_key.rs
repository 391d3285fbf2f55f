//! The bytes of keys in a store that processes share.

use std::{fmt::Debug, net::IpAddr, sync::Arc};

use buttress_core::StoreKey;
use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};

fn bytes(key: &(impl StoreKey + ?Sized)) -> Vec<u8> {
    let mut out = Vec::new();
    key.write(&mut out);
    out
}

/// Equal keys write equal bytes, and the bytes of no key begin with those of another.
fn tells_apart<K: StoreKey + PartialEq + Debug>(key: &K, other: &K) -> Result<(), TestCaseError> {
    let (ours, theirs) = (bytes(key), bytes(other));
    if key == other {
        prop_assert_eq!(ours, theirs);
    } else {
        prop_assert!(!ours.starts_with(&theirs) && !theirs.starts_with(&ours), "{key:?} {other:?}");
    }
    Ok(())
}

/// Few letters and lengths, so that keys are often equal, or differ only where their parts end.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab\0]{0,4}", "[a\u{80}]{126,130}", ".{0,9}"]
}

fn few_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(0_u8..3, 0..5), vec(any::<u8>(), 0..300)]
}

type Nested = (Option<(String, Vec<u8>)>, Arc<str>, Option<Option<u16>>, [u8; 2]);

fn nested() -> impl Strategy<Value = Nested> {
    let pair = prop::option::of((text(), few_bytes()));
    let inner = prop::option::of(prop::option::of(0_u16..3));
    (pair, text().prop_map(Arc::from), inner, [0_u8..2, 0_u8..2])
}

proptest! {
    #[test]
    fn no_two_texts_write_the_same_bytes(key in text(), other in text()) {
        tells_apart(&key, &other)?;
        tells_apart(&key.as_str(), &other.as_str())?;
        tells_apart(&Arc::<str>::from(key), &Arc::<str>::from(other))?;
    }

    #[test]
    fn no_two_byte_strings_write_the_same_bytes(key in few_bytes(), other in few_bytes()) {
        tells_apart(&key.as_slice(), &other.as_slice())?;
        tells_apart(&key, &other)?;
    }

    #[test]
    fn no_two_integers_write_the_same_bytes(key: u64, other: u64, near: u8, next: u8) {
        tells_apart(&key, &other)?;
        tells_apart(&near, &next)?;
        tells_apart(&i128::from(near), &-i128::from(next))?;
        tells_apart(&i64::from(near), &-i64::from(next))?;
        tells_apart(&usize::from(near), &usize::from(next))?;
        tells_apart(&char::from(near), &char::from(next))?;
        tells_apart(&(near > 127), &(next > 127))?;
    }

    #[test]
    fn no_two_addresses_write_the_same_bytes(key: IpAddr, other: IpAddr) {
        tells_apart(&key, &other)?;
        tells_apart(&key, &key)?;
    }

    #[test]
    fn no_two_pairs_write_the_same_bytes(key in (text(), text()), other in (text(), text())) {
        tells_apart(&key, &other)?;
    }

    #[test]
    fn no_two_nested_keys_write_the_same_bytes(key in nested(), other in nested()) {
        tells_apart(&key, &other)?;
    }
}

#[test]
fn pairs_whose_parts_join_to_the_same_text_differ() {
    assert_ne!(bytes(&("ab", "c")), bytes(&("a", "bc")));
    assert_ne!(bytes(&("", "ab")), bytes(&("ab", "")));
    assert_ne!(bytes(&(None::<u8>, 1_u8)), bytes(&(Some(1_u8), 0_u8)));
}

/// The format is kept: a change of these bytes gives every user new buckets and an empty cache.
#[test]
fn bytes_of_a_key_stay_the_same_in_every_version() {
    assert!(bytes(&()).is_empty());
    assert_eq!(bytes("tenant"), *b"\x06tenant");
    assert_eq!(bytes(&String::from("x").repeat(300))[..3], [0xac, 0x02, b'x']);
    assert_eq!(bytes(&[1_u8, 2][..]), [2, 1, 2]);
    assert_eq!(bytes(&258_u32), [0, 0, 1, 2]);
    assert_eq!(bytes(&-1_i16), [0xff, 0xff]);
    assert_eq!(bytes(&7_usize), [0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(bytes(&-2_isize), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(bytes(&'é'), [0, 0, 0, 0xe9]);
    assert_eq!(bytes(&(true, Some(2_u8), None::<u8>)), [1, 1, 2, 0]);
    assert_eq!(bytes(&IpAddr::from([127, 0, 0, 1])), [4, 127, 0, 0, 1]);
    assert_eq!(bytes(&(1_u8, 2_u8, 3_u8, 4_u8, 5_u8, 6_u8)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn pointer_writes_the_bytes_of_its_key() {
    let key = bytes("tenant");
    assert_eq!(bytes(&"tenant"), key);
    assert_eq!(bytes(&String::from("tenant")), key);
    assert_eq!(bytes(&Arc::<str>::from("tenant")), key);
    assert_eq!(bytes(&Box::<str>::from("tenant")), key);
    assert_eq!(bytes(&(Arc::<str>::from("tenant"),)), key);
}

struct Token;

impl StoreKey for Token {
    fn write(&self, out: &mut Vec<u8>) {
        "secret".write(out);
    }

    fn holds_credentials(&self) -> bool {
        true
    }
}

#[test]
fn key_holds_credentials_if_a_part_of_it_does() {
    assert!(("orders", Some(Token)).holds_credentials());
    assert!((&Token,).holds_credentials());
    assert!(Arc::new(Token).holds_credentials());
    assert!(!("orders", None::<Token>, 7_u8).holds_credentials());
}
