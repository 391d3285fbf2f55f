use http::{Extensions, HeaderMap, StatusCode};

use crate::mode::Options;

/// Whether a response with this head may be given to more than one caller.
pub(crate) fn may_be_shared(_: &Options, _: StatusCode, _: &HeaderMap, _: &Extensions) -> bool {
    true
}
