use std::time::Duration;

use buttress_control::Ratio;
use buttress_core::Deadline;
use buttress_throttle::WithoutStore;

/// The time that `text` names, such as `1m 30s`.
pub(super) fn read_time(text: &str) -> Option<Duration> {
    let most_digits = text.split(|character: char| !character.is_ascii_digit()).map(str::len).max();
    // humantime 2.4 panics if the seconds of all parts come to exactly 2^64. So few digits cannot.
    if text.len() > LONGEST_TEXT || most_digits > Some(MOST_DIGITS) {
        return None;
    }
    humantime::parse_duration(text).ok()
}

/// The words for `time`. Thirty years or more, which no layer tells from thirty years, are that.
pub(super) fn write_time(time: Duration) -> String {
    humantime::format_duration(time.min(Deadline::NEVER)).to_string()
}

/// The share that `text` names, such as `12.5%`.
pub(super) fn read_share(text: &str) -> Option<Ratio> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    // Without this check, "inf", "1e9" and "-0" would be numbers too.
    if !number.chars().all(|character| character.is_ascii_digit() || character == '.') {
        return None;
    }
    number.parse::<f64>().ok().map(|percent| Ratio::of(percent / 100.0))
}

/// The words for `share`, to the millionth.
pub(super) fn write_share(share: Ratio) -> String {
    let parts = share.parts_per_million();
    let decimals = format!("{:04}", parts % PARTS_PER_PERCENT);
    let decimals = decimals.trim_end_matches('0');
    let point = if decimals.is_empty() { "" } else { "." };
    format!("{}{point}{decimals}%", parts / PARTS_PER_PERCENT)
}

/// The policy of this name.
pub(super) fn read_policy(text: &str) -> Option<WithoutStore> {
    let all = [WithoutStore::LocalShare, WithoutStore::FailOpen, WithoutStore::FailClosed];
    all.into_iter().find(|policy| policy.as_str() == text)
}

const LONGEST_TEXT: usize = 64;
const MOST_DIGITS: usize = 9;
const PARTS_PER_PERCENT: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_read_as_they_are_written() {
        for nanos in
            [0, 1, 999, 1_000, 1_500_000, 1_000_000_000, 90_000_000_123, 86_400_000_000_001]
        {
            let time = Duration::from_nanos(nanos);
            assert_eq!(read_time(&write_time(time)), Some(time));
        }
        assert_eq!(read_time(&write_time(Duration::MAX)), Some(Deadline::NEVER));
        for parts in [0, 1, 10, 9_999, 10_000, 125_000, 123_456, 1_000_000, 1_000_000_000] {
            let share = Ratio::per_million(parts);
            assert_eq!(read_share(&write_share(share)), Some(share));
        }
        assert_eq!(write_share(Ratio::percent(20)), "20%");
        assert_eq!(write_share(Ratio::per_million(999_000)), "99.9%");
    }

    #[test]
    fn time_that_would_overflow_is_not_read() {
        // Exactly 2^64 - 1 s, and then a second in parts: humantime alone would panic.
        for text in ["18446744073709551615s 1000ms", "584554049253years 1000ms", "9999999999s"] {
            assert_eq!(read_time(text), None);
        }
        let years = "999999999y".repeat(1_000);
        assert_eq!(read_time(&years), None);
    }
}
