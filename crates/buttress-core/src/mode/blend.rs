use crate::{Age, Origin, Plain, Verdict};

/// Joins the responses of a service and of its stand-in into one response type.
///
/// The stand-in may have another response type: over hyper, only a connection can make the body of
/// a response.
///
/// | mode | response of the service | response in its place | joined |
/// |---|---|---|---|
/// | [`Plain`] | `Res` | `Res` | `Res` |
/// | `Http` | `http::Response<A>` | `http::Response<B>` | `http::Response<Either<A, B>>` |
/// | `Http` | `reqwest::Response` | `http::Response<B>`, `B: Into<reqwest::Body>` | `reqwest::Response` |
/// | `Http` | `reqwest::Response` | `reqwest::Response` | `reqwest::Response` |
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot return a `{Other}` in place of a `{Res}`",
    label = "this mode cannot join the two responses into one type",
    note = "without `.http()`, the response in place of the service's must have the same type",
    note = "with `.http()`, an `http::Response` can stand in for an `http::Response`, and an `http::Response` or a `reqwest::Response` for a `reqwest::Response`"
)]
pub trait Blend<Res, Other>: Clone {
    /// The joined response.
    type Response;

    /// Passes on the response of the service.
    fn own(&self, response: Res) -> Self::Response;

    /// Passes on a response in place of the service's. A response that can carry `degraded` is
    /// marked with this value. Any other response drops the value, and
    /// [`Signals::degraded`](crate::Signals::degraded) alone reports it.
    fn other(&self, response: Other, degraded: Degraded) -> Self::Response;
}

#[diagnostic::do_not_recommend]
impl<Res> Blend<Res, Res> for Plain {
    type Response = Res;

    #[inline]
    fn own(&self, response: Res) -> Res {
        response
    }

    fn other(&self, response: Res, _: Degraded) -> Res {
        response
    }
}

/// The mark of a response that stands in for a failure. Over HTTP, the mark is in the extensions of
/// the response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias("fallback", "stale"))]
pub struct Degraded {
    /// The layer instance that returned the response.
    pub origin: Origin,
    /// Where the response came from.
    pub source: Source,
    /// The verdict on the outcome that the response replaces.
    pub instead_of: Verdict,
    /// The age of the response, if it was made earlier.
    pub age: Option<Age>,
}

impl Degraded {
    /// Creates a mark without an age.
    #[inline]
    pub const fn new(origin: Origin, source: Source, instead_of: Verdict) -> Self {
        Self { origin, source, instead_of, age: None }
    }

    /// Sets the age of the response.
    #[must_use]
    pub const fn aged(mut self, age: Age) -> Self {
        self.age = Some(age);
        self
    }
}

/// Where a [`Degraded`] response came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A stale entry of a cache.
    StaleCache,
    /// A fixed value.
    Value,
    /// A value that was computed from the outcome.
    Answer,
    /// Another service.
    Service,
}

impl Source {
    /// Returns the source as a word for events and headers, such as `stale_cache`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StaleCache => "stale_cache",
            Self::Value => "value",
            Self::Answer => "answer",
            Self::Service => "service",
        }
    }
}
