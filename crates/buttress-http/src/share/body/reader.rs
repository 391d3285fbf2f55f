use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{BoxError, Join, MemberId};
use bytes::Bytes;
use http_body::{Body, SizeHint};

use super::{
    frame_log::{NextFrame, readers::Key},
    live::{LiveBody, NO_TERMS},
    stored::less,
};

/// A reader of a body that is on its way.
#[derive(Debug)]
pub(in crate::share) struct BodyReader<B> {
    live: Arc<LiveBody<B>>,
    key: Key,
    /// From when it first had to wait.
    place: Option<MemberId>,
    /// How many frames it has read.
    index: usize,
    /// How many bytes.
    read: u64,
}

impl<B> BodyReader<B> {
    pub(super) fn new(live: &Arc<LiveBody<B>>) -> Self {
        let key = live.log().enter();
        Self { live: Arc::clone(live), key, place: None, index: 0, read: 0 }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.live.log().is_read(self.index)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let said = &self.live.hint;
        if said.exact().is_some() {
            return less(said, self.read);
        }
        less(&self.live.log().hint(said), self.read)
    }

    fn next_frame(&mut self) -> NextFrame {
        let (next, is_relieved) = {
            let mut log = self.live.log();
            (log.next_frame(self.key), log.is_relieved())
        };
        if is_relieved {
            self.live.relay.wake_driver();
        }
        if let NextFrame::Frame(frame) | NextFrame::Last(frame) = &next {
            self.index += 1;
            self.read = self.read.saturating_add(frame.length());
        }
        next
    }

    /// Where it waits. `None` if it must not.
    fn place(&mut self) -> Option<MemberId> {
        if self.place.is_none() {
            self.place = match self.live.relay.join(NO_TERMS) {
                Join::Member(place) => {
                    (self.live.watch)(&self.live, place);
                    Some(place)
                }
                Join::Closed | Join::Reentrant => None,
            };
        }
        self.place
    }
}

impl<B> BodyReader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// What is at its place; never [`NextFrame::Wait`].
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame> {
        match self.next_frame() {
            NextFrame::Wait => {}
            next => return Poll::Ready(next),
        }
        let Some(place) = self.place() else { return Poll::Ready(NextFrame::Abandoned) };
        let known = self.index.try_into().unwrap_or(u64::MAX);
        let live = &self.live;
        ready!(live.relay.poll(place, known, cx, |work, _| live.drive(work)));
        match self.next_frame() {
            // An error and not a wait for what does not come, whatever became of the source.
            NextFrame::Wait => Poll::Ready(NextFrame::Abandoned),
            next => Poll::Ready(next),
        }
    }
}

impl<B> Drop for BodyReader<B> {
    fn drop(&mut self) {
        // Dropped at the end, with no lock held and after all else is done: the bytes of a frame may be
        // anybody's.
        let mut freed = Vec::new();
        let (is_relieved, is_deserted) = {
            let mut log = self.live.log();
            log.leave(self.key, &mut freed);
            (log.is_relieved(), log.is_deserted())
        };
        if let Some(place) = self.place.take() {
            self.live.relay.leave(place);
        }
        if is_deserted {
            self.live.give_up();
        } else if is_relieved {
            self.live.relay.wake_driver();
        }
    }
}
