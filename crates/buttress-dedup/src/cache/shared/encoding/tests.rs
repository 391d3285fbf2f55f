//! Values as the replicas of a fleet read and write them.

use proptest::prelude::*;

use super::*;

const LABEL: Label = Label { codec: 7, key: [9; 32] };

fn lifetime(millis: [u64; 4], is_explicit: bool) -> Lifetime {
    let [fresh, stale_while_revalidate, stale_if_error, age] = millis.map(Duration::from_millis);
    let mut lifetime = Lifetime::new(fresh);
    (lifetime.stale_while_revalidate, lifetime.stale_if_error) =
        (stale_while_revalidate, stale_if_error);
    (lifetime.age, lifetime.is_explicit) = (age, is_explicit);
    lifetime
}

fn encoded(head: Head, payload: &[u8]) -> Bytes {
    let write = |out: &mut Vec<u8>, _| {
        out.extend_from_slice(payload);
        true
    };
    head.encode(LABEL, usize::MAX, write).map(Bytes::from).unwrap_or_default()
}

fn some() -> Bytes {
    encoded(Head::new(lifetime([1, 200, 30_000, 4], true), Duration::from_millis(50)), b"ab")
}

/// The value with `change` applied, under a checksum that fits.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = some().to_vec();
    change(&mut bytes);
    let sum = crc32fast::hash(bytes.get(CHECKED_FROM..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(1..CHECKED_FROM) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    bytes.into()
}

fn why(bytes: &Bytes) -> &'static str {
    Head::decode(bytes, LABEL).map_or_else(|reason| reason, |_| "accepted")
}

#[test]
fn value_has_the_documented_bytes() {
    let bytes = some();
    assert_eq!(bytes.first(), Some(&1));
    assert_eq!(bytes.get(5..9), Some(&[0, 0, 0, 7][..]));
    assert_eq!(bytes.get(9..41), Some(&[9; 32][..]));
    let times = [1, 0xc8, 0x01, 0xb0, 0xea, 0x01, 4, 50];
    assert_eq!(bytes.get(41..49), Some(&times[..]));
    assert_eq!(bytes.get(49..), Some(&[1, b'a', b'b'][..]));
}

#[test]
fn value_is_rejected_with_its_reason() {
    assert_eq!(why(&some()), "accepted");
    assert_eq!(why(&Bytes::new()), "length");
    assert_eq!(why(&Bytes::from_static(&[1, 0, 0])), "length");
    assert_eq!(why(&changed(|bytes| bytes.truncate(20))), "length");
    assert_eq!(why(&changed(|bytes| bytes[0] = 2)), "version");
    assert_eq!(why(&changed(|bytes| bytes[8] = 8)), "codec");
    assert_eq!(why(&changed(|bytes| bytes[40] = 8)), "key");
    assert_eq!(why(&changed(|bytes| bytes[49] = 2)), "lifetime");
    assert_eq!(why(&changed(|bytes| bytes.truncate(45))), "lifetime");
    let mut damaged = some().to_vec();
    damaged[50] ^= 1;
    assert_eq!(why(&damaged.into()), "checksum");
}

#[test]
fn number_that_is_not_in_its_shortest_form_is_rejected() {
    assert_eq!(why(&changed(|bytes| drop(bytes.splice(41..42, [0x81, 0])))), "lifetime");
    let too_large = [0xff; 9].into_iter().chain([2]);
    assert_eq!(why(&changed(|bytes| drop(bytes.splice(41..42, too_large)))), "lifetime");
    let too_long = [0x80; 10].into_iter().chain([1]);
    assert_eq!(why(&changed(|bytes| drop(bytes.splice(41..42, too_long)))), "lifetime");
}

#[test]
fn lifetime_is_cut_to_a_day_and_a_longer_one_is_rejected() {
    let day = LONGEST;
    let mut long = Lifetime::new(Duration::MAX);
    (long.stale_while_revalidate, long.age) = (Duration::MAX, Duration::MAX);
    let head = Head::new(long, Duration::MAX);
    assert_eq!((head.lifetime.fresh, head.ttl()), (day, day));
    let mut half = Lifetime::new(day / 2);
    half.stale_if_error = day;
    let head = Head::new(half, Duration::ZERO);
    assert_eq!((head.lifetime.fresh, head.ttl()), (day / 2, day));
    let longer = Head { lifetime: Lifetime::new(day + Duration::from_millis(1)), ..head };
    assert_eq!(why(&encoded(longer, b"")), "lifetime");
}

#[test]
fn value_longer_than_allowed_is_not_encoded() {
    let head = Head::new(Lifetime::new(Duration::from_secs(1)), Duration::ZERO);
    let write = |out: &mut Vec<u8>, left: usize| {
        out.resize(out.len() + left, 7);
        true
    };
    assert_eq!(head.encode(LABEL, 100, write).map(|bytes| bytes.len()), Some(100));
    let too_much = |out: &mut Vec<u8>, left: usize| {
        out.resize(out.len() + left + 1, 7);
        true
    };
    assert_eq!(head.encode(LABEL, 100, too_much), None);
    assert_eq!(head.encode(LABEL, 40, write), None);
    assert_eq!(head.encode(LABEL, 100, |_, _| false), None);
}

proptest! {
    #[test]
    fn any_head_survives_the_round_trip(
        millis in prop::array::uniform4(0..20_000_000_u64),
        is_explicit: bool,
        took in 0..u64::from(u32::MAX),
        payload: Vec<u8>,
    ) {
        let head = Head::new(lifetime(millis, is_explicit), Duration::from_millis(took));
        let read = Head::decode(&encoded(head, &payload), LABEL);
        prop_assert_eq!(read, Ok((head, Bytes::from(payload))));
    }

    #[test]
    fn any_bytes_are_read_or_rejected_without_a_panic(
        bytes: Vec<u8>,
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        prop_assert!(Head::decode(&Bytes::from(bytes), LABEL).is_err());
        // Past the label, with a checksum that fits.
        let value = changed(|bytes| {
            bytes.truncate(41);
            bytes.extend_from_slice(&tail);
        });
        if let Ok((head, payload)) = Head::decode(&value, LABEL) {
            prop_assert_eq!(encoded(head, &payload), value);
        }
    }
}
