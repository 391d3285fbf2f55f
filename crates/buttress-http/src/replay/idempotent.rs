use http::HeaderName;

use crate::{Http, Protocol, RequestHead, options::RepeatPolicy};

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
    pub(crate) fn of(http: &Http, request: &impl RequestHead) -> Self {
        if request.method().is_idempotent() || is_marked(request) {
            return Self::Always;
        }
        match (http.options().repeat_policy, Protocol::of(request.headers())) {
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

fn is_marked(request: &impl RequestHead) -> bool {
    // An empty key identifies no request, so an empty header marks nothing.
    request.headers().get(IDEMPOTENCY_KEY).is_some_and(|key| !key.is_empty())
        || request.extensions().is_some_and(|extensions| extensions.get::<Idempotent>().is_some())
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
