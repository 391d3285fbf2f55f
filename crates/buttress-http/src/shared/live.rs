use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker, ready},
};

use buttress_core::{BoxError, Criticality, Drive, Entry, Place, Progress, Relay, Rouse, Terms};
use bytes::Bytes;
use http_body::{Body, SizeHint};

use super::{
    charge::Charge,
    frame::SharedFrame,
    source::Source,
    stored::less,
    track::{Look, Track},
};

/// A body on its way to many readers, any of which pulls it along.
pub(crate) struct Live<B> {
    track: Mutex<Track<B>>,
    relay: Relay<Source<B>>,
    /// Keeps the source while there is no reader, until the body is given up.
    keeper: Place,
    bell: Waker,
    /// Watches the relay. Only where the body is made it is known to be `'static`.
    watch: fn(&Arc<Self>, Place),
    /// What the source said before it was read.
    hint: SizeHint,
}

impl<B> Live<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    /// `body` on its way, kept up to `cap` bytes.
    pub(super) fn new(body: B, cap: usize, charge: Charge) -> Arc<Self> {
        let hint = body.size_hint();
        let (relay, keeper) = Relay::new(Source::new(body), NO_TERMS);
        Arc::new_cyclic(|live| Self {
            track: Mutex::new(Track::new(cap, charge)),
            relay,
            keeper,
            bell: Waker::from(Arc::new(Bell(live.clone()))),
            watch: |live, place| live.relay.watch(place, live),
            hint,
        })
    }
}

impl<B> Live<B> {
    pub(super) fn progress(&self) -> Progress {
        self.track().progress()
    }

    /// Gives up what is still on its way.
    pub(super) fn give_up(&self) {
        let before = self.track().give_up();
        if before.is_some() {
            self.relay.leave(self.keeper);
        }
    }

    /// The whole body and its length. `None` if it is not whole.
    pub(super) fn whole(&self) -> Option<(Vec<SharedFrame>, SizeHint)> {
        self.track().whole(&self.hint)
    }

    pub(super) fn weight(&self) -> usize {
        self.track().weight()
    }

    fn track(&self) -> MutexGuard<'_, Track<B>> {
        // What is done under it cannot panic, so a poisoned lock means nothing.
        self.track.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Live<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Pulls the source along, with no lock held.
    fn drive(&self, source: &mut Source<B>) -> Drive {
        match source.poll(&mut Context::from_waker(&self.bell)) {
            Poll::Pending => Drive::Pending,
            Poll::Ready(read) => {
                let put = self.track().put(read, source);
                put.unwrap_or(Drive::Done)
            }
        }
    }
}

impl<B: Send + 'static> Rouse for Live<B> {
    fn rouse(&self) {
        self.relay.rouse();
    }
}

impl<B> fmt::Debug for Live<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

/// A reader of a body that is on its way.
#[derive(Debug)]
pub(super) struct Reader<B> {
    live: Arc<Live<B>>,
    /// From when it first had to wait.
    place: Option<Place>,
    /// How many frames it has read.
    index: usize,
    /// How many bytes.
    read: u64,
    is_first: bool,
}

impl<B> Reader<B> {
    pub(super) fn new(live: &Arc<Live<B>>, is_first: bool) -> Self {
        if is_first {
            live.track().set_first(true);
        }
        Self { live: Arc::clone(live), place: None, index: 0, read: 0, is_first }
    }

    /// How many frames it has read.
    pub(super) fn index(&self) -> usize {
        self.index
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

    fn look(&mut self) -> Look<B> {
        let look = self.live.track().look(self.index, self.is_first);
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
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Look<B>> {
        match self.look() {
            Look::Wait => {}
            look => return Poll::Ready(look),
        }
        let Some(place) = self.place() else { return Poll::Ready(Look::GivenUp) };
        let known = self.index.try_into().unwrap_or(u64::MAX);
        let live = &self.live;
        ready!(live.relay.poll(place, known, cx, |source, _| live.drive(source)));
        match self.look() {
            // An error and not a wait for what does not come, whatever became of the source.
            Look::Wait => Poll::Ready(Look::GivenUp),
            look => Poll::Ready(look),
        }
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        if self.is_first {
            self.live.track().set_first(false);
        }
        if let Some(place) = self.place.take() {
            self.live.relay.leave(place);
        }
    }
}

/// Wakes a reader to pull the source along. It does not keep the body alive: the source keeps it.
struct Bell<B>(Weak<Live<B>>);

impl<B: Send + 'static> Wake for Bell<B> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(live) = self.0.upgrade() {
            live.relay.ring();
        }
    }
}

/// The source is read under what is ambient for whoever pulls it along, which a layer sets for all.
const NO_TERMS: Terms = Terms { deadline: None, criticality: Criticality::Sheddable };
