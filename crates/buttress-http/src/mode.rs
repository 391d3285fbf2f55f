use std::{sync::Arc, time::Duration};

use buttress_core::Bind;
use http::HeaderName;

use crate::options::{
    Counting, DEFAULT, DeadlineExtension, HeaderTrust, HttpOptions, RepeatPolicy,
};

/// The mode for `http::Request` and `reqwest::Request`: a rejection is a response.
///
/// Cloning it is free until an option is set, and one reference count after.
#[derive(Clone, Debug, Default)]
#[doc(alias("axum", "tonic", "reqwest", "hyper"))]
pub struct Http {
    // `None` stands for the defaults: a service clones its mode once per call.
    options: Option<Arc<HttpOptions>>,
}

impl Http {
    /// The mode with its defaults.
    pub const fn new() -> Self {
        Self { options: None }
    }

    /// Requests with a body of up to `bytes` can be sent again; 64 KiB by default.
    pub fn max_replay_body(self, bytes: usize) -> Self {
        self.with(|options| options.replay_cap = bytes)
    }

    /// Limits how much of a body that has many callers is held in memory, in bytes, trailers included.
    /// Default: 1 MiB. The limit holds for each response, beside what the layer has for all of them.
    ///
    /// A response that says that it is longer has a single caller. One that turns out to be longer takes
    /// no new caller and is not kept. The callers that have it all read on, within a window of `bytes`
    /// that moves with them. A caller that falls further behind than that fails with
    /// [`TooLong`](crate::TooLong); see [`SharedBody`](crate::SharedBody). With 0, all callers read
    /// frame by frame.
    pub fn max_shared_body(self, bytes: usize) -> Self {
        self.with(|options| options.share_cap = bytes)
    }

    /// Reads and writes the time left, in whole milliseconds, in the header `name`.
    ///
    /// Without it only gRPC requests carry a deadline, in `grpc-timeout`, which this does not
    /// replace. Behind Envoy, `x-envoy-expected-rq-timeout-ms` is what it announces.
    pub fn timeout_header(self, name: HeaderName) -> Self {
        self.with(|options| options.timeout_header = Some(name))
    }

    /// Announces `margin` less than is left, so that an answer made at the other side's deadline
    /// still arrives before this one's. A call with no more than `margin` left is expired.
    ///
    /// It belongs on the innermost deadline: a layer further in reads what this one announced, and
    /// a margin of its own would come on top.
    pub fn deadline_margin(self, margin: Duration) -> Self {
        self.with(|options| options.margin = margin)
    }

    /// Also puts the [`Deadline`](buttress_core::Deadline) into the request's extensions, where it
    /// is found by what the ambient one does not reach: behind tower's `Buffer`, or in a task of its
    /// own. It allocates. A request of reqwest has no extensions.
    pub fn deadline_in_extensions(self) -> Self {
        self.with(|options| options.deadline_extension = DeadlineExtension::Written)
    }

    /// Reads and writes the [`Criticality`](buttress_core::Criticality) in the header `name`;
    /// `x-criticality` by default.
    pub fn criticality_header(self, name: HeaderName) -> Self {
        self.with(|options| options.criticality_header = name)
    }

    /// Does not believe the header of the criticality. It is still written.
    ///
    /// For the edge of a network: whoever comes from outside would call everything critical. What
    /// the program itself puts into the request's extensions counts as before.
    pub fn ignore_criticality_header(self) -> Self {
        self.with(|options| options.criticality = HeaderTrust::Ignored)
    }

    /// Every request may be sent again, whatever its method.
    ///
    /// For a service that knows a repeated request, where the requests cannot say so one by one
    /// with [`Idempotent`](crate::Idempotent) or an `Idempotency-Key`.
    pub fn assume_idempotent(self) -> Self {
        self.with(|options| options.repeat_policy = RepeatPolicy::All)
    }

    /// Repeats only requests that are known to be idempotent, over gRPC too.
    ///
    /// By default a gRPC call is also repeated after an answer of the service itself, such as
    /// `UNAVAILABLE`, because a service answers so before it begins. Some servers also tell it to calls
    /// that are running when they are stopped, and some proxies, Envoy among them, say it in the
    /// service's place after a connection broke. Where a call must not run twice, set this, and mark
    /// the calls that may with [`Idempotent`](crate::Idempotent) or an `Idempotency-Key`.
    ///
    /// Of this and [`idempotent`](Self::assume_idempotent) the last counts.
    pub fn only_marked_idempotent(self) -> Self {
        self.with(|options| options.repeat_policy = RepeatPolicy::Idempotent)
    }

    /// Takes these headers out of [`HttpKey`](crate::HttpKey): requests that differ in them only are the
    /// same.
    ///
    /// Name only headers that identify neither the caller nor what is asked, or each caller is given the
    /// answers of others. Behind a proxy that adds the client's address to each request,
    /// `x-forwarded-for` is such a header if no service answers by it. A response that names one of them
    /// in `Vary` is for its first caller alone. It adds up.
    ///
    /// Default: the headers that [`HttpKey`](crate::HttpKey) lists.
    pub fn ignore_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|options| {
            if let Counting::AllBut { names: ignored, .. } = &mut options.counting {
                ignored.extend(names);
            }
        })
    }

    /// Puts these headers, and `Host`, into [`HttpKey`](crate::HttpKey), and no others.
    ///
    /// For a service whose answers are known to depend on nothing else. Whatever identifies a caller must
    /// be among them: `authorization` and `cookie` are not, unless they are named. It adds up, and
    /// [`ignore_headers`](Self::ignore_headers) has no effect beside it.
    ///
    /// Default: all headers but those that [`HttpKey`](crate::HttpKey) lists.
    pub fn key_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|options| match &mut options.counting {
            Counting::Only(only) => only.extend(names),
            counting @ Counting::AllBut { .. } => {
                *counting = Counting::Only(names.into_iter().collect());
            }
        })
    }

    /// Puts these headers into [`HttpKey`](crate::HttpKey), although they are ignored by default, by
    /// [`ignore_headers`](Self::ignore_headers) or beside [`key_headers`](Self::key_headers). It adds up.
    pub fn vary(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|options| options.vary.extend(names))
    }

    pub(crate) fn options(&self) -> &HttpOptions {
        self.options.as_deref().unwrap_or(&DEFAULT)
    }

    fn with(mut self, change: impl FnOnce(&mut HttpOptions)) -> Self {
        let options = self.options.get_or_insert_with(|| Arc::new(DEFAULT.clone()));
        let options = Arc::make_mut(options);
        change(options);
        options.note_ignored();
        self
    }
}

/// `.http()` on every layer.
pub trait HttpExt: Sized {
    /// Makes the layer speak HTTP and gRPC: a rejection is a response, the error type is untouched.
    #[doc(alias("axum", "tonic", "reqwest", "hyper"))]
    fn http(self) -> Self::Bound
    where
        Self: Bind<Http>,
    {
        self.bind(Http::new())
    }

    /// The same with options.
    fn http_with(self, http: Http) -> Self::Bound
    where
        Self: Bind<Http>,
    {
        self.bind(http)
    }
}

impl<L> HttpExt for L {}
