use std::{error::Error, fmt};

use crate::{Criticality, Deadline, Plain, Upload};

/// Carries a deadline and a criticality between processes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot read or write a deadline in `{Req}`",
    note = "`.http()` is for `http::Request` and `reqwest::Request`; leave it out for anything else"
)]
#[doc(alias("context propagation"))]
pub trait Propagate<Req>: Clone {
    /// Returns the deadline that `request` carries.
    fn deadline(&self, request: &Req) -> Option<Deadline>;

    /// Writes `deadline` into `request`. An earlier deadline in the request stays.
    ///
    /// # Errors
    /// [`NoTimeLeft`] if too little time is left to announce. The request is then unchanged, and
    /// must not be sent under this deadline.
    fn set_deadline(&self, request: &mut Req, deadline: Deadline) -> Result<(), NoTimeLeft>;

    /// Checks whether [`set_deadline`](Self::set_deadline) would succeed, without writing.
    ///
    /// Default: `Ok`.
    ///
    /// # Errors
    /// Those of `set_deadline`.
    fn can_set_deadline(&self, request: &Req, deadline: Deadline) -> Result<(), NoTimeLeft> {
        let _ = (request, deadline);
        Ok(())
    }

    /// Returns the criticality that `request` carries.
    ///
    /// Default: `None`.
    fn criticality(&self, request: &Req) -> Option<Criticality> {
        let _ = request;
        None
    }

    /// Writes `criticality` into `request`, in place of a former level.
    ///
    /// Default: does nothing.
    fn set_criticality(&self, request: &mut Req, criticality: Criticality) {
        let _ = (request, criticality);
    }

    /// Watches the request body on its way to the service, because the time that the caller needs
    /// to send it is not the service's. Returns `None` if the body is complete already.
    ///
    /// A streaming body may be wrapped for this. Its frames stay the same. Default: `None`.
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
