use std::{sync::Arc, time::Duration};

use buttress_core::Bind;
use http::HeaderName;

use crate::options::{
    Counting, DEFAULT, DeadlineExtension, HeaderTrust, HttpOptions, RepeatPolicy,
};

/// The mode for `http::Request` and `reqwest::Request`: a rejection is a response.
///
/// Cloning costs nothing with the defaults, and a reference count once an option is set.
#[derive(Clone, Debug, Default)]
#[doc(alias("axum", "tonic", "reqwest", "hyper"))]
pub struct Http {
    // `None` stands for the defaults, because a service clones its mode once per call.
    options: Option<Arc<HttpOptions>>,
}

impl Http {
    /// Creates the mode with its defaults.
    pub const fn new() -> Self {
        Self { options: None }
    }

    /// Sets the maximum size of a request body that can be sent again, in bytes. Default: 64 KiB.
    ///
    /// A request with a longer body is sent once.
    pub fn max_replay_body(self, bytes: usize) -> Self {
        self.with(|options| options.replay_cap = bytes)
    }

    /// Limits the bytes of a shared body that are held in memory, trailers included. Default: 1
    /// MiB. The limit holds for each response, beside the layer's limit for all of them.
    ///
    /// A response that states a greater length has a single caller. A response that turns out to be
    /// longer takes no new caller and is not cached. Its present callers read on within a window of
    /// `bytes` that moves with them. A caller that falls further behind fails with
    /// [`TooLong`](crate::TooLong), see [`SharedBody`](crate::SharedBody). With 0, all callers read
    /// frame by frame.
    pub fn max_shared_body(self, bytes: usize) -> Self {
        self.with(|options| options.share_cap = bytes)
    }

    /// Sets the header that carries the time left, in whole milliseconds. Default: none.
    ///
    /// Without this option only gRPC requests carry a deadline, in `grpc-timeout`. The option does
    /// not replace that header. Behind Envoy, use `x-envoy-expected-rq-timeout-ms`.
    pub fn timeout_header(self, name: HeaderName) -> Self {
        self.with(|options| options.timeout_header = Some(name))
    }

    /// Announces `margin` less than the time left, so that a response made at the other side's
    /// deadline arrives in time. Default: zero. A call with no more than `margin` left is expired.
    ///
    /// Set the margin on the innermost deadline. A layer further in reads the announced deadline,
    /// and would subtract its own margin again.
    pub fn deadline_margin(self, margin: Duration) -> Self {
        self.with(|options| options.margin = margin)
    }

    /// Also writes the [`Deadline`](buttress_core::Deadline) into the extensions of the request.
    /// Default: off.
    ///
    /// The extensions reach where the ambient deadline does not: behind tower's `Buffer`, or in
    /// a spawned task. This allocates. A request of reqwest has no extensions.
    pub fn deadline_in_extensions(self) -> Self {
        self.with(|options| options.deadline_extension = DeadlineExtension::Written)
    }

    /// Sets the header that carries the [`Criticality`](buttress_core::Criticality). Default:
    /// `x-criticality`.
    pub fn criticality_header(self, name: HeaderName) -> Self {
        self.with(|options| options.criticality_header = name)
    }

    /// Ignores the criticality header of incoming requests. Outgoing requests still carry the
    /// header.
    ///
    /// Use this at the edge of a network. Otherwise every client could call its requests critical.
    /// A criticality in the extensions of a request still counts.
    pub fn ignore_criticality_header(self) -> Self {
        self.with(|options| options.criticality = HeaderTrust::Ignored)
    }

    /// Sets the header that marks the answer of a fallback, with the value `fallback`. Default: none.
    ///
    /// The mark within a process is [`Degraded`](buttress_core::Degraded), in the extensions of the
    /// response. Extensions reach neither another process nor the caller of a tonic stub. The header
    /// reaches both. It replaces a header of this name in the answer.
    #[doc(alias("degraded", "x-served-by"))]
    pub fn fallback_header(self, name: HeaderName) -> Self {
        self.with(|options| options.fallback_header = Some(name))
    }

    /// Lets a retry repeat every request, whatever its method. Default: off.
    ///
    /// For a service that recognizes a repeated request. If the requests themselves can say so, use
    /// [`Idempotent`](crate::Idempotent) or an `Idempotency-Key` instead.
    pub fn assume_idempotent(self) -> Self {
        self.with(|options| options.repeat_policy = RepeatPolicy::All)
    }

    /// Lets a retry repeat only requests that are known to be idempotent, over gRPC too. Default:
    /// off.
    ///
    /// By default a gRPC call is also repeated after a response of the service itself, such as
    /// `UNAVAILABLE`, because a service sends that before it begins. Some servers also send it to
    /// running calls when they stop. Some proxies, Envoy among them, send it in place of the
    /// service after a connection broke. If a call must not run twice, set this option. Mark the
    /// calls that may with [`Idempotent`](crate::Idempotent) or an `Idempotency-Key`.
    ///
    /// The last of this option and [`assume_idempotent`](Self::assume_idempotent) counts.
    pub fn only_marked_idempotent(self) -> Self {
        self.with(|options| options.repeat_policy = RepeatPolicy::Idempotent)
    }

    /// Removes these headers from [`HttpKey`](crate::HttpKey): requests that differ in them only
    /// are the same.
    ///
    /// Name only headers that identify neither the caller nor the resource. Otherwise callers
    /// receive the responses of others. Behind a proxy that adds the client's address to each
    /// request, `x-forwarded-for` is such a header, if no service responds by it. A response that
    /// names an ignored header in `Vary` has a single caller.
    ///
    /// Several calls add up. Default: the headers that [`HttpKey`](crate::HttpKey) lists.
    pub fn ignore_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|options| {
            if let Counting::AllBut { names: ignored, .. } = &mut options.counting {
                ignored.extend(names);
            }
        })
    }

    /// Puts these headers and `Host` into [`HttpKey`](crate::HttpKey), and no others.
    ///
    /// For a service whose responses are known to depend on nothing else. Every header that
    /// identifies a caller must be named, `authorization` and `cookie` included.
    /// [`ignore_headers`](Self::ignore_headers) then has no effect.
    ///
    /// Several calls add up. Default: all headers except those that [`HttpKey`](crate::HttpKey)
    /// lists.
    pub fn key_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|options| match &mut options.counting {
            Counting::Only(only) => only.extend(names),
            counting @ Counting::AllBut { .. } => {
                *counting = Counting::Only(names.into_iter().collect());
            }
        })
    }

    /// Puts these headers into [`HttpKey`](crate::HttpKey), even if they are ignored by default, by
    /// [`ignore_headers`](Self::ignore_headers) or beside [`key_headers`](Self::key_headers).
    ///
    /// Several calls add up. Default: none.
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

/// The methods `.http()` and `.http_with(..)` on every layer.
pub trait HttpExt: Sized {
    /// Makes the layer speak HTTP and gRPC: a rejection is a response, and the error type stays the
    /// same.
    #[doc(alias("axum", "tonic", "reqwest", "hyper"))]
    fn http(self) -> Self::Bound
    where
        Self: Bind<Http>,
    {
        self.bind(Http::new())
    }

    /// Does the same as [`http`](Self::http), with options.
    fn http_with(self, http: Http) -> Self::Bound
    where
        Self: Bind<Http>,
    {
        self.bind(http)
    }
}

impl<L> HttpExt for L {}
