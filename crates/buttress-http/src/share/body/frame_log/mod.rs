pub(super) mod readers;
mod window;

use buttress_core::Progress;
use http_body::SizeHint;

use self::{
    readers::{Key, Readers},
    window::Window,
};
use super::{
    byte_reservation::ByteReservation,
    error::BodyFailure,
    frame::{SharedFrame, sum, weight},
    source::SourceRead,
};

/// The frames read from a shared body, the positions of its readers, and its end.
#[derive(Debug)]
pub(super) struct FrameLog {
    window: Window,
    readers: Readers,
    /// The frame that there was no room for.
    held: Option<Held>,
    /// The source waits until there is room.
    waits: bool,
    /// The total length of all frames so far.
    length: u64,
    has_trailers: bool,
    state: LogState,
}

#[derive(Debug)]
struct Held {
    frame: SharedFrame,
    /// The frame ends the body.
    is_last: bool,
}

#[derive(Debug)]
enum LogState {
    /// The rest is streaming.
    Open,
    Complete,
    Failed(BodyFailure),
    Abandoned,
}

/// The next item for a reader.
pub(super) enum NextFrame {
    Frame(SharedFrame),
    /// The frame that ends the body.
    Last(SharedFrame),
    /// The next frame is not there yet.
    Wait,
    Ended,
    Failed(BodyFailure),
    /// The reader has fallen too far behind.
    TooLong,
    Abandoned,
}

/// The next step of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceStep {
    /// Read on.
    Pull,
    /// Wait for the readers, because there is no room.
    Wait,
    /// A new frame is in the log.
    More,
    /// The source has ended.
    Done,
}

impl FrameLog {
    /// Creates a log for up to `cap` bytes.
    pub(super) fn new(cap: usize, reservation: ByteReservation) -> Self {
        Self {
            window: Window::new(cap, reservation),
            readers: Readers::default(),
            held: None,
            waits: false,
            length: 0,
            has_trailers: false,
            state: LogState::Open,
        }
    }

    /// Announces that many more readers, unless the first frame is gone.
    pub(super) fn expect(&mut self, readers: usize) {
        // Announced readers hold the first frame, as if they had started to read.
        if self.window.start() == 0 {
            self.readers.expect(readers);
            self.window.enter(0, readers);
        }
    }

    /// Adds a reader of the whole body. If the first frame is gone, the reader is lost and reads
    /// nothing.
    pub(super) fn enter(&mut self) -> Key {
        let is_expected = self.readers.is_expected();
        let is_lost = self.window.start() > 0;
        // An announced reader was added to the window by `expect`.
        if !is_expected && !is_lost {
            self.window.enter(0, 1);
        }
        self.readers.enter(is_lost)
    }

    /// Removes a reader. The frames that only this reader needed are `freed`.
    pub(super) fn leave(&mut self, key: Key, freed: &mut Vec<SharedFrame>) {
        if let Some(entry) = self.readers.leave(key)
            && !entry.is_lost
        {
            self.window.leave(entry.index);
            self.window.free(freed);
        }
    }

    /// Returns the next item for a reader, which moves on by a frame.
    pub(super) fn next_frame(&mut self, key: Key) -> NextFrame {
        let Some(entry) = self.readers.get(key) else { return NextFrame::Abandoned };
        if entry.is_lost {
            return NextFrame::TooLong;
        }
        match (self.window.read(entry.index), &self.state) {
            (Some(frame), state) => {
                // Moves on even if the source has failed: the frames before a failure reach every
                // reader.
                entry.read(entry.index + 1 == self.window.end());
                match state {
                    LogState::Complete if entry.index == self.window.end() => {
                        NextFrame::Last(frame)
                    }
                    _ => NextFrame::Frame(frame),
                }
            }
            (None, LogState::Open) => NextFrame::Wait,
            (None, LogState::Complete) => NextFrame::Ended,
            (None, LogState::Failed(failure)) => NextFrame::Failed(failure.clone()),
            (None, LogState::Abandoned) => NextFrame::Abandoned,
        }
    }

    /// Stores the frame that was `read` from the source, and returns the next step. The caller
    /// drops what is left of `read` and `freed` with no lock held.
    pub(super) fn step(
        &mut self,
        read: &mut Option<SourceRead>,
        freed: &mut Vec<SharedFrame>,
    ) -> SourceStep {
        if !matches!(self.state, LogState::Open) {
            return SourceStep::Done;
        }
        match read.take() {
            None => {}
            Some(SourceRead::Frame(frame)) => self.held = Some(Held { frame, is_last: false }),
            Some(SourceRead::Last(frame)) => self.held = Some(Held { frame, is_last: true }),
            Some(SourceRead::End) => return self.close(LogState::Complete),
            Some(SourceRead::Failed(failure)) => return self.close(LogState::Failed(failure)),
        }
        self.waits = !self.has_room(freed);
        if self.waits {
            return SourceStep::Wait;
        }
        let Some(Held { frame, is_last }) = self.held.take() else { return SourceStep::Pull };
        self.length = self.length.saturating_add(frame.length());
        self.has_trailers |= frame.is_trailers();
        // `has_room` has reserved the bytes of this frame.
        self.window.push(frame);
        if is_last { self.close(LogState::Complete) } else { SourceStep::More }
    }

