mod aimd;
mod band;
mod bounds;
mod gradient;
mod gradient2;
mod options;
mod rounds;
mod slack;
mod stats;
mod trend;
mod vegas;

use std::fmt::Debug;
use std::time::Duration;

use crate::Nanos;
use crate::numbers::nanos::saturating_nanos;

pub use self::aimd::Aimd;
pub use self::gradient::Gradient;
pub use self::gradient2::Gradient2;
pub use self::slack::Slack;
pub use self::trend::Trend;
pub use self::vegas::Vegas;

/// A law that adapts a concurrency limit to latency: the more calls wait inside the service, the
/// lower the limit.
///
/// ```
/// use std::time::Duration;
/// use buttress_control::{Adapt, Nanos, Sample, Vegas};
///
/// let mut law = Vegas::default();
/// let mut now = Duration::ZERO;
/// for _ in 0..1000 {
///     // Calls take 10 ms even at the full limit. No call waits, so there is room for more.
///     law.learn(Sample::new(Nanos::from(now), Duration::from_millis(10), law.limit(), false));
///     now += Duration::from_micros(500);
/// }
/// assert!(law.limit() > 20);
/// ```
///
/// # What to pass
///
/// Pass a [`Sample`] for each call that has ended and was [near the limit](near_limit) when it was
/// admitted. The time is the service's alone, without the time that the caller needed to send the
/// request.
///
/// If a caller leaves, the call would have taken at least the time until then. If that time is longer
/// than [`Adapt::unloaded_rtt`], pass a sample that was answered at that moment. Otherwise the call says nothing.
/// If most callers leave, pass each such call as dropped, because all leave after their own
/// patience, however long the queue is. A call that was refused before it reached the service was
/// never admitted.
///
/// # How the laws of this crate measure
///
/// The laws move at the end of a round. A round holds at least 100 calls, and at least twice as
/// many as the limit, so that the last step shows before the next. A limit of which less than half
/// is used does not move.
///
/// *Drops.* If more than 5 % of the calls were dropped, the round ends at once and the limit falls.
/// Calls that started before that cannot lower the limit again. The time of dropped calls is not
/// counted.
///
/// *Baseline.* The baseline is the time of a call that waits for no other. To measure the baseline,
/// the law probes: it halves its limit until twice that many calls and a round have ended. The
/// halved limit keeps no call waiting as long as the limit was at most twice what the service can
/// work on at once.
///
/// The first probe comes after two full rounds. The next probes come 32, 64 and 128 round trips
/// later, and from then on every 256. For limits below 10 the gap is longer by the factor 10 /
/// limit. While the limit rejects no call, the law does not probe. Probes cost an overloaded
/// service one to three calls in a hundred.
///
/// *Slower services.* If two rounds in a row take at least 1.45 times the usual time of a round,
/// the law probes at once, and does not step. The laws for servers do the same if three rounds take
/// 1.2 times the time of those before. If half of the limit does not change the time, the queue is
/// not the reason. The law then adopts the new baseline, and its limit grows by a fifth per round,
/// up to the throughput of before. A quarter of any other rise is believed at once, and all of it
/// when two probes agree. If the limit has halved since the last probe, the law probes too. After
/// drops the law adopts no such growth.
///
/// *Clients.* A probe of a client does not empty the queue of other clients. So each client counts
/// the time to its next probe from the round with the lowest latency, and probes early if calls
/// become quicker. Clients that see the same queue come to probe together.
///
/// *Scale.* Everything is counted in calls, shares and round trips, and nothing in clock time. So a
/// law behaves the same for calls of a millisecond and of a minute.
///
/// # Which law for what
///
/// | law | for | several clients of a service |
/// |---|---|---|
/// | [`Trend`] | clients and servers | hold 1 to 3 times the servers together, tested with ten |
/// | [`Vegas`], [`Gradient`], [`Gradient2`] | servers: a single limit for all calls | can climb |
/// | [`Aimd`] | servers; clients if the service sheds or a [`timeout`](crate::Aimd::timeout) bounds its queue | can climb without drops |
///
/// # Sharing
///
/// A law is a value. The caller keeps the law under a lock, and the limit beside it in an atomic
/// for calls that only read the limit. [`Adapt::learn`] takes the same few steps for every sample
/// and allocates nothing.
pub trait Adapt: Clone + Debug + Send + 'static {
    /// Returns how many calls may be in flight now, at least 1.
    fn limit(&self) -> u32;

    /// Learns from a call that has ended, and returns the new limit.
    fn learn(&mut self, sample: Sample) -> u32;

    /// Returns the time of a call that waits for no other, if the law knows that time and is not
    /// measuring it right now.
    ///
    /// Default: `None`. Then a call that its caller drops is no sample, unless most callers drop
    /// theirs.
    fn unloaded_rtt(&self) -> Option<Duration> {
        None
    }
}

/// Returns whether this many calls in flight use at least half of the limit.
///
/// Below that, the callers decide how many calls there are, and the time of these calls says
/// nothing about more calls. A limit that grew on such samples would end at its maximum with a
/// single call at a time.
#[inline]
pub const fn near_limit(in_flight: u32, limit: u32) -> bool {
    in_flight >= limit.div_ceil(2)
}

/// A call that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// When the call was admitted.
    pub started: Nanos,
    /// The time from then until the call ended.
    pub rtt: Duration,
    /// The number of calls in flight when the call was admitted, itself included.
    pub in_flight: u32,
    /// Whether the service shed the call, or the call ran out of time.
    pub dropped: bool,
}

impl Sample {
    /// Creates the sample of a call that was admitted at `started` as one of `in_flight`, itself
    /// included. The call ended after `rtt`, or was dropped then: shed by the service, or out of
    /// time.
    pub const fn new(started: Nanos, rtt: Duration, in_flight: u32, dropped: bool) -> Self {
        Self { started, rtt, in_flight, dropped }
    }

    pub(crate) const fn nanos(&self) -> u64 {
        saturating_nanos(self.rtt)
    }

    pub(crate) const fn ended(&self) -> Nanos {
        Nanos::new(self.started.get().saturating_add(self.nanos()))
    }
}
