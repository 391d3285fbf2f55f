//! The bytes of an entry in the fleet's store.

#[cfg(test)]
mod tests;

use std::time::Duration;

use buttress_core::Lifetime;
use bytes::Bytes;

/// What stands before the payload of a value.
///
/// ```text
/// version 1 | CRC-32 4 | codec id 4 | SHA-256 of the key 32
/// | fresh, stale-while-revalidate, stale-if-error, age, took (ms, LEB128) | is_explicit 1 | payload
/// ```
///
/// Integers are big-endian. The checksum is that of all bytes after it. A store writes the
/// generation and the stamp of its own before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The lifetime when the value was stored.
    pub(super) lifetime: Lifetime,
    pub(super) took: Duration,
}

/// What a value must name, so that it is the value of a key in the format of a codec.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) codec: u32,
    pub(super) key: [u8; 32],
}

impl Head {
    /// Returns a head with whole milliseconds. Its entry is kept for at most 24 hours.
    ///
    /// Windows are rounded down and the age is rounded up, so no entry lives longer than it may.
    pub(super) fn new(lifetime: Lifetime, took: Duration) -> Self {
        let fresh = whole_millis(lifetime.fresh).min(LONGEST);
        let window = |window| whole_millis(window).min(LONGEST.saturating_sub(fresh));
        let mut rounded = Lifetime::new(fresh);
        rounded.stale_while_revalidate = window(lifetime.stale_while_revalidate);
        rounded.stale_if_error = window(lifetime.stale_if_error);
        rounded.age = whole_millis(lifetime.age.saturating_add(Duration::from_nanos(999_999)));
        rounded.is_explicit = lifetime.is_explicit;
        Self { lifetime: rounded, took: whole_millis(took) }
    }

    /// The time from the storing to the end of the last window.
    pub(super) fn ttl(&self) -> Duration {
        let Lifetime { fresh, stale_while_revalidate, stale_if_error, .. } = self.lifetime;
        fresh.saturating_add(stale_while_revalidate.max(stale_if_error))
    }

    /// Returns the bytes of a value, if `write` returns true. `write` appends the payload.
    /// `write` is told how many bytes are left of `max`.
    pub(super) fn encode(
        &self,
        label: Label,
        max: usize,
        write: impl FnOnce(&mut Vec<u8>, usize) -> bool,
    ) -> Option<Vec<u8>> {
        let mut out = vec![VERSION, 0, 0, 0, 0];
        out.extend_from_slice(&label.codec.to_be_bytes());
        out.extend_from_slice(&label.key);
        let Lifetime { fresh, stale_while_revalidate, stale_if_error, age, is_explicit, .. } =
            self.lifetime;
        for time in [fresh, stale_while_revalidate, stale_if_error, age, self.took] {
            write_number(as_millis(time), &mut out);
        }
        out.push(u8::from(is_explicit));
        let left = max.checked_sub(out.len())?;
        // A codec that writes more than it may is not trusted.
        if !write(&mut out, left) || out.len() > max {
            return None;
        }
        let (head, checked) = out.split_at_mut_checked(CHECKED_FROM)?;
        head.get_mut(1..)?.copy_from_slice(&crc32fast::hash(checked).to_be_bytes());
        Some(out)
    }

    /// Reads a value. Returns its head and its payload, or the reason why it is none.
    pub(super) fn decode(value: &Bytes, label: Label) -> Result<(Self, Bytes), &'static str> {
        let mut rest = Rest(value);
        let [version] = rest.take::<1>().ok_or("length")?;
        if version != VERSION {
            return Err("version");
        }
        let checksum = u32::from_be_bytes(rest.take().ok_or("length")?);
        if crc32fast::hash(rest.0) != checksum {
            return Err("checksum");
        }
        if u32::from_be_bytes(rest.take().ok_or("length")?) != label.codec {
            return Err("codec");
        }
        if rest.take::<32>().ok_or("length")? != label.key {
            return Err("key");
        }
        let head = rest.head().ok_or("lifetime")?;
        let payload = value.slice(value.len().saturating_sub(rest.0.len())..);
        Ok((head, payload))
    }
}

/// The bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn head(&mut self) -> Option<Head> {
        let mut lifetime = Lifetime::new(self.millis()?);
        lifetime.stale_while_revalidate = self.millis()?;
        lifetime.stale_if_error = self.millis()?;
        lifetime.age = self.millis()?;
        let took = self.millis()?;
        lifetime.is_explicit = match self.take()? {
            [0] => false,
            [1] => true,
            [_] => return None,
        };
        let head = Head { lifetime, took };
        // A longer lifetime was not written by this code.
        (head.ttl() <= LONGEST).then_some(head)
    }

    fn millis(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_millis)
    }

    /// Reads a number in its shortest form.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.take()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << shift;
            if shifted >> shift != bits {
                return None;
            }
            number |= shifted;
            if byte < 0x80 {
                return (byte != 0 || shift == 0).then_some(number);
            }
        }
        None
    }
}

/// LEB128: seven bits a byte, the lowest first, and the highest bit where more follow.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(0x80 | u8::try_from(number & 0x7f).unwrap_or_default());
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

fn as_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(as_millis(time))
}

const VERSION: u8 = 1;
/// Where the bytes begin that the checksum covers.
const CHECKED_FROM: usize = 5;
/// The longest time for which an entry is in the store.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);