    /// The source has waited for a tick.
    pub(super) fn tick(&mut self) {
        self.readers.tick(self.window.bound(self.size()), self.window.end());
    }

    /// Whether the source waits and can go on, so that its driver must be woken. Returns `true`
    /// once per wait.
    pub(super) fn is_relieved(&mut self) -> bool {
        // `waits` is cleared, so that a wait is ended by one wake-up and not by one per reader.
        let is_relieved = self.waits && self.window.has_room(self.size());
        self.waits &= !is_relieved;
        is_relieved
    }

    /// Whether the body is streaming without a reader, and can have none any more.
    pub(super) fn is_deserted(&self) -> bool {
        self.window.start() > 0 && self.window.is_deserted() && matches!(self.state, LogState::Open)
    }

    /// Abandons an incomplete body, whose frames are `freed`. Returns whether the body was
    /// incomplete.
    pub(super) fn give_up(&mut self, freed: &mut Vec<SharedFrame>) -> bool {
        if !matches!(self.state, LogState::Open) {
            return false;
        }
        self.state = LogState::Abandoned;
        freed.extend(self.held.take().map(|held| held.frame));
        self.window.clear(freed);
        true
    }

    /// The complete body and its length. `None` if the body is not complete. The source `said` its
    /// size.
    pub(super) fn complete(&self, said: &SizeHint) -> Option<(Vec<SharedFrame>, SizeHint)> {
        (self.progress() == Progress::Complete)
            .then(|| (self.window.frames().cloned().collect(), self.hint(said)))
    }

    pub(super) fn progress(&self) -> Progress {
        match self.state {
            LogState::Failed(_) | LogState::Abandoned => Progress::Lost,
            _ if self.window.start() > 0 => Progress::Lost,
            _ if self.window.moves() => Progress::Closed,
            LogState::Open => Progress::Streaming,
            LogState::Complete => Progress::Complete,
        }
    }

    /// The size in bytes.
    pub(super) fn weight(&self) -> usize {
        sum(self.window.frames().map(|frame| weight(frame.size())))
    }

    /// Whether a reader of `index` frames has read the whole body.
    pub(super) fn is_read(&self, index: usize) -> bool {
        matches!(self.state, LogState::Complete) && index == self.window.end()
    }

    /// The size of the body, for which the source `said` this hint.
    ///
    /// If the source stated no exact size, the size is known once the body is complete. A body with
    /// trailers gets none even then, because with a `Content-Length` HTTP/1.1 has no place for
    /// trailers.
    pub(super) fn hint(&self, said: &SizeHint) -> SizeHint {
        if said.exact().is_some() {
            return *said;
        }
        if matches!(self.state, LogState::Complete) && !self.has_trailers {
            return SizeHint::with_exact(self.length);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(said.lower().max(self.length));
        if let Some(upper) = said.upper() {
            hint.set_upper(upper.max(hint.lower()));
        }
        hint
    }

    /// Whether there is room for the held frame, or for any frame in a moving window.
    ///
    /// Frames that no reader needs make room. So do the frames of readers that are no longer waited
    /// for.
    fn has_room(&mut self, freed: &mut Vec<SharedFrame>) -> bool {
        if self.reserve() {
            return true;
        }
        // From here on there is no new caller: `progress` is `Closed`, and `Lost` once the first
        // frame is gone.
        self.window.begin_to_move();
        self.window.free(freed);
        if self.reserve() {
            return true;
        }
        // Last resort: leave behind the readers that have used up their ticks.
        let bound = self.window.bound(self.size());
        self.readers.give_up(bound, |index| self.window.leave(index));
        self.window.free(freed);
        self.reserve()
    }

    fn reserve(&mut self) -> bool {
        match &self.held {
            Some(held) => self.window.reserve(held.frame.size()),
            None => !self.window.moves() || self.window.has_room(0),
        }
    }

    /// The number of bytes that the source waits for.
    fn size(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.frame.size())
    }

    fn close(&mut self, state: LogState) -> SourceStep {
        self.state = state;
        SourceStep::Done
    }
}
