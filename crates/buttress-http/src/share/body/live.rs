use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use buttress_core::{
    Ambient, BoxError, Criticality, Driven, MemberId, Progress, Relay, TickTimer, WatchdogHost,
};
use bytes::Bytes;
use http_body::{Body, SizeHint};

use super::{
    byte_reservation::ByteReservation,
    frame::SharedFrame,
    frame_log::{FrameLog, SourceStep},
    source::Source,
};

/// A body on its way to many readers, any of which pulls it along.
pub(crate) struct LiveBody<B> {
    // Never held together with the lock of the relay, nor while the source runs.
    log: Mutex<FrameLog>,
    pub(super) relay: Relay<LiveWork<B>>,
    /// Keeps the source while there is no reader, until the body is given up.
    keeper: MemberId,
    source_waker: Waker,
    /// Watches the relay. Only where the body is made it is known to be `'static`.
    pub(super) watch: fn(&Arc<Self>, MemberId),
    /// What the source said before it was read.
    pub(super) hint: SizeHint,
}

/// What a reader drives for all.
#[derive(Debug)]
pub(super) struct LiveWork<B> {
    source: Source<B>,
    /// While the source waits for readers that are behind.
    ticks: TickTimer,
}

impl<B> LiveBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    /// `body` on its way, kept up to `cap` bytes.
    pub(super) fn new(body: B, cap: usize, reservation: ByteReservation) -> Arc<Self> {
        let hint = body.size_hint();
        let work = LiveWork { source: Source::new(body), ticks: TickTimer::new(TICK) };
        let (relay, keeper) = Relay::new(work, NO_TERMS);
        Arc::new_cyclic(|live| Self {
            log: Mutex::new(FrameLog::new(cap, reservation)),
            relay,
            keeper,
            source_waker: Waker::from(Arc::new(SourceWaker(live.clone()))),
            watch: |live, place| live.relay.start_watchdog(place, live),
            hint,
        })
    }
}

impl<B> LiveBody<B> {
    pub(super) fn progress(&self) -> Progress {
        self.log().progress()
    }

    /// So many readers more are to come.
    pub(super) fn expect(&self, readers: usize) {
        self.log().expect(readers);
    }

    /// Gives up what is still on its way.
    pub(super) fn give_up(&self) {
        let mut freed = Vec::new();
        if self.log().give_up(&mut freed) {
            self.relay.leave(self.keeper);
        }
    }

    /// The whole body and its length. `None` if it is not whole.
    pub(super) fn whole(&self) -> Option<(Vec<SharedFrame>, SizeHint)> {
        self.log().whole(&self.hint)
    }

    pub(super) fn weight(&self) -> usize {
        self.log().weight()
    }

    pub(super) fn log(&self) -> MutexGuard<'_, FrameLog> {
        // What is done under it cannot panic, so a poisoned lock means nothing.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> LiveBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Pulls the source along, with no lock held. [`Drive::More`] stands for one frame.
    pub(super) fn drive(&self, work: &mut LiveWork<B>) -> Driven {
        let cx = &mut Context::from_waker(&self.source_waker);
        let (mut read, mut freed) = (None, Vec::new());
        loop {
            let step = self.log().step(&mut read, &mut freed);
            // With no lock held, and before the source brings more.
            freed.clear();
            if step != SourceStep::Wait {
                work.ticks.stop();
            }
            match step {
                SourceStep::More => return Driven::More,
                SourceStep::Done => return Driven::Done,
                SourceStep::Pull => match work.source.poll(cx) {
                    Poll::Ready(frame) => read = Some(frame),
                    Poll::Pending => return Driven::Pending,
                },
                SourceStep::Wait => match work.ticks.poll(cx) {
                    Poll::Ready(()) => self.log().tick(),
                    Poll::Pending => return Driven::Pending,
                },
            }
        }
    }
}

impl<B: Send + 'static> WatchdogHost for LiveBody<B> {
    fn on_watchdog(&self) {
        self.relay.wake_if_stalled();
    }
}

impl<B> fmt::Debug for LiveBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveBody").finish_non_exhaustive()
    }
}

/// Wakes a reader to pull the source along. It does not keep the body alive: the source keeps it.
struct SourceWaker<B>(Weak<LiveBody<B>>);

impl<B: Send + 'static> Wake for SourceWaker<B> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(live) = self.0.upgrade() {
            live.relay.wake_driver();
        }
    }
}

/// The source is read under what is ambient for whoever pulls it along, which a layer sets for all.
pub(super) const NO_TERMS: Ambient = Ambient::new(None, Criticality::Sheddable);

/// How long a tick is, in which a reader that is behind is waited for;
/// [`Readers`](super::frame_log::readers::Readers) has how many.
const TICK: Duration = Duration::from_millis(1);
