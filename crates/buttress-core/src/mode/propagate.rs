use std::{error::Error, fmt};

use crate::{Criticality, Deadline, Plain, Upload};

/// How a deadline and a criticality cross to and from another process.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot read or write a deadline in `{Req}`",
    note = "`.http()` is for `http::Request` and `reqwest::Request`; leave it out for anything else"
)]
#[doc(alias("context propagation"))]
pub trait Propagate<Req>: Clone {
    /// The deadline that came with `request`.
    fn deadline(&self, request: &Req) -> Option<Deadline>;

    /// Sends `deadline` along with `request`. It never extends one that is there already.
    ///
    /// # Errors
    /// [`NoTimeLeft`] if too little time is left to announce. The request is then left as it was, and
    /// must not be sent under this deadline.
    fn set_deadline(&self, request: &mut Req, deadline: Deadline) -> Result<(), NoTimeLeft>;

    /// Whether [`set_deadline`](Self::set_deadline) would succeed, without writing.
    ///
    /// # Errors
    /// Those of `set_deadline`.
    fn can_set_deadline(&self, request: &Req, deadline: Deadline) -> Result<(), NoTimeLeft> {
        let _ = (request, deadline);
        Ok(())
    }

    /// The criticality that came with `request`.
    fn criticality(&self, request: &Req) -> Option<Criticality> {
        let _ = request;
        None
    }

    /// Sends `criticality` along with `request`, in place of one that is there already.
    fn set_criticality(&self, request: &mut Req, criticality: Criticality) {
        let _ = (request, criticality);
    }

    /// Watches the body of `request` on its way to the service, because the time its caller needs to send it
    /// is not the service's. Returns `None` if the body is there already.
    ///
    /// A body that comes bit by bit may be wrapped for it, and what is read of it stays the same. Default:
    /// `None`.
    fn watch_upload(&self, request: &mut Req) -> Option<Upload> {
        let _ = request;
        None
    }
}

#[diagnostic::do_not_recommend]
impl<Req> Propagate<Req> for Plain {
    #[inline]
    fn deadline(&self, _: &Req) -> Option<Deadline> {
        None
    }

    #[inline]
    fn set_deadline(&self, _: &mut Req, _: Deadline) -> Result<(), NoTimeLeft> {
        Ok(())
    }
}

/// The time left until a deadline is too short to announce to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTimeLeft;

impl fmt::Display for NoTimeLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no time is left before the deadline")
    }
}

impl Error for NoTimeLeft {}
