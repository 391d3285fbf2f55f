use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{BoxError, Join, MemberId};
use bytes::Bytes;
use http_body::{Body, SizeHint};

use super::{
    frame_log::{NextFrame, readers::Key},
    live::{LiveBody, NO_AMBIENT},
    stored::less,
};

/// A reader of a streaming body.
#[derive(Debug)]
pub(in crate::share) struct BodyReader<B> {
    live: Arc<LiveBody<B>>,
    key: Key,
    /// The membership in the relay, from the first wait on.
    member: Option<MemberId>,
    /// The number of frames read.
    index: usize,
    /// The number of bytes read.
    read: u64,
}

impl<B> BodyReader<B> {
    pub(super) fn new(live: &Arc<LiveBody<B>>) -> Self {
        // Registers before the first read, so that the window cannot move past the first frame
        // meanwhile.
        let key = live.log().enter();
        Self { live: Arc::clone(live), key, member: None, index: 0, read: 0 }
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
        // The log's lock ends with this block, before `wake_driver` takes the lock of the relay.
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

    /// The membership in the relay. `None` if this reader must not wait.
    fn member(&mut self) -> Option<MemberId> {
        if self.member.is_none() {
            self.member = match self.live.relay.join(NO_AMBIENT) {
                Join::Member(member) => {
                    // After `join` has released the lock of the relay: the watchdog takes it again.
                    (self.live.watch)(&self.live, member);
                    Some(member)
                }
                Join::Closed | Join::Reentrant => None,
            };
        }
        self.member
    }
}

impl<B> BodyReader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// The next frame or the end. Never [`NextFrame::Wait`].
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame> {
        match self.next_frame() {
            NextFrame::Wait => {}
            next => return Poll::Ready(next),
        }
        let Some(member) = self.member() else { return Poll::Ready(NextFrame::Abandoned) };
        // A drive publishes once per frame, so the number of frames read is the number of known
        // results.
        let known = self.index.try_into().unwrap_or(u64::MAX);
        let live = &self.live;
        ready!(live.relay.poll(member, known, cx, |work, _| live.drive(work)));
        match self.next_frame() {
            // An error in place of a wait without end, if the source ended without a last frame.
            NextFrame::Wait => Poll::Ready(NextFrame::Abandoned),
            next => Poll::Ready(next),
        }
    }
}

impl<B> Drop for BodyReader<B> {
    fn drop(&mut self) {
        // Declared first, so dropped last: with no lock held and after all else is done, because
        // the bytes of a frame are foreign code.
        let mut freed = Vec::new();
        let (is_relieved, is_deserted) = {
            let mut log = self.live.log();
            log.leave(self.key, &mut freed);
            (log.is_relieved(), log.is_deserted())
        };
        // After the log's lock is released, because `leave` wakes members, which are foreign code.
        if let Some(member) = self.member.take() {
            self.live.relay.leave(member);
        }
        if is_deserted {
            self.live.give_up();
        } else if is_relieved {
            self.live.relay.wake_driver();
        }
    }
}
