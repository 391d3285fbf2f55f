/// Writes a part, which consists of `pieces`: its length and its bytes. So different rows of parts
/// have different bytes.
pub(crate) fn write<const N: usize>(bytes: &mut Vec<u8>, pieces: [impl AsRef<[u8]>; N]) {
    write_length(bytes, pieces.iter().fold(0, |length, piece| length + piece.as_ref().len()));
    for piece in pieces {
        bytes.extend_from_slice(piece.as_ref());
    }
}

/// Reads the parts of a row in order.
pub(crate) struct LengthPrefixed<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = read_length(self.0)?;
        let (part, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }
}

/// Seven bits per byte, the lowest first, and a mark on all but the last byte (LEB128). Nearly
/// every part is short, and its length takes a byte.
pub(crate) fn write_length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            return bytes.push(low);
        }
        bytes.push(low | MORE);
    }
}

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (mut length, mut rest) = (0, bytes);
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, after) = rest.split_first()?;
        (length, rest) = (length | usize::from(byte & !MORE) << shift, after);
        if byte & MORE == 0 {
            return Some((length, rest));
        }
    }
    None
}

const MORE: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_any_length_round_trip() {
        let lengths = [0, 1, 127, 128, 129, 255, 16_383, 16_384, 2_097_152];
        let mut bytes = Vec::new();
        for length in lengths {
            write(&mut bytes, [vec![b'x'; length / 2], vec![b'y'; length - length / 2]]);
        }
        assert_eq!(LengthPrefixed(&bytes).map(<[u8]>::len).collect::<Vec<_>>(), lengths);
    }

    #[test]
    fn short_part_takes_an_extra_byte() {
        let mut bytes = Vec::new();
        write(&mut bytes, ["GET"]);
        assert_eq!(bytes, b"\x03GET");
    }

    #[test]
    fn truncated_part_is_not_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, [vec![b'x'; 200]]);
        assert!((0..bytes.len()).all(|end| LengthPrefixed(&bytes[..end]).next().is_none()));
        assert_eq!(LengthPrefixed(&[0xff; 20]).next(), None);
    }
}
