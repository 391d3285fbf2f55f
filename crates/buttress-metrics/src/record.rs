use std::{sync::Arc, time::Duration};

use buttress_core::Verdict;

/// A sink for the calls that a [`MeterLayer`](crate::MeterLayer) has measured, such as histograms of
/// a metrics system.
///
/// Closures `Fn(&CallRecord<'_>)` implement this trait. `()` records nothing, for a layer that only
/// counts.
///
/// The sink runs inside the call that has ended, so it must not block. If it panics, the panic
/// continues in the poll that ended the call. The call is counted as ended before.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink for the calls of a meter",
    note = "use `MetricsSink` or `OpenTelemetrySink`, `()` to count only, or a closure `|call: &CallRecord<'_>| ..`"
)]
pub trait Record: Send + Sync + 'static {
    /// Records a call that has ended.
    fn record(&self, call: &CallRecord<'_>);

    /// Returns a sink for the calls of the layer `instance` only, if such a sink has less to do for
    /// each call.
    ///
    /// The layer calls this method when it is made or renamed. Default: `None`, the sink itself is
    /// used.
    fn for_instance(&self, subject: Subject, instance: &str) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = (subject, instance);
        None
    }
}

impl Record for () {
    #[inline]
    fn record(&self, _: &CallRecord<'_>) {}
}

impl<T: Record + ?Sized> Record for Arc<T> {
    fn record(&self, call: &CallRecord<'_>) {
        (**self).record(call);
    }
}

impl<F: Fn(&CallRecord<'_>) + Send + Sync + 'static> Record for F {
    fn record(&self, call: &CallRecord<'_>) {
        self(call);
    }
}

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallRecord<'a> {
    /// The subject of the layer: whole calls or attempts.
    pub subject: Subject,
    /// The name of the layer.
    pub instance: &'a str,
    /// How the call ended.
    pub end: CallEnd,
    /// The time from `call` to the end.
    pub duration: Duration,
    /// The attempts after the first that retries made for the call. 0 if the call was dropped
    /// before its response head.
    pub retries: u16,
    /// The spare calls that hedges made for the call. 0 if the call was dropped before its response
    /// head.
    pub hedges: u16,
}

/// The subject of a [`MeterLayer`](crate::MeterLayer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Whole calls, with all their attempts. The metrics are named `buttress.call.*`.
    Call,
    /// Single attempts. The metrics are named `buttress.attempt.*`.
    Attempt,
}

/// How a call ended: its [`Verdict`], or dropped. The value of the label `verdict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallEnd {
    /// The call succeeded, with its whole body.
    Success,
    /// The service failed, or the body broke off.
    Transient,
    /// An attempt had no response in time.
    TimedOut,
    /// The service asked for less load.
    Throttled,
    /// Another attempt would fail too.
    Permanent,
    /// The call failed in a way that the classifier does not know.
    Unknown,
    /// The service itself ran out of its time.
    Expired,
    /// The service never began to process the call.
    NeverProcessed,
    /// A layer rejected the call, before its head or in its body.
    Rejected,
    /// The caller dropped the call or its body, or the call panicked.
    Dropped,
}

impl CallEnd {
    /// All values, in the order of the variants.
    pub const ALL: &'static [Self] = &[
        Self::Success,
        Self::Transient,
        Self::TimedOut,
        Self::Throttled,
        Self::Permanent,
        Self::Unknown,
        Self::Expired,
        Self::NeverProcessed,
        Self::Rejected,
        Self::Dropped,
    ];

    /// Returns the value of the label, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Transient => "transient",
            Self::TimedOut => "timed_out",
            Self::Throttled => "throttled",
            Self::Permanent => "permanent",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::NeverProcessed => "never_processed",
            Self::Rejected => "rejected",
            Self::Dropped => "dropped",
        }
    }

    pub(crate) const COUNT: usize = Self::ALL.len();
}

impl From<Verdict> for CallEnd {
    /// A verdict that this version does not know becomes [`Unknown`](Self::Unknown).
    #[inline]
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Success => Self::Success,
            Verdict::Transient => Self::Transient,
            Verdict::TimedOut => Self::TimedOut,
            Verdict::Throttled(_) => Self::Throttled,
            Verdict::Permanent => Self::Permanent,
            Verdict::Expired => Self::Expired,
            Verdict::NeverProcessed => Self::NeverProcessed,
            Verdict::Rejected { .. } => Self::Rejected,
            _ => Self::Unknown,
        }
    }
}
