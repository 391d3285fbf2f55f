use std::{any::Any, borrow::Cow, error::Error, fmt, io, time::Duration};

use crate::Deadline;

/// The boxed error type of most tower services. Every layer in [`Plain`](crate::Plain) mode
/// supports it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The answer of a layer itself: a call was not admitted, or cut off.
///
/// All layers share this type, so an error enum of your own needs a single `#[from]`. [`BoxError`]
/// and [`io::Error`] have the conversion already.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("Elapsed", "Overloaded", "error"))]
pub struct Rejection {
    reason: Reason,
    origin: Origin,
    retry_after: Option<Duration>,
    deadline: Option<Deadline>,
}

impl Rejection {
    /// Creates a rejection for `reason` by the layer instance `origin`.
    pub const fn new(reason: Reason, origin: Origin) -> Self {
        Self { reason, origin, retry_after: None, deadline: None }
    }

    /// Sets the delay after which a call may be admitted.
    pub const fn after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Sets the deadline that was enforced.
    pub const fn enforcing(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Returns the reason of the rejection.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the layer instance that rejected the call.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the delay after which a call may be admitted, if that is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the deadline that was enforced, for [`Reason::DeadlineExceeded`].
    pub const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Returns the rejection that `error` is or contains.
    ///
    /// Looks into `Rejection`, [`io::Error`] and [`BoxError`], and along their
    /// [`source`](Error::source)s. Any other error type is opaque here: give the layer a
    /// `.classify(..)` that knows the type.
    pub fn find<E: 'static>(error: &E) -> Option<&Self> {
        // By concrete type, because `E` need not implement `Error`. A `BoxError` does not.
        let error: &dyn Any = error;
        if let Some(rejection) = error.downcast_ref::<Self>() {
            Some(rejection)
        } else if let Some(error) = error.downcast_ref::<io::Error>() {
            Self::in_chain(error)
        } else if let Some(error) = error.downcast_ref::<BoxError>() {
            Self::in_chain(error.as_ref())
        } else {
            None
        }
    }

    /// Returns the first rejection among `error` and its [`source`](Error::source)s.
    pub fn in_chain<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        // The bound stops at a `source()` that returns itself. Real chains have a handful of
        // errors.
        for _ in 0..LONGEST_CHAIN {
            let error = next?;
            if let Some(rejection) = error.downcast_ref::<Self>() {
                return Some(rejection);
            }
            // `io::Error::source` skips the wrapped error and returns the source of that error.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
                None => error.source(),
            };
        }
        None
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)?;
        match self.retry_after {
            Some(delay) => write!(f, ", retry after {delay:?}"),
            None => Ok(()),
        }
    }
}

impl Error for Rejection {}

impl From<Rejection> for io::Error {
    /// Returns [`TimedOut`](io::ErrorKind::TimedOut) for a deadline, and
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) for every other reason.
    ///
    /// For an error type other than `Rejection`, [`BoxError`] and `io::Error`, implement
    /// `From<Rejection>` yourself. Give an outer retry a `.classify(..)`, because the retry cannot
    /// look inside.
    fn from(rejection: Rejection) -> Self {
        let kind = match rejection.reason {
            Reason::DeadlineExceeded => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ResourceBusy,
        };
        Self::new(kind, rejection)
    }
}

/// The reason why a layer rejected a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The deadline passed before the end of the call, or before its start.
    DeadlineExceeded,
    /// A concurrency limit or a queue was full.
    Overloaded,
    /// A rate limit was used up.
    RateLimited,
    /// The cost of the request exceeds what the limit ever holds. A later call would be rejected
    /// too, so there is no [`retry_after`](Rejection::retry_after).
    NeverAdmissible,
    /// A circuit breaker is open.
    CircuitOpen,
    /// A later call displaced this call.
    Superseded,
    /// The work that served the call panicked.
    Panicked,
    /// The request accepted a cached response only, and there is none.
    NotCached,
}

impl Reason {
    /// Returns the reason in `snake_case`, as in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::NeverAdmissible => "never_admissible",
            Self::CircuitOpen => "circuit_open",
            Self::Superseded => "superseded",
            Self::Panicked => "panicked",
            Self::NotCached => "not_cached",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate limited",
            Self::NeverAdmissible => "more than the limit ever holds",
            Self::CircuitOpen => "circuit open",
            Self::Superseded => "superseded by a later call",
            Self::Panicked => "the work panicked",
            Self::NotCached => "no cached response",
        })
    }
}

/// The layer instance that a rejection or an event comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    layer: &'static str,
    name: Cow<'static, str>,
}

impl Origin {
    /// Creates the origin of a `layer`, by the name of its pattern, such as `"deadline"`. The
    /// instance has the same name until [`named`](Self::named) sets another.
    pub const fn new(layer: &'static str) -> Self {
        Self { layer, name: Cow::Borrowed(layer) }
    }

    /// Sets the `name` of the instance.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Returns the name of the layer's pattern.
    pub const fn layer(&self) -> &'static str {
        self.layer
    }

    /// Returns the name of the instance.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.layer {
            f.write_str(self.layer)
        } else {
            write!(f, "{} `{}`", self.layer, self.name)
        }
    }
}

const LONGEST_CHAIN: usize = 64;
