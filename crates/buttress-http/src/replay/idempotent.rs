use http::{Extensions, HeaderName, Method, header};

use crate::{Http, Protocol, options::RepeatPolicy};

/// Marks a request as idempotent: sending it twice has the same effect as sending it once.
///
/// ```
/// # use buttress_http::Idempotent;
/// let request = http::Request::post("/orders/7/cancel").extension(Idempotent).body(());
/// ```
///
/// A retry repeats these requests:
///
/// | request | after a response of the service | after any other outcome |
/// |---|---|---|
/// | provably [never processed](crate::never_processed) | – | yes |
/// | this mark, an `Idempotency-Key`, an idempotent method (RFC 9110, section 9.2.2), or [`Http::assume_idempotent`] | yes | yes |
/// | gRPC | yes, unless [`Http::only_marked_idempotent`] | no |
/// | any other | no | no |
///
/// A response over gRPC is a `grpc-status` of the service itself, see
/// [`Classify::is_answer`](buttress_core::Classify::is_answer). A broken connection, a timeout, and
/// a 502 or 504 of a proxy are none, because the service may still be processing the call.
///
/// A request of reqwest has no extensions. Use the header or [`Http::assume_idempotent`] there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias("Idempotency-Key", "safe to retry"))]
pub struct Idempotent;

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeatability {
    Always,
    /// After a response of the service itself: gRPC is retried by the response, not by the method.
    Answered,
    Never,
}

impl Repeatability {
    /// Reads the parts of a request. `header` returns the first value of a header.
    ///
    /// Only a failure asks, so the parts are those of the copy.
    pub(crate) fn of<'a>(
        http: &Http,
        method: &Method,
        header: impl Fn(&HeaderName) -> Option<&'a [u8]>,
        extensions: Option<&Extensions>,
    ) -> Self {
        // An empty key identifies no request, so an empty header marks nothing.
        let is_keyed = || header(&IDEMPOTENCY_KEY).is_some_and(|key| !key.is_empty());
        let is_marked = || extensions.is_some_and(|marks| marks.get::<Idempotent>().is_some());
        if method.is_idempotent() || is_keyed() || is_marked() {
            return Self::Always;
        }
        match (http.options().repeat_policy, Protocol::of_content_type(header(&CONTENT_TYPE))) {
            (RepeatPolicy::All, _) => Self::Always,
            (RepeatPolicy::Answered, Protocol::Grpc) => Self::Answered,
            (RepeatPolicy::Answered, Protocol::Http) | (RepeatPolicy::Idempotent, _) => Self::Never,
        }
    }

    pub(crate) fn after(self, answered: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Answered => answered,
            Self::Never => false,
        }
    }
}

// Statics, because a constant is built and dropped at each use.
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static CONTENT_TYPE: HeaderName = header::CONTENT_TYPE;
