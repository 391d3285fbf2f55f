use slab::Slab;

/// The readers of a body: their positions, and the ticks that the others have waited for each.
#[derive(Debug, Default)]
pub(in crate::share::body) struct Readers {
    // A reader that is alone costs no allocation.
    first: Option<ReaderEntry>,
    others: Slab<ReaderEntry>,
    /// The number of announced readers that have not started to read.
    expected: usize,
    /// The ticks that the others have waited for announced readers.
    late: u16,
}

/// The key of a reader, valid until [`Readers::leave`], which is called once.
#[derive(Clone, Copy, Debug)]
pub(in crate::share::body) struct Key(usize);

#[derive(Debug)]
pub(super) struct ReaderEntry {
    /// The frame to read next.
    pub(super) index: usize,
    /// The reader has fallen too far behind.
    pub(super) is_lost: bool,
    /// The ticks since the last read for which a frame was there.
    idle: u16,
    /// The ticks that the others have waited for this reader since it last had read every frame.
    held: u16,
}

impl Readers {
    /// Announces that many more readers. They stand at the first frame.
    pub(super) const fn expect(&mut self, readers: usize) {
        self.expected = self.expected.saturating_add(readers);
    }

    /// Whether the new reader was announced.
    pub(super) const fn is_expected(&mut self) -> bool {
        // Uses up an announcement, so `FrameLog::enter` must ask once for each reader.
        let is_expected = self.expected > 0;
        self.expected = self.expected.saturating_sub(1);
        is_expected
    }

    /// Adds a reader at the first frame.
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

    /// Counts a tick in which the source waited for the readers before `bound`, while frames up to
    /// `end` were there.
    pub(super) fn tick(&mut self, bound: usize, end: usize) {
        for entry in self.all().filter(|entry| entry.index < end) {
            entry.idle = entry.idle.saturating_add(1);
            entry.held = entry.held.saturating_add(u16::from(entry.index < bound));
        }
        self.late = self.late.saturating_add(1);
    }

    /// Marks the readers before `bound` as lost if the others have waited for them long enough.
    /// `leave` receives the position of each.
    pub(super) fn give_up(&mut self, bound: usize, mut leave: impl FnMut(usize)) {
        // `late` is never reset: ticks begin when the window moves, and `Progress::Closed` keeps
        // later callers out.
        if bound > 0 && self.late >= IDLE {
            (0..std::mem::take(&mut self.expected)).for_each(|_| leave(0));
        }
        // A reader at `bound` or later blocks no room, however slow it is.
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
    /// Moves on by a frame, which may be the last there.
    pub(super) const fn read(&mut self, is_last: bool) {
        self.index += 1;
        self.idle = 0;
        if is_last {
            self.held = 0;
        }
    }
}

/// The ticks for which the others wait for a reader that does not read on: 10 ms.
const IDLE: u16 = 10;

/// The ticks for which the others wait for a slow reader: 1 s.
const HELD: u16 = 1000;
