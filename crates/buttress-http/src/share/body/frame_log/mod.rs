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

/// What has been read of a body that many read, how far each of them is, and how it ended.
#[derive(Debug)]
pub(super) struct FrameLog {
    window: Window,
    readers: Readers,
    /// The frame that there was no room for.
    held: Option<Held>,
    /// The source waits until there is room.
    waits: bool,
    /// The length of all frames that ever came.
    length: u64,
    has_trailers: bool,
    state: LogState,
}

#[derive(Debug)]
struct Held {
    frame: SharedFrame,
    /// It ends the body.
    is_last: bool,
}

#[derive(Debug)]
enum LogState {
    /// The rest is on its way.
    Open,
    Whole,
    Failed(BodyFailure),
    Abandoned,
}

/// What a reader finds at its place.
pub(super) enum NextFrame {
    Frame(SharedFrame),
    /// The frame that ends the body.
    Last(SharedFrame),
    /// Nothing yet.
    Wait,
    Ended,
    Failed(BodyFailure),
    /// The reader has fallen too far behind.
    TooLong,
    Abandoned,
}

/// What is to be done with the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceStep {
    /// Read on.
    Pull,
    /// Wait for the readers: there is no room.
    Wait,
    /// There is one more frame.
    More,
    /// Nothing more comes of it.
    Done,
}

impl FrameLog {
    /// A log for up to `cap` bytes.
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

    /// So many readers more are to come, unless it is too late for them.
    pub(super) fn expect(&mut self, readers: usize) {
        if self.window.start() == 0 {
            self.readers.expect(readers);
            self.window.enter(0, readers);
        }
    }

    /// A reader of all of it, or, if it comes too late for that, of nothing.
    pub(super) fn enter(&mut self) -> Key {
        let is_expected = self.readers.is_expected();
        let is_lost = self.window.start() > 0;
        if !is_expected && !is_lost {
            self.window.enter(0, 1);
        }
        self.readers.enter(is_lost)
    }

    /// The reader leaves. The frames that only it needed are `freed`.
    pub(super) fn leave(&mut self, key: Key, freed: &mut Vec<SharedFrame>) {
        if let Some(entry) = self.readers.leave(key)
            && !entry.is_lost
        {
            self.window.leave(entry.index);
            self.window.free(freed);
        }
    }

    /// What is there for a reader. It moves on by a frame.
    pub(super) fn next_frame(&mut self, key: Key) -> NextFrame {
        let Some(entry) = self.readers.get(key) else { return NextFrame::Abandoned };
        if entry.is_lost {
            return NextFrame::TooLong;
        }
        match (self.window.read(entry.index), &self.state) {
            (Some(frame), state) => {
                entry.read(entry.index + 1 == self.window.end());
                match state {
                    LogState::Whole if entry.index == self.window.end() => NextFrame::Last(frame),
                    _ => NextFrame::Frame(frame),
                }
            }
            (None, LogState::Open) => NextFrame::Wait,
            (None, LogState::Whole) => NextFrame::Ended,
            (None, LogState::Failed(failure)) => NextFrame::Failed(failure.clone()),
            (None, LogState::Abandoned) => NextFrame::Abandoned,
        }
    }

    /// Puts down what was `read` of the source, and says how it goes on. What is left of `read`, and
    /// what is `freed`, is dropped with no lock held.
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
            Some(SourceRead::End) => return self.close(LogState::Whole),
            Some(SourceRead::Failed(failure)) => return self.close(LogState::Failed(failure)),
        }
        self.waits = !self.has_room(freed);
        if self.waits {
            return SourceStep::Wait;
        }
        let Some(Held { frame, is_last }) = self.held.take() else { return SourceStep::Pull };
        self.length = self.length.saturating_add(frame.length());
        self.has_trailers |= frame.is_trailers();
        self.window.push(frame);
        if is_last { self.close(LogState::Whole) } else { SourceStep::More }
    }

    /// The source has waited for a tick.
    pub(super) fn tick(&mut self) {
        self.readers.tick(self.window.bound(self.size()), self.window.end());
    }

    /// Whether the source waits and need not any more. Then it has to be told.
    pub(super) fn is_relieved(&mut self) -> bool {
        let is_relieved = self.waits && self.window.has_room(self.size());
        self.waits &= !is_relieved;
        is_relieved
    }

    /// Whether the rest comes and there is no reader for it, nor can there be one.
    pub(super) fn is_deserted(&self) -> bool {
        self.window.start() > 0 && self.window.is_deserted() && matches!(self.state, LogState::Open)
    }

    /// Gives up what is not whole: it is `freed`. Whether it was not.
    pub(super) fn give_up(&mut self, freed: &mut Vec<SharedFrame>) -> bool {
        if !matches!(self.state, LogState::Open) {
            return false;
        }
        self.state = LogState::Abandoned;
        freed.extend(self.held.take().map(|held| held.frame));
        self.window.clear(freed);
        true
    }

    /// The whole body and its length. `None` if it is not whole. The source `said` how long it was.
    pub(super) fn whole(&self, said: &SizeHint) -> Option<(Vec<SharedFrame>, SizeHint)> {
        (self.progress() == Progress::Complete)
            .then(|| (self.window.frames().cloned().collect(), self.hint(said)))
    }

    pub(super) fn progress(&self) -> Progress {
        match self.state {
            LogState::Failed(_) | LogState::Abandoned => Progress::Lost,
            _ if self.window.start() > 0 => Progress::Lost,
            _ if self.window.moves() => Progress::Closed,
            LogState::Open => Progress::Streaming,
            LogState::Whole => Progress::Complete,
        }
    }

    /// How many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        sum(self.window.frames().map(|frame| weight(frame.size())))
    }

    /// Whether a reader of `index` frames has read the whole body.
    pub(super) fn is_read(&self, index: usize) -> bool {
        matches!(self.state, LogState::Whole) && index == self.window.end()
    }

    /// The length of the body, of which the source `said` that.
    ///
    /// Where trailers came that is no more than was said: with a length of its own, HTTP/1.1 has no
    /// place for them.
    pub(super) fn hint(&self, said: &SizeHint) -> SizeHint {
        if said.exact().is_some() {
            return *said;
        }
        if matches!(self.state, LogState::Whole) && !self.has_trailers {
            return SizeHint::with_exact(self.length);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(said.lower().max(self.length));
        if let Some(upper) = said.upper() {
            hint.set_upper(upper.max(hint.lower()));
        }
        hint
    }

    /// Whether there is room for the frame that is held or, in a window that moves, for any other. What
    /// no reader needs makes room, and so does what is needed by those that are waited for no longer.
    fn has_room(&mut self, freed: &mut Vec<SharedFrame>) -> bool {
        if self.reserve() {
            return true;
        }
        self.window.begin_to_move();
        self.window.free(freed);
        if self.reserve() {
            return true;
        }
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

    /// How many bytes the source waits for.
    fn size(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.frame.size())
    }

    fn close(&mut self, state: LogState) -> SourceStep {
        self.state = state;
        SourceStep::Done
    }
}
