use std::{sync::Arc, time::Duration};

use buttress_core::Bind;
use http::HeaderName;

use crate::{idempotent::Repeat, selecting::is_selecting};

/// The mode for `http::Request` and `reqwest::Request`: a rejection is a response.
///
/// Cloning it is free until an option is set, and one reference count after.
#[derive(Clone, Debug, Default)]
pub struct Http {
    // `None` stands for the defaults: a service clones its mode once per call.
    options: Option<Arc<Options>>,
}

impl Http {
    /// The mode with its defaults.
    pub const fn new() -> Self {
        Self { options: None }
    }

    /// Requests with a body of up to `bytes` can be sent again; 64 KiB by default.
    pub fn replay_cap(self, bytes: usize) -> Self {
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
    pub fn share_cap(self, bytes: usize) -> Self {
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
    /// still arrives before this one's.
    ///
    /// It belongs on the innermost deadline: a layer further in reads what this one announced, and
    /// a margin of its own would come on top.
    pub fn margin(self, margin: Duration) -> Self {
        self.with(|options| options.margin = margin)
    }

    /// Also puts the [`Deadline`](buttress_core::Deadline) into the request's extensions, where it
    /// is found by what the ambient one does not reach: behind tower's `Buffer`, or in a task of its
    /// own. It allocates. A request of reqwest has no extensions.
    pub fn deadline_in_extensions(self) -> Self {
        self.with(|options| options.extension = Extension::Written)
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
    pub fn ignore_criticality(self) -> Self {
        self.with(|options| options.criticality = Trust::Ignored)
    }

    /// Every request may be sent again, whatever its method.
    ///
    /// For a service that knows a repeated request, where the requests cannot say so one by one
    /// with [`Idempotent`](crate::Idempotent) or an `Idempotency-Key`.
    pub fn idempotent(self) -> Self {
        self.with(|options| options.repeat = Repeat::All)
    }

    /// Two requests that differ in one of these headers are not the same: they become part of
    /// [`HttpKey`](crate::HttpKey), and a response that names them in `Vary` can be shared.
    ///
    /// For what tells callers apart and stands nowhere else, such as the name of a tenant. It adds up.
    pub fn vary(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|options| {
            for name in names {
                if !is_selecting(options, &name) {
                    options.vary.push(name);
                }
            }
        })
    }

    pub(crate) fn options(&self) -> &Options {
        self.options.as_deref().unwrap_or(&DEFAULT)
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(self.options.get_or_insert_with(|| Arc::new(DEFAULT.clone()))));
        self
    }
}

/// `.http()` on every layer.
pub trait HttpExt: Sized {
    /// Makes the layer speak HTTP and gRPC: a rejection is a response, the error type is untouched.
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

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) replay_cap: usize,
    pub(crate) share_cap: usize,
    pub(crate) timeout_header: Option<HeaderName>,
    pub(crate) margin: Duration,
    pub(crate) extension: Extension,
    pub(crate) criticality_header: HeaderName,
    pub(crate) criticality: Trust,
    pub(crate) repeat: Repeat,
    pub(crate) vary: Vec<HeaderName>,
}

/// Whether the deadline is put into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    Absent,
    Written,
}

/// Whether the header of the criticality is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Believed,
    Ignored,
}

static DEFAULT: Options = Options {
    replay_cap: 64 * 1024,
    share_cap: 1024 * 1024,
    timeout_header: None,
    margin: Duration::ZERO,
    extension: Extension::Absent,
    criticality_header: HeaderName::from_static("x-criticality"),
    criticality: Trust::Believed,
    repeat: Repeat::Idempotent,
    vary: Vec::new(),
};
