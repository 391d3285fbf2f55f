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

/// A streaming body with many readers, each of which can drive it.
pub(crate) struct LiveBody<B> {
    // Never held together with the lock of the relay, nor while the source runs. So neither lock
    // waits for the other, and a source that reads its own response finds both free.
    log: Mutex<FrameLog>,
    pub(super) relay: Relay<LiveWork<B>>,
    /// A member of the relay that keeps the source while there is no reader. `give_up` removes it,
    /// once.
    keeper: MemberId,
    source_waker: Waker,
    /// Starts the relay's watchdog. A function pointer, because only `new` knows that the body is
    /// `'static`.
    pub(super) watch: fn(&Arc<Self>, MemberId),
    /// The size that the source stated before it was read.
    pub(super) hint: SizeHint,
}

/// The work that a reader drives for all.
#[derive(Debug)]
pub(super) struct LiveWork<B> {
    source: Source<B>,
    /// Runs while the source waits for readers that are behind.
    ticks: TickTimer,
}

impl<B> LiveBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    /// Starts to share `body`, with up to `cap` bytes kept.
    pub(super) fn new(body: B, cap: usize, reservation: ByteReservation) -> Arc<Self> {
        let hint = body.size_hint();
        let work = LiveWork { source: Source::new(body), ticks: TickTimer::new(TICK) };
        let (relay, keeper) = Relay::new(work, NO_AMBIENT);
        Arc::new_cyclic(|live| Self {
            log: Mutex::new(FrameLog::new(cap, reservation)),
            relay,
            keeper,
            source_waker: Waker::from(Arc::new(SourceWaker(live.clone()))),
            watch: |live, member| live.relay.start_watchdog(member, live),
            hint,
        })
    }
}

impl<B> LiveBody<B> {
    pub(super) fn progress(&self) -> Progress {
        self.log().progress()
    }

    /// Announces that many more readers.
    pub(super) fn expect(&self, readers: usize) {
        self.log().expect(readers);
    }

    /// Abandons the rest of the body.
    pub(super) fn give_up(&self) {
        let mut freed = Vec::new();
        // The log first, and its lock is released at the end of the condition: readers find the end
        // before the relay drops the source.
        if self.log().give_up(&mut freed) {
            self.relay.leave(self.keeper);
        }
    }

    /// The complete body and its length. `None` if the body is not complete.
    pub(super) fn complete(&self) -> Option<(Vec<SharedFrame>, SizeHint)> {
        self.log().complete(&self.hint)
    }

    pub(super) fn weight(&self) -> usize {
        self.log().weight()
    }

    pub(super) fn log(&self) -> MutexGuard<'_, FrameLog> {
        // No code under this lock can panic, so a poisoned lock means nothing.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> LiveBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Drives the source with no lock held. [`Driven::More`] stands for a frame.
    pub(super) fn drive(&self, work: &mut LiveWork<B>) -> Driven {
        let cx = &mut Context::from_waker(&self.source_waker);
        let (mut read, mut freed) = (None, Vec::new());
        loop {
            // The lock of the log is released at the end of the statement: below, the source and
            // the timer run without it.
            let step = self.log().step(&mut read, &mut freed);
            // Dropped with no lock held, because the bytes of a frame are foreign code, and before
            // the source reads more.
            freed.clear();
            if step != SourceStep::Wait {
                // There is room: a later wait starts with a whole tick.
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

/// Wakes a reader to drive the source.
// Weak, because the body owns the source and the source holds this waker. A strong reference would
// leak both.
struct SourceWaker<B>(Weak<LiveBody<B>>);

impl<B: Send + 'static> Wake for SourceWaker<B> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(live) = self.0.upgrade() {
            // No lock of the log here: `wake_driver` wakes members, which are foreign code.
            live.relay.wake_driver();
        }
    }
}

/// The source runs under the ambient values of the reader that drives it, which a layer sets for
/// all.
pub(super) const NO_AMBIENT: Ambient = Ambient::new(None, Criticality::Sheddable);

/// The length of a tick. [`Readers`](super::frame_log::readers::Readers) limits the ticks for which
/// a reader is waited for.
const TICK: Duration = Duration::from_millis(1);
