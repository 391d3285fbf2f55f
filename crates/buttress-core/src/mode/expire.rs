use std::time::Duration;

use crate::Plain;

/// How long a response may be kept, where the response itself, or its request, has a say in it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell how long a `{Res}` may be kept",
    note = "for `http::Response` and `reqwest::Response`, add `.http()` to the layer"
)]
pub trait Expire<Req, Res>: Clone {
    /// What must be remembered of a request to tell how long its response may be kept.
    type Seed: Send + 'static;

    /// Remembers what is needed of `request`.
    fn seed(&self, request: &Req) -> Self::Seed;

    /// How long `response` may be kept, or `None` if it may not. `asked` is what the layer was told for
    /// responses that say nothing themselves, `None` if those are not to be kept.
    fn lifetime(
        &self,
        seed: &Self::Seed,
        response: &Res,
        asked: Option<Lifetime>,
    ) -> Option<Lifetime>;

    /// The same for a response that came in `delay` after its request was sent: for all that is known, it
    /// was made right after that.
    ///
    /// Default: as if it had come at once.
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

/// The response has no say.
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

/// How long a response is good for, in the words of [RFC 9111] and [RFC 5861].
///
/// [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111
/// [RFC 5861]: https://www.rfc-editor.org/rfc/rfc5861
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetime {
    /// How much longer it is fresh.
    pub fresh: Duration,
    /// For how long after that it may be given out while it is being refreshed.
    pub stale_while_revalidate: Duration,
    /// For how long after `fresh` it may be given out in place of a failure.
    pub stale_if_error: Duration,
    /// How old it is already.
    pub age: Duration,
    /// The response said itself how long; then that is not exceeded by jitter.
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
