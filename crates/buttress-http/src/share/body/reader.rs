use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{BoxError, Entry, Place};
use bytes::Bytes;
use http_body::{Body, SizeHint};

use super::{
    frame_log::{Look, readers::Key},
    live::{Live, NO_TERMS},
    stored::less,
};

/// A reader of a body that is on its way.
#[derive(Debug)]
pub(in crate::share) struct Reader<B> {
    live: Arc<Live<B>>,
    key: Key,
    /// From when it first had to wait.
    place: Option<Place>,
    /// How many frames it has read.
    index: usize,
    /// How many bytes.
    read: u64,
}

impl<B> Reader<B> {
    pub(super) fn new(live: &Arc<Live<B>>) -> Self {
        let key = live.track().enter();
        Self { live: Arc::clone(live), key, place: None, index: 0, read: 0 }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.live.track().is_read(self.index)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let said = &self.live.hint;
        if said.exact().is_some() {
            return less(said, self.read);
        }
        less(&self.live.track().hint(said), self.read)
    }

    fn look(&mut self) -> Look {
        let (look, is_relieved) = {
            let mut track = self.live.track();
            (track.look(self.key), track.is_relieved())
        };
        if is_relieved {
            self.live.relay.ring();
        }
        if let Look::Frame(frame) | Look::Last(frame) = &look {
            self.index += 1;
            self.read = self.read.saturating_add(frame.length());
        }
        look
    }

    /// Where it waits. `None` if it must not.
    fn place(&mut self) -> Option<Place> {
        if self.place.is_none() {
            self.place = match self.live.relay.enter(NO_TERMS) {
                Entry::Member(place) => {
                    (self.live.watch)(&self.live, place);
                    Some(place)
                }
                Entry::Closed | Entry::Inside => None,
            };
        }
        self.place
    }
}

impl<B> Reader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// What is at its place; never [`Look::Wait`].
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Look> {
        match self.look() {
            Look::Wait => {}
            look => return Poll::Ready(look),
        }
        let Some(place) = self.place() else { return Poll::Ready(Look::GivenUp) };
        let known = self.index.try_into().unwrap_or(u64::MAX);
        let live = &self.live;
        ready!(live.relay.poll(place, known, cx, |work, _| live.drive(work)));
        match self.look() {
            // An error and not a wait for what does not come, whatever became of the source.
            Look::Wait => Poll::Ready(Look::GivenUp),
            look => Poll::Ready(look),
        }
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        // Dropped at the end, with no lock held and after all else is done: the bytes of a frame may be
        // anybody's.
        let mut freed = Vec::new();
        let (is_relieved, is_deserted) = {
            let mut track = self.live.track();
            track.leave(self.key, &mut freed);
            (track.is_relieved(), track.is_deserted())
        };
        if let Some(place) = self.place.take() {
            self.live.relay.leave(place);
        }
        if is_deserted {
            self.live.give_up();
        } else if is_relieved {
            self.live.relay.ring();
        }
    }
}
