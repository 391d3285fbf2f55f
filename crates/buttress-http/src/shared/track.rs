use std::mem;

use buttress_core::{Drive, Progress};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    charge::Charge,
    error::Failure,
    frame::{SharedFrame, sum, weight},
    source::{Read, Source},
};

/// What has been read of a body that many read, and how it ended.
#[derive(Debug)]
pub(super) struct Track<B> {
    frames: Vec<SharedFrame>,
    /// The length of all frames.
    length: u64,
    cap: usize,
    charge: Charge,
    end: End<B>,
    /// Whether the reader is there that goes on alone if the body is too long.
    has_first: bool,
}

#[derive(Debug)]
enum End<B> {
    /// The rest is on its way.
    Open,
    Whole,
    Failed(Failure),
    /// Too long. What follows the frames is there until a reader takes it.
    Over(Option<Rest<B>>),
    GivenUp,
}

/// What follows the frames of a body that is too long: the frame there was no room for, and the body.
#[derive(Debug)]
pub(super) struct Rest<B> {
    pub(super) frame: Frame<Bytes>,
    pub(super) body: Option<B>,
}

/// Everything of a body that is too long, for the one reader that goes on.
#[derive(Debug)]
pub(super) struct Remains<B> {
    pub(super) frames: Vec<SharedFrame>,
    pub(super) charge: Charge,
    pub(super) rest: Rest<B>,
}

/// What a reader finds at its place.
pub(super) enum Look<B> {
    Frame(SharedFrame),
    /// The frame that ends the body.
    Last(SharedFrame),
    /// Nothing yet.
    Wait,
    Ended,
    Failed(Failure),
    /// The reader goes on alone.
    Alone(Remains<B>),
    /// Another one does.
    TooLong,
    GivenUp,
}

impl<B> Track<B> {
    /// A track for up to `cap` bytes.
    pub(super) fn new(cap: usize, charge: Charge) -> Self {
        Self { frames: Vec::new(), length: 0, cap, charge, end: End::Open, has_first: false }
    }

    /// What is there for a reader that has read `index` frames.
    pub(super) fn look(&mut self, index: usize, is_first: bool) -> Look<B> {
        if let End::Over(rest) = &mut self.end {
            let rest = if is_first || !self.has_first { rest.take() } else { None };
            return match rest {
                Some(rest) => Look::Alone(self.remains(rest)),
                None => Look::TooLong,
            };
        }
        match (self.frames.get(index), &self.end) {
            (Some(frame), End::Whole) if index + 1 == self.frames.len() => {
                Look::Last(frame.clone())
            }
            (Some(frame), _) => Look::Frame(frame.clone()),
            (None, End::Open) => Look::Wait,
            (None, End::Whole) => Look::Ended,
            (None, End::Failed(failure)) => Look::Failed(failure.clone()),
            (None, _) => Look::GivenUp,
        }
    }

    /// Puts down what was read of `source`, or returns it where nobody wants it any more.
    pub(super) fn put(&mut self, read: Read, source: &mut Source<B>) -> Result<Drive, Read> {
        if !matches!(self.end, End::Open) {
            return Err(read);
        }
        match read {
            Read::Frame(Ok(frame)) => match self.keep(frame) {
                Ok(()) => return Ok(Drive::More),
                Err(frame) => self.stop(frame.into_frame(), source.take()),
            },
            Read::Frame(Err(frame)) => self.stop(frame, source.take()),
            Read::Last(frame) => match self.keep(frame) {
                Ok(()) => self.end = End::Whole,
                Err(frame) => self.stop(frame.into_frame(), None),
            },
            Read::End => self.end = End::Whole,
            Read::Failed(failure) => self.end = End::Failed(failure),
        }
        Ok(Drive::Done)
    }

    /// Gives up what is not whole, and returns it to be dropped.
    pub(super) fn give_up(&mut self) -> Option<Self> {
        if !matches!(self.end, End::Open | End::Over(Some(_))) {
            return None;
        }
        Some(Self {
            frames: mem::take(&mut self.frames),
            charge: self.charge.split(),
            end: mem::replace(&mut self.end, End::GivenUp),
            ..*self
        })
    }

    /// The whole body and its length. `None` if it is not whole. The source `said` how long it was.
    pub(super) fn whole(&self, said: &SizeHint) -> Option<(Vec<SharedFrame>, SizeHint)> {
        matches!(self.end, End::Whole).then(|| (self.frames.clone(), self.hint(said)))
    }

    pub(super) fn progress(&self) -> Progress {
        match self.end {
            End::Open => Progress::Open,
            End::Whole => Progress::Whole,
            End::Failed(_) | End::Over(_) | End::GivenUp => Progress::Lost,
        }
    }

    /// How many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        sum(self.frames.iter().map(|frame| weight(frame.size())))
    }

    /// Whether a reader of `index` frames has read the whole body.
    pub(super) fn is_read(&self, index: usize) -> bool {
        matches!(self.end, End::Whole) && index == self.frames.len()
    }

    /// The length of the body, of which the source `said` that.
    ///
    /// Where trailers came that is no more than was said: with a length of its own, HTTP/1.1 has no
    /// place for them.
    pub(super) fn hint(&self, said: &SizeHint) -> SizeHint {
        let has_trailers = self.frames.last().is_some_and(SharedFrame::is_trailers);
        if said.exact().is_some() {
            return *said;
        }
        if matches!(self.end, End::Whole) && !has_trailers {
            return SizeHint::with_exact(self.length);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(said.lower().max(self.length));
        if let Some(upper) = said.upper() {
            hint.set_upper(upper.max(hint.lower()));
        }
        hint
    }

    /// The reader that may go on alone has come, or has gone.
    pub(super) fn set_first(&mut self, is_there: bool) {
        self.has_first = is_there;
    }

    fn keep(&mut self, frame: SharedFrame) -> Result<(), SharedFrame> {
        let most = (self.cap / PER_FRAME).saturating_add(FRAMES);
        if self.frames.len() >= most || !self.charge.grow(frame.size(), self.cap) {
            return Err(frame);
        }
        self.length = self.length.saturating_add(frame.length());
        self.frames.push(frame);
        Ok(())
    }

    fn stop(&mut self, frame: Frame<Bytes>, body: Option<B>) {
        self.end = End::Over(Some(Rest { frame, body }));
    }

    fn remains(&mut self, rest: Rest<B>) -> Remains<B> {
        let frames = mem::take(&mut self.frames);
        Remains { frames, charge: self.charge.split(), rest }
    }
}

/// A body of `cap` bytes may come in this many frames, and in one more for each [`PER_FRAME`] bytes,
/// so that what is kept for each of them stays in proportion.
const FRAMES: usize = 1024;
const PER_FRAME: usize = 64;
