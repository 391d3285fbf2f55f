mod age;
mod byte_budget;

use std::{
    future::{Ready, ready},
    mem::size_of,
    sync::Arc,
};

use crate::{Degraded, Plain};

pub use self::age::Age;
pub use self::byte_budget::ByteBudget;

/// Gives a response to several callers.
///
/// The body of a response may still be streaming when its head is shared. Then
/// [`progress`](Self::progress) reports how much has arrived, and each caller's response drives the
/// body.
///
/// [`Respond`](crate::Respond) then adds the guard of the layer, with the
/// [seed](crate::Respond#seeds) of each caller's own request.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot give a `{Res}` to more than one caller",
    note = "for `http::Response` and `reqwest::Response`, add `.http()` to the layer",
    note = "otherwise the response must be `Clone`"
)]
pub trait Share<Res>: Clone {
    /// A shared form of the response, which many callers can hold.
    type Shared: Clone + Send + Sync + 'static;

    /// The response of one caller, before [`Respond`](crate::Respond) adds the guard of a layer.
    type Response;

    /// A future that reads the rest of a response without a caller.
    type Finish: Future<Output = ()> + Send + 'static;

    /// Whether every response is complete when its head arrives. If so, a response without
    /// followers is passed on unshared.
    const IS_COMPLETE: bool = true;

    /// Turns a response into its shared form. `Err` returns a response that must have a single
    /// caller.
    fn share(&self, response: Res, budget: &Arc<ByteBudget>) -> Result<Self::Shared, Res>;

    /// Returns the response for a single caller.
    fn own(&self, response: Res) -> Self::Response;

    /// Creates the response of one caller.
    fn restore(&self, shared: &Self::Shared, reader: Reader) -> Self::Response;

    /// Marks a restored response that stands in for a failure. A response that cannot carry the mark
    /// drops it, and [`Signals::degraded`](crate::Signals::degraded) alone reports it.
    ///
    /// Default: drops the mark.
    fn mark_degraded(&self, response: &mut Self::Response, degraded: Degraded) {
        let _ = (response, degraded);
    }

    /// Returns how much of the response has arrived.
    ///
    /// Default: all of it.
    fn progress(&self, shared: &Self::Shared) -> Progress {
        let _ = shared;
        Progress::Complete
    }

    /// Announces that `callers` more will read the response. Called before the first caller
    /// receives it for all present callers, and later for each caller that joins.
    ///
    /// A body may wait a little for expected callers that have not started to read. Default: does
    /// nothing.
    fn expect_callers(&self, shared: &Self::Shared, callers: usize) {
        let _ = (shared, callers);
    }

    /// Stops reading the response, because no caller is left.
    ///
    /// Default: does nothing.
    fn abandon(&self, shared: &Self::Shared) {
        let _ = shared;
    }

    /// Reads the rest of the response for later callers only.
    fn finish(&self, shared: &Self::Shared) -> Self::Finish;

    /// Returns a complete response for the cache, without any value that belongs to the present
    /// callers.
    ///
    /// Default: a clone.
    fn for_cache(&self, shared: &Self::Shared) -> Self::Shared {
        shared.clone()
    }

    /// Returns the size of a complete response, in bytes.
    ///
    /// Default: the size of the type.
    fn weight(&self, shared: &Self::Shared) -> usize {
        let _ = shared;
        size_of::<Self::Shared>()
    }
}

#[diagnostic::do_not_recommend]
impl<Res: Clone + Send + Sync + 'static> Share<Res> for Plain {
    type Shared = Res;
    type Response = Res;
    type Finish = Ready<()>;

    #[inline]
    fn share(&self, response: Res, _: &Arc<ByteBudget>) -> Result<Res, Res> {
        Ok(response)
    }

    #[inline]
    fn own(&self, response: Res) -> Res {
        response
    }

    #[inline]
    fn restore(&self, shared: &Res, _: Reader) -> Res {
        shared.clone()
    }

    fn finish(&self, _: &Res) -> Ready<()> {
        ready(())
    }
}

/// The kind of caller that a response is restored for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reader {
    /// The caller whose request made the call.
    Leader,
    /// A caller that waited for the leader's call.
    Follower,
    /// A caller that receives a cached response, marked as such.
    #[non_exhaustive]
    Cached {
        /// The age of the response.
        age: Age,
        /// Whether the response is stale.
        stale: bool,
    },
}

impl Reader {
    /// Returns the reader of a cached response of this `age`.
    #[inline]
    pub const fn cached(age: Age, stale: bool) -> Self {
        Self::Cached { age, stale }
    }
}

/// How much of a shared response has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The body is streaming, and a new caller would receive all of it.
    Streaming,
    /// The body is streaming to its present and expected callers, and takes no new caller.
    Closed,
    /// The whole response has arrived.
    Complete,
    /// The body failed, or its beginning is no longer held. A caller that has not started to read
    /// cannot have it.
    Lost,
}
