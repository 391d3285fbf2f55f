use crate::Plain;

/// How a response itself tells a retry what only its type knows.
///
/// A mark that travels in the response belongs to that response alone. The ambient mark of
/// [`Signals`](crate::Signals) belongs to the poll, so a call that a handler makes on the side can leave
/// it too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot mark a `{Res}`",
    note = "`.http()` is for `http::Response` and `reqwest::Response`; leave it out for anything else"
)]
pub trait MarkGaveUp<Res>: Clone {
    /// Marks `response` as one that a retry gave up on. `false` if it cannot carry the mark.
    fn mark_gave_up(&self, response: &mut Res) -> bool {
        let _ = response;
        false
    }

    /// Whether `response` carries the mark, or `None` if it cannot.
    fn is_marked(&self, response: &Res) -> Option<bool> {
        let _ = response;
        None
    }

    /// Whether `response` holds nothing: no connection, no permit. A retry can then keep it while it
    /// waits.
    fn is_bare(&self, response: &Res) -> bool {
        let _ = response;
        false
    }
}

#[diagnostic::do_not_recommend]
impl<Res> MarkGaveUp<Res> for Plain {}
