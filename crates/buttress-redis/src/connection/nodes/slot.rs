use std::fmt::{self, Write as _};

/// The number of hash slots of a cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// Returns the hash slot of a name: CRC-16/XMODEM of the part in braces, as in the cluster
/// specification of Redis. The name must have a part in braces.
pub(crate) fn slot_of(name: &impl fmt::Display) -> u16 {
    let mut tag = TagHash::default();
    // Never fails.
    let _ = write!(tag, "{name}");
    tag.crc % SLOTS
}

/// Hashes what is between the first brace and the brace that closes it.
#[derive(Default)]
struct TagHash {
    crc: u16,
    is_open: bool,
    is_closed: bool,
}

impl fmt::Write for TagHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                b'{' if !self.is_open => self.is_open = true,
                b'}' if self.is_open => self.is_closed = true,
                _ if self.is_open && !self.is_closed => self.crc = crc16(self.crc, byte),
                _ => {}
            }
        }
        Ok(())
    }
}

fn crc16(crc: u16, byte: u8) -> u16 {
    (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
        let shifted = crc << 1;
        if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-16/XMODEM, and the slots that `CLUSTER KEYSLOT` of a server prints.
    #[test]
    fn slot_is_the_slot_of_a_server() {
        assert_eq!(b"123456789".iter().fold(0, |crc, byte| crc16(crc, *byte)), 0x31c3);
        assert_eq!(slot_of(&"{foo}"), 12_182);
        assert_eq!(slot_of(&"{user1000}.following"), slot_of(&"{user1000}.followers"));
        assert_eq!(slot_of(&"shop:{foo}:q0{bar}"), 12_182);
    }
}
