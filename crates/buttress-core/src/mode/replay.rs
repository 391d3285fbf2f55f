use crate::{Attempt, Deadline, Plain, SeedHint};

/// Sends a request more than once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send a `{Req}` twice",
    label = "the request can be sent only once",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer: it keeps what the body sent",
    note = "otherwise the request must be `Clone`"
)]
pub trait Replay<Req>: Clone {
    /// The copy of a request that is kept until its last attempt.
    type Saved: Send;

    /// Prepares the first attempt, and returns the copy of the request. `None` if the request cannot
    /// be sent again.
    ///
    /// The request stays in its place, because each move of a request costs a copy. Only a streaming
    /// body is replaced, by one that records what is read.
    fn save(&self, request: &mut Req) -> Option<Self::Saved>;

    /// Returns the request for another `attempt`, or `None` if it can no longer be sent whole.
    fn again(&self, saved: &Self::Saved, attempt: Attempt) -> Option<Req>;

    /// Returns the deadline that the request carried, as
    /// [`Propagate::deadline`](crate::Propagate::deadline) does. The deadline limits all attempts
    /// together.
    ///
    /// Default: `None`.
    fn saved_deadline(&self, saved: &Self::Saved) -> Option<Deadline> {
        let _ = saved;
        None
    }

    /// Returns what `saved` tells [`Classify::seed_hinted`](crate::Classify::seed_hinted) of this
    /// mode about the request.
    ///
    /// Default: [`SeedHint::NONE`].
    #[inline]
    fn saved_hint(&self, saved: &Self::Saved) -> SeedHint {
        let _ = saved;
        SeedHint::NONE
    }

    /// Returns whether sending the request again is harmless. `answered` says whether the service
    /// itself responded to it.
    ///
    /// A request that was provably never processed is sent again without this check. Default:
    /// `true`.
    fn repeatable(&self, saved: &Self::Saved, answered: bool) -> bool {
        let _ = (saved, answered);
        true
    }
}

#[diagnostic::do_not_recommend]
impl<Req: Clone + Send> Replay<Req> for Plain {
    type Saved = Req;

    #[inline]
    fn save(&self, request: &mut Req) -> Option<Req> {
        Some(request.clone())
    }

    fn again(&self, saved: &Req, _: Attempt) -> Option<Req> {
        Some(saved.clone())
    }
}
