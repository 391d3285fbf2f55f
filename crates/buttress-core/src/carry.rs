use crate::{Deadline, Plain};

/// How a deadline crosses to and from another process.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot read or write a deadline in `{Req}`",
    note = "`.http()` is for `http::Request` and `reqwest::Request`; leave it out for anything else"
)]
pub trait Carry<Req>: Clone {
    /// The deadline that came with `request`.
    fn read(&self, request: &Req) -> Option<Deadline>;

    /// Sends `deadline` along with `request`. It never extends one that is there already.
    fn write(&self, request: &mut Req, deadline: Deadline);
}

#[diagnostic::do_not_recommend]
impl<Req> Carry<Req> for Plain {
    #[inline]
    fn read(&self, _: &Req) -> Option<Deadline> {
        None
    }

    #[inline]
    fn write(&self, _: &mut Req, _: Deadline) {}
}
