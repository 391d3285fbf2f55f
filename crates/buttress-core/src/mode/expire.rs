use std::time::Duration;

use crate::Plain;

/// Returns how long a response may be cached, if the response or its request says so.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell how long a `{Res}` may be kept",
    note = "for `http::Response` and `reqwest::Response`, add `.http()` to the layer"
)]
pub trait Expire<Req, Res>: Clone {
    /// State captured from the request, because the request is gone when the response is cached.
    type Seed: Send + 'static;

    /// Captures the seed from `request`.
    fn seed(&self, request: &Req) -> Self::Seed;

    /// Returns the lifetime of `response`, or `None` if it must not be cached.
    ///
    /// `asked` is the lifetime that the layer sets for responses that state none. It is `None` if
    /// such responses are not cached.
    fn lifetime(
        &self,
        seed: &Self::Seed,
        response: &Res,
        asked: Option<Lifetime>,
    ) -> Option<Lifetime>;

    /// Does the same for a response that arrived `delay` after its request was sent. As far as is
    /// known, the response was made right after the request was sent.
    ///
    /// Default: as if the response had arrived at once.
    #[inline]
    fn lifetime_with_delay(
        &self,
        seed: &Self::Seed,
        response: &Res,
        delay: Duration,
        asked: Option<Lifetime>,
    ) -> Option<Lifetime> {
        let _ = delay;
        self.lifetime(seed, response, asked)
    }
}

/// The response says nothing: the lifetime is that of the layer.
#[diagnostic::do_not_recommend]
impl<Req, Res> Expire<Req, Res> for Plain {
    type Seed = ();

    #[inline]
    fn seed(&self, _: &Req) {}

    #[inline]
    fn lifetime(&self, (): &(), _: &Res, asked: Option<Lifetime>) -> Option<Lifetime> {
        asked
    }
}

/// The lifetime of a response ([RFC 9111] and [RFC 5861]).
///
/// [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111
/// [RFC 5861]: https://www.rfc-editor.org/rfc/rfc5861
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetime {
    /// The time for which the response stays fresh from now on.
    pub fresh: Duration,
    /// The time after `fresh` for which the response may be served while it is refreshed.
    pub stale_while_revalidate: Duration,
    /// The time after `fresh` for which the response may be served in place of a failure.
    pub stale_if_error: Duration,
    /// The age of the response now.
    pub age: Duration,
    /// The response stated `fresh` itself. Jitter then never adds to `fresh`.
    pub is_explicit: bool,
}

impl Lifetime {
    /// Returns a lifetime that is fresh for `fresh`. The other fields are zero and `false`: assign
    /// them.
    #[inline]
    pub const fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            age: Duration::ZERO,
            is_explicit: false,
        }
    }
}
