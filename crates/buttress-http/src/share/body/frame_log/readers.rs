use slab::Slab;

/// The readers of a body: where each of them is, and how long the others have waited for it.
#[derive(Debug, Default)]
pub(in crate::share::body) struct Readers {
    // One that is alone costs no allocation.
    first: Option<ReaderEntry>,
    others: Slab<ReaderEntry>,
    /// The number of those that have been promised the body and have not come for it.
    expected: usize,
    /// The ticks that the others have waited for these.
    late: u16,
}

/// Which reader. It is given back with [`Readers::leave`], once.
#[derive(Clone, Copy, Debug)]
pub(in crate::share::body) struct Key(usize);

#[derive(Debug)]
pub(super) struct ReaderEntry {
    /// The frame that it reads next.
    pub(super) index: usize,
    /// It has fallen too far behind.
    pub(super) is_lost: bool,
    /// The ticks for which there was something to read since it last read.
    idle: u16,
    /// The ticks for which the others have waited for it since it last had read everything.
    held: u16,
}

impl Readers {
    /// So many more are to come. They stand at the first frame.
    pub(super) const fn expect(&mut self, readers: usize) {
        self.expected = self.expected.saturating_add(readers);
    }

    /// Whether one more has come that was expected.
    pub(super) const fn is_expected(&mut self) -> bool {
        let is_expected = self.expected > 0;
        self.expected = self.expected.saturating_sub(1);
        is_expected
    }

    /// A reader at the first frame.
    pub(super) fn enter(&mut self, is_lost: bool) -> Key {
        let entry = ReaderEntry { index: 0, is_lost, idle: 0, held: 0 };
        if self.first.is_none() {
            self.first = Some(entry);
            return Key(0);
        }
        Key(self.others.insert(entry) + 1)
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut ReaderEntry> {
        match key.0.checked_sub(1) {
            None => self.first.as_mut(),
            Some(other) => self.others.get_mut(other),
        }
    }

    pub(super) fn leave(&mut self, key: Key) -> Option<ReaderEntry> {
        match key.0.checked_sub(1) {
            None => self.first.take(),
            Some(other) => self.others.try_remove(other),
        }
    }

    /// For a tick the source has waited for the readers before `bound`, while frames up to `end` were
    /// there.
    pub(super) fn tick(&mut self, bound: usize, end: usize) {
        for entry in self.all().filter(|entry| entry.index < end) {
            entry.idle = entry.idle.saturating_add(1);
            entry.held = entry.held.saturating_add(u16::from(entry.index < bound));
        }
        self.late = self.late.saturating_add(1);
    }

    /// Gives up those before `bound` that the others have waited for long enough. `leave` is told
    /// where each of them was.
    pub(super) fn give_up(&mut self, bound: usize, mut leave: impl FnMut(usize)) {
        if bound > 0 && self.late >= IDLE {
            (0..std::mem::take(&mut self.expected)).for_each(|_| leave(0));
        }
        let behind = self.all().filter(|entry| !entry.is_lost && entry.index < bound);
        for entry in behind.filter(|entry| entry.idle >= IDLE || entry.held >= HELD) {
            entry.is_lost = true;
            leave(entry.index);
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut ReaderEntry> {
        self.first.iter_mut().chain(self.others.iter_mut().map(|(_, entry)| entry))
    }
}

impl ReaderEntry {
    /// It has read a frame, which may be the last that is there.
    pub(super) const fn read(&mut self, is_last: bool) {
        self.index += 1;
        self.idle = 0;
        if is_last {
            self.held = 0;
        }
    }
}

/// After so many ticks the others do not wait any more for a reader that has not read on: 10 ms.
const IDLE: u16 = 10;

/// After so many ticks they do not wait for one that is slow: 1 s.
const HELD: u16 = 1000;
