use std::time::Duration;

use buttress_state::{Ask, Grant};
use redis::Value;

/// Reads the reply of the script. `None`: it is no reply to `ask`.
pub(super) fn grant(reply: Value, ask: &Ask<'_>) -> Option<Grant> {
    let Value::Array(values) = reply else { return None };
    let (head, full_in) = values.split_first_chunk::<4>()?;
    let [granted, wait, left, lost] = head.each_ref().map(number);
    let (granted, lost) = (u32::try_from(granted?).ok()?, lost?);
    let is_valid = granted <= ask.want
        && (granted == 0 || granted >= ask.min.max(1))
        && lost <= 1
        && full_in.len() == ask.rates.len();
    if !is_valid {
        return None;
    }
    let full_in = full_in.iter().map(|full| Some(Duration::from_micros(number(full)?)));
    let full_in = full_in.collect::<Option<_>>()?;
    let mut grant = Grant::new(granted, Duration::from_micros(wait?), full_in, left?);
    grant.lost = lost == 1;
    Some(grant)
}

/// A number of microseconds or cells. Larger ones lose digits in Lua.
fn number(value: &Value) -> Option<u64> {
    let Value::Int(number) = value else { return None };
    u64::try_from(*number).ok().filter(|number| *number <= LARGEST)
}

const LARGEST: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use buttress_state::CellRate;
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::Int),
            (-2_i64..12).prop_map(Value::Int),
            Just(Value::Nil),
            any::<Vec<u8>>().prop_map(Value::BulkString),
            Just(Value::Array(Vec::new())),
        ]
    }

    proptest! {
        #[test]
        fn no_reply_grants_more_than_was_asked_for(
            values in prop::collection::vec(value(), 0..8),
            want in 0_u32..12,
            min in 0_u32..12,
        ) {
            let rates = [CellRate::new(Duration::from_secs(1), 10)];
            let mut ask = Ask::new(b"key", &rates, want);
            ask.min = min;
            if let Some(grant) = grant(Value::Array(values), &ask) {
                prop_assert!(grant.granted <= want);
                prop_assert!(grant.granted == 0 || grant.granted >= min.max(1));
                prop_assert_eq!(grant.full_in.len(), 1);
            }
        }
    }
}
