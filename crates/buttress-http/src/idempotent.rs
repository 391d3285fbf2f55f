use http::HeaderName;

use crate::{Http, Protocol, RequestHead};

/// The caller's mark on a request: sending it twice does what sending it once does.
///
/// ```
/// # use buttress_http::Idempotent;
/// let request = http::Request::post("/orders/7/cancel").extension(Idempotent).body(());
/// ```
///
/// A retry repeats a request that has this mark among its extensions, an `Idempotency-Key` header or
/// a method that is idempotent (RFC 9110, section 9.2.2). A request of reqwest has no extensions:
/// there it is the header, or [`Http::idempotent`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idempotent;

/// When sending a request again is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeatable {
    Always,
    /// After an answer: gRPC is retried by what the service said, not by what was called.
    Answered,
    Never,
}

impl Repeatable {
    pub(crate) fn of(http: &Http, request: &impl RequestHead) -> Self {
        if request.method().is_idempotent() || is_marked(request) {
            return Self::Always;
        }
        match (http.options().repeat, Protocol::of(request.headers())) {
            (Repeat::All, _) => Self::Always,
            (Repeat::Idempotent, Protocol::Grpc) => Self::Answered,
            (Repeat::Idempotent, Protocol::Http) => Self::Never,
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

/// Which requests may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Idempotent,
    All,
}

fn is_marked(request: &impl RequestHead) -> bool {
    request.headers().get(IDEMPOTENCY_KEY).is_some_and(|key| !key.is_empty())
        || request.extensions().is_some_and(|extensions| extensions.get::<Idempotent>().is_some())
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
