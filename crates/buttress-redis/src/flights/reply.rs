use std::time::Duration;

use buttress_state::{Begun, Finished, Token};
use bytes::Bytes;
use redis::Value;

/// Reads the reply of `begin`.
pub(super) fn begun(reply: Value, owner: [u8; 16]) -> Option<Begun> {
    let Value::Array(mut parts) = reply else { return None };
    let last = parts.pop()?;
    match (&*parts, last) {
        ([kind, ttl], Value::BulkString(value)) if is(kind, b"value") => {
            let ttl = millis(ttl)?;
            let stamp = *value.get(16..)?.first_chunk()?;
            if value.len() == HEAD {
                return Some(Begun::Unshared);
            }
            Some(Begun::hit(Bytes::from(value).slice(HEAD + 1..), ttl, stamp))
        }
        ([kind], ttl) if is(kind, b"busy") => Some(Begun::Busy(millis(&ttl)?)),
        ([kind], generation) if is(kind, b"lead") => {
            Some(Begun::Lead(Token::new(bits(&generation)?, owner)))
        }
        _ => None,
    }
}

/// Reads the reply of `finish`.
pub(super) fn finished(reply: &Value) -> Option<Finished> {
    match reply {
        reply if is(reply, b"stored") => Some(Finished::Stored),
        reply if is(reply, b"late") => Some(Finished::StoredLate),
        reply if is(reply, b"superseded") => Some(Finished::Superseded),
        _ => None,
    }
}

/// Reads a yes or no.
pub(super) fn flag(reply: &Value) -> Option<bool> {
    match reply {
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        _ => None,
    }
}

/// Reads 128 bits.
pub(super) fn bits(reply: &Value) -> Option<[u8; 16]> {
    let Value::BulkString(bits) = reply else { return None };
    <[u8; 16]>::try_from(&**bits).ok()
}

fn is(reply: &Value, word: &[u8]) -> bool {
    matches!(reply, Value::BulkString(text) if **text == *word)
}

fn millis(reply: &Value) -> Option<Duration> {
    let Value::Int(millis) = reply else { return None };
    Some(Duration::from_millis(u64::try_from(*millis).ok()?))
}

/// The generation and the stamp of a value. A mark and the bytes follow, if the value is shared.
const HEAD: usize = 32;
