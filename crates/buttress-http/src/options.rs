use std::time::Duration;

use http::HeaderName;

use crate::key::ignored_headers::{IGNORED_BITS, bit};

/// The options of [`Http`](crate::Http).
#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    pub(crate) replay_cap: usize,
    pub(crate) share_cap: usize,
    pub(crate) timeout_header: Option<HeaderName>,
    pub(crate) margin: Duration,
    pub(crate) deadline_extension: DeadlineExtension,
    pub(crate) criticality_header: HeaderName,
    pub(crate) criticality: HeaderTrust,
    pub(crate) fallback_header: Option<HeaderName>,
    pub(crate) repeat_policy: RepeatPolicy,
    pub(crate) vary: Vec<HeaderName>,
    pub(crate) counting: Counting,
}

impl HttpOptions {
    /// Collects the bits of all names that may be ignored.
    pub(crate) fn note_ignored(&mut self) {
        let Counting::AllBut { names, bits } = &mut self.counting else { return };
        let own = [Some(&self.criticality_header), self.timeout_header.as_ref()];
        let names = names.iter().chain(own.into_iter().flatten());
        *bits = names.fold(IGNORED_BITS, |bits, name| bits | bit(name.as_str().as_bytes()));
    }
}

/// The headers that are part of a key.
#[derive(Clone, Debug)]
pub(crate) enum Counting {
    /// All headers except the [`IGNORED_HEADERS`](crate::key::ignored_headers::IGNORED_HEADERS),
    /// the headers of the deadline and the criticality, and these `names`.
    AllBut {
        names: Vec<HeaderName>,
        /// The names, each reduced to a bit. A header with another bit is not ignored.
        bits: u64,
    },
    Only(Vec<HeaderName>),
}

/// Whether the deadline is written into the extensions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadlineExtension {
    Absent,
    Written,
}

/// Whether the criticality header is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderTrust {
    Believed,
    Ignored,
}

/// The requests that may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RepeatPolicy {
    /// Requests that are known to be idempotent.
    Idempotent,
    /// Those, and gRPC calls that the service itself responded to.
    Answered,
    All,
}

pub(crate) static DEFAULT: HttpOptions = HttpOptions {
    replay_cap: 64 * 1024,
    share_cap: 1024 * 1024,
    timeout_header: None,
    margin: Duration::ZERO,
    deadline_extension: DeadlineExtension::Absent,
    criticality_header: HeaderName::from_static(CRITICALITY),
    criticality: HeaderTrust::Believed,
    fallback_header: None,
    repeat_policy: RepeatPolicy::Answered,
    vary: Vec::new(),
    counting: Counting::AllBut {
        names: Vec::new(),
        bits: IGNORED_BITS | bit(CRITICALITY.as_bytes()),
    },
};

const CRITICALITY: &str = "x-criticality";
