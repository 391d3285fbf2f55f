use crate::{Attempt, Deadline, Plain};

/// How a request is sent more than once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send a `{Req}` twice",
    label = "the request can be sent only once",
    note = "for `http::Request` and `reqwest::Request`, add `.http()` to the layer: it keeps what the body sent",
    note = "otherwise the request must be `Clone`"
)]
pub trait Replay<Req>: Clone {
    /// What is kept of a request while its attempts last.
    type Saved: Send;

    /// Prepares the first attempt: the request to send, and what is kept of it. `None` means that
    /// it cannot be sent again.
    fn first(&self, request: Req) -> (Req, Option<Self::Saved>);

    /// The request for another `attempt`, or `None` if it can no longer be sent whole.
    fn again(&self, saved: &Self::Saved, attempt: Attempt) -> Option<Req>;

    /// The deadline that came with the request, as [`Propagate::deadline`](crate::Propagate::deadline) gives it. It holds
    /// for all attempts together.
    fn saved_deadline(&self, saved: &Self::Saved) -> Option<Deadline> {
        let _ = saved;
        None
    }

    /// Whether sending the request again is harmless, the service having `answered` it with a
    /// response or not. A request that was provably never processed is sent again without asking.
    fn repeatable(&self, saved: &Self::Saved, answered: bool) -> bool {
        let _ = (saved, answered);
        true
    }
}

#[diagnostic::do_not_recommend]
impl<Req: Clone + Send> Replay<Req> for Plain {
    type Saved = Req;

    #[inline]
    fn first(&self, request: Req) -> (Req, Option<Req>) {
        (request.clone(), Some(request))
    }

    fn again(&self, saved: &Req, _: Attempt) -> Option<Req> {
        Some(saved.clone())
    }
}
