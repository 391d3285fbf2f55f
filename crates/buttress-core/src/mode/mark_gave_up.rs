use crate::Plain;

/// Marks a response that a retry gave up on, so that outer retries make no further attempt.
///
/// A mark in the response belongs to that response alone. The ambient [`Signals`](crate::Signals)
/// belong to the poll, so a call that a handler makes on the side can raise them too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot mark a `{Res}`",
    note = "`.http()` is for `http::Response` and `reqwest::Response`; leave it out for anything else"
)]
pub trait MarkGaveUp<Res>: Clone {
    /// Marks `response` as given up by a retry. Returns `false` if the response cannot carry the
    /// mark.
    ///
    /// Default: `false`.
    fn mark_gave_up(&self, response: &mut Res) -> bool {
        let _ = response;
        false
    }

    /// Returns whether `response` carries the mark, or `None` if its type cannot.
    ///
    /// Default: `None`.
    fn is_marked(&self, response: &Res) -> Option<bool> {
        let _ = response;
        None
    }

    /// Returns whether `response` holds no resource, such as a connection or a permit. A retry can
    /// then keep it during the backoff.
    ///
    /// Default: `false`.
    fn is_bare(&self, response: &Res) -> bool {
        let _ = response;
        false
    }
}

#[diagnostic::do_not_recommend]
impl<Res> MarkGaveUp<Res> for Plain {}
