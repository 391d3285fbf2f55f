use std::{
    future::{Ready, ready},
    mem::size_of,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{ByteBudget, Plain};

/// How one response is given to many callers.
///
/// A response of a protocol may have a body that is still on its way when its head is shared. Then
/// [`progress`](Self::progress) says how far it is, and each caller's response pulls it along.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot give a `{Res}` to more than one caller",
    note = "for `http::Response` and `reqwest::Response`, add `.http()` to the layer",
    note = "otherwise the response must be `Clone`"
)]
pub trait Share<Res>: Clone {
    /// The response in a form that many can hold.
    type Shared: Clone + Send + Sync + 'static;

    /// The response each caller gets, before a layer's guard is tied to it by
    /// [`Respond`](crate::Respond).
    type Response;

    /// Fetches the rest of a response that nobody reads.
    type Finish: Future<Output = ()> + Send + 'static;

    /// Whether a response has no rest that comes later. Where it has none, one that nobody waits for
    /// is handed on as it is.
    const IS_COMPLETE: bool = true;

    /// Takes a response to share. `Err` gives back one that must have a single caller.
    fn share(&self, response: Res, allowance: &Arc<ByteBudget>) -> Result<Self::Shared, Res>;

    /// A response that has a single caller, for that caller.
    fn own(&self, response: Res) -> Self::Response;

    /// One caller's own response.
    fn restore(&self, shared: &Self::Shared, reader: Reader) -> Self::Response;

    /// How much of the response is there.
    fn progress(&self, shared: &Self::Shared) -> Progress {
        let _ = shared;
        Progress::Complete
    }

    /// Says that so many more `callers` wait for the response: all that are there, before the first of them
    /// is given it, and after that each that joins.
    ///
    /// A body that is read by some and not yet by others may wait for those a little.
    fn expect_callers(&self, shared: &Self::Shared, callers: usize) {
        let _ = (shared, callers);
    }

    /// Nobody wants the response any more: what is still on its way is given up.
    fn abandon(&self, shared: &Self::Shared) {
        let _ = shared;
    }

    /// Fetches the rest of the response, for nobody but those who come later.
    fn finish(&self, shared: &Self::Shared) -> Self::Finish;

    /// A whole response to be kept for later callers, with nothing about it that belongs to the
    /// callers of now.
    fn for_cache(&self, shared: &Self::Shared) -> Self::Shared {
        shared.clone()
    }

    /// How much a whole response takes, in bytes.
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

/// Who a response is restored for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reader {
    /// The caller whose request brought it about.
    Leader,
    /// Another one who waited for it.
    Follower,
    /// One who gets a kept response, and is told so.
    #[non_exhaustive]
    Cached {
        /// How long ago it was made.
        age: Age,
        /// Whether it has outlived its time, and is better than none.
        stale: bool,
    },
}

impl Reader {
    /// Returns the reader of a cached response of this `age`. `stale` says that the response has
    /// outlived its lifetime.
    #[inline]
    pub const fn cached(age: Age, stale: bool) -> Self {
        Self::Cached { age, stale }
    }
}

/// How old a kept response is. Taking the time is left to whoever wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    before: Duration,
    made: Instant,
}

impl Age {
    /// The age of a response that was there at `made`, and had that much `before` it already.
    pub const fn new(before: Duration, made: Instant) -> Self {
        Self { before, made }
    }

    /// The age by now.
    pub fn by_now(&self) -> Duration {
        self.before.saturating_add(self.made.elapsed())
    }
}

/// How much of a shared response is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The rest is on its way, and a new caller would get all of it.
    Streaming,
    /// The rest is on its way to those who are there or wait for it. It takes no new caller.
    Closed,
    /// All of it is there.
    Complete,
    /// It failed on its way, or its beginning is not held any more: a caller that has not begun with it
    /// must do without.
    Lost,
}
