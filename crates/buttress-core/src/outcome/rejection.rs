use std::{any::Any, borrow::Cow, error::Error, fmt, io, time::Duration};

use crate::Deadline;

/// The error type most of tower speaks. Every layer in [`Plain`](crate::Plain) mode fits it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A layer's own answer: it did not let the call through, or did not let it finish.
///
/// One type serves all layers, so a user's error enum needs one `#[from]`. [`BoxError`] and
/// [`io::Error`] have the conversion already.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("Elapsed", "Overloaded", "error"))]
pub struct Rejection {
    reason: Reason,
    origin: Origin,
    retry_after: Option<Duration>,
    deadline: Option<Deadline>,
}

impl Rejection {
    /// A rejection for `reason` by the layer instance `origin`.
    pub const fn new(reason: Reason, origin: Origin) -> Self {
        Self { reason, origin, retry_after: None, deadline: None }
    }

    /// Says that a call made `delay` from now may be admitted.
    pub const fn after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Says which deadline was enforced.
    pub const fn enforcing(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Why the call was rejected.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Which layer rejected it.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How long to wait before a call may be admitted, if that is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The deadline that was enforced, for [`Reason::DeadlineExceeded`].
    pub const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// The rejection that `error` is or contains.
    ///
    /// Looks into `Rejection`, [`io::Error`] and [`BoxError`], and along their
    /// [`source`](Error::source)s. Any other error type is opaque here: give the layer a
    /// `.classify(..)` that knows it.
    pub fn find<E: 'static>(error: &E) -> Option<&Self> {
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

    /// The first rejection among `error` and its [`source`](Error::source)s.
    pub fn in_chain<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        // A chain is a handful of links; the bound keeps a source() that returns itself harmless.
        for _ in 0..LONGEST_CHAIN {
            let error = next?;
            if let Some(rejection) = error.downcast_ref::<Self>() {
                return Some(rejection);
            }
            // `io::Error::source` skips the error it wraps and gives that one's source.
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
    /// [`TimedOut`](io::ErrorKind::TimedOut) for a deadline,
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) for everything else.
    ///
    /// For an error type other than `Rejection`, [`BoxError`] and `io::Error`, implement
    /// `From<Rejection>` yourself and give an outer retry a `.classify(..)`: it cannot look inside.
    fn from(rejection: Rejection) -> Self {
        let kind = match rejection.reason {
            Reason::DeadlineExceeded => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ResourceBusy,
        };
        Self::new(kind, rejection)
    }
}

/// Why a layer rejected a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The deadline passed before the call ended, or had passed before it began.
    DeadlineExceeded,
    /// A concurrency limit or a queue was full.
    Overloaded,
    /// A rate was used up.
    RateLimited,
    /// The request asks for more than the limit ever holds. It will not be admitted later either, so
    /// there is no [`retry_after`](Rejection::retry_after).
    NeverAdmissible,
    /// A circuit breaker is open.
    CircuitOpen,
    /// A later call took this one's place.
    Superseded,
    /// The work that served the call panicked.
    Panicked,
    /// The request asked for a kept answer only, and there is none.
    NotCached,
}

impl Reason {
    /// The reason in `snake_case`, as it stands in events.
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
            Self::NotCached => "no kept answer",
        })
    }
}

/// Which layer, and which instance of it, a rejection or an event comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    layer: &'static str,
    name: Cow<'static, str>,
}

impl Origin {
    /// A `layer`, by its pattern's name (`"deadline"`), which is the instance's name too until
    /// [`named`](Self::named) says otherwise.
    pub const fn new(layer: &'static str) -> Self {
        Self { layer, name: Cow::Borrowed(layer) }
    }

    /// The same layer with a `name` for this instance.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The layer's pattern.
    pub const fn layer(&self) -> &'static str {
        self.layer
    }

    /// The instance's name.
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
