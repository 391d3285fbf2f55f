use std::{cell::RefCell, mem};

/// Two texts and a flag, one record of a [`Row`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) first: &'a [u8],
    pub(super) second: &'a [u8],
    pub(super) flag: bool,
}

impl<'a> Record<'a> {
    /// Writes the record at the start of `row`, and returns the rest of the row. `None` if there is
    /// no room for the record.
    #[inline]
    pub(super) fn write(self, row: &mut [u8]) -> Option<&mut [u8]> {
        let (lengths, row) = row.split_first_chunk_mut()?;
        let (first, row) = row.split_at_mut_checked(self.first.len())?;
        let (second, row) = row.split_at_mut_checked(self.second.len())?;
        *lengths = self.lengths();
        first.copy_from_slice(self.first);
        second.copy_from_slice(self.second);
        Some(row)
    }

    /// Takes the record at the start of `row`.
    fn read(row: &mut &'a [u8]) -> Option<Self> {
        let (first, rest) = row.split_first_chunk()?;
        let (second, rest) = rest.split_first_chunk()?;
        let (first, second) = (usize::from_le_bytes(*first), usize::from_le_bytes(*second));
        let flag = first & 1 == 1;
        let (first, rest) = rest.split_at_checked(first >> FLAG_BITS)?;
        let (second, rest) = rest.split_at_checked(second)?;
        *row = rest;
        Some(Self { first, second, flag })
    }

    /// Both lengths and the flag, as a single piece, because each piece that is written costs a
    /// check of the room.
    #[inline]
    fn lengths(self) -> [u8; 2 * WORD] {
        // No text is longer than `isize::MAX`, so the lowest bit is free for the flag.
        let first = (self.first.len() << FLAG_BITS) | usize::from(self.flag);
        let mut lengths = [0; 2 * WORD];
        let (low, high) = lengths.split_at_mut(WORD);
        low.copy_from_slice(&first.to_le_bytes());
        high.copy_from_slice(&self.second.len().to_le_bytes());
        lengths
    }
}

/// Records one after the other, in a buffer that the calls of a thread reuse.
///
/// The records are written into a slice, because a vector would check its capacity and store its
/// length for each piece.
#[derive(Debug)]
pub(super) struct Row {
    buffer: Box<[u8]>,
    length: usize,
}

impl Row {
    /// Creates the row that `write` writes. `write` returns the rest of the slice, or `None` if there
    /// is no room. Then `write` is called again with a longer slice.
    #[inline]
    pub(super) fn new(mut write: impl FnMut(&mut [u8]) -> Option<&mut [u8]>) -> Self {
        let mut buffer =
            SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default();
        loop {
            let whole = buffer.len();
            if let Some(rest) = write(&mut buffer) {
                let length = whole - rest.len();
                return Self { buffer, length };
            }
            buffer = longer(whole);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Row {
    #[inline]
    fn drop(&mut self) {
        let buffer = mem::take(&mut self.buffer);
        if buffer.len() > LARGEST_SPARE {
            return;
        }
        // If the thread is ending, the buffer is freed instead.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST_SPARE {
                spare.push(buffer);
            }
        });
    }
}

/// The records of a row.
#[derive(Clone, Debug)]
pub(super) struct Records<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        Record::read(&mut self.0)
    }
}

#[cold]
fn longer(length: usize) -> Box<[u8]> {
    vec![0; length.saturating_mul(2).max(SHORTEST)].into_boxed_slice()
}

thread_local! {
    // Has a destructor, so `try_with` fails while the thread ends. Both borrows end before other
    // code runs, so `borrow_mut` never finds the list borrowed.
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

const WORD: usize = size_of::<usize>();

/// The bits of the flag, below the length of the first text.
const FLAG_BITS: u32 = 1;

const SHORTEST: usize = 512;

/// The largest buffer that a thread keeps. With [`MOST_SPARE`] this limits the spare buffers of a
/// thread to 128 KiB.
const LARGEST_SPARE: usize = 4096;
const MOST_SPARE: usize = 32;
