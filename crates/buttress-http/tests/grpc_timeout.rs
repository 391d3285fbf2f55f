//! Parsing and encoding of `grpc-timeout`.

use std::time::Duration;

use buttress_http::{encode_grpc_timeout, parse_grpc_timeout};
use proptest::{prelude::*, test_runner::TestCaseResult};

#[test]
fn every_unit_is_understood_and_its_case_matters() {
    for (value, timeout) in [
        ("1H", Duration::from_secs(3600)),
        ("5M", Duration::from_secs(300)),
        ("7S", Duration::from_secs(7)),
        ("5m", Duration::from_millis(5)),
        ("250u", Duration::from_micros(250)),
        ("99n", Duration::from_nanos(99)),
        ("00000001S", Duration::from_secs(1)),
        ("0n", Duration::ZERO),
        ("99999999H", Duration::from_secs(99_999_999 * 3600)),
    ] {
        assert_eq!(parse_grpc_timeout(value.as_bytes()), Some(timeout), "{value}");
    }
}

#[test]
fn malformed_timeout_is_rejected() {
    for value in [
        "",
        "S",
        "10",
        "123456789S",
        "+1S",
        "-1S",
        " 1S",
        "1S ",
        "1 S",
        "1s",
        "1h",
        "1.5S",
        "1e3m",
        "0x1S",
        "1SS",
        "\u{664}S",
        "1\u{b5}",
    ] {
        assert_eq!(parse_grpc_timeout(value.as_bytes()), None, "{value:?}");
    }
    assert_eq!(parse_grpc_timeout(b"1\xffS"), None);
}

#[test]
fn the_finest_unit_of_eight_digits_is_chosen_and_the_rest_is_cut_off() {
    for (remaining, value) in [
        (Duration::ZERO, "0n"),
        (Duration::from_nanos(1), "1n"),
        (Duration::from_nanos(99_999_999), "99999999n"),
        (Duration::from_nanos(100_000_999), "100000u"),
        (Duration::from_secs(75), "75000000u"),
        (Duration::new(100, 999_999), "100000m"),
        (Duration::from_secs(99_999), "99999000m"),
        (Duration::new(100_000, 999_999_999), "100000S"),
        (Duration::from_secs(100_000_019), "1666666M"),
        (Duration::from_secs(100_000_000 * 60 + 59), "1666666H"),
        (Duration::MAX, "99999999H"),
    ] {
        assert_eq!(encode_grpc_timeout(remaining), value, "{remaining:?}");
    }
}

proptest! {
    #[test]
    fn encoded_timeout_never_grows_and_loses_little(
        seconds in prop_oneof![0_u64..200, 0..200_000_u64, any::<u64>()],
        nanos in 0_u32..1_000_000_000,
    ) {
        announced_is_at_most(Duration::new(seconds, nanos))?;
    }

    #[test]
    fn timeout_round_trips_unchanged(number in 0_u32..100_000_000, unit in 0..6_usize) {
        let value = format!("{number}{}", ["H", "M", "S", "m", "u", "n"][unit]);
        let timeout = parse_grpc_timeout(value.as_bytes()).unwrap();
        let again = encode_grpc_timeout(timeout);
        prop_assert_eq!(parse_grpc_timeout(again.as_bytes()), Some(timeout));
    }

    #[test]
    fn parser_panics_on_no_bytes(value in any::<Vec<u8>>()) {
        if let Some(timeout) = parse_grpc_timeout(&value) {
            announced_is_at_most(timeout)?;
        }
    }
}

fn announced_is_at_most(remaining: Duration) -> TestCaseResult {
    let value = encode_grpc_timeout(remaining);
    let announced = parse_grpc_timeout(value.as_bytes());
    prop_assert!(announced.is_some_and(|announced| announced <= remaining), "{value:?}");
    // A coarser unit is taken from 1e8 of the finer one on, a thousandth of which are 1e5 units;
    // beyond eight digits of hours there is nothing to say more.
    let representable = remaining.min(Duration::from_secs(99_999_999 * 3600));
    let lost = representable.saturating_sub(announced.unwrap_or_default());
    prop_assert!(lost <= representable / 100_000, "{remaining:?} lost {lost:?} as {value:?}");
    Ok(())
}
