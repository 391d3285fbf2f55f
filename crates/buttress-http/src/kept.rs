use std::time::Duration;

use http::{Extensions, HeaderMap};

/// Tells whoever gets a kept response that it is one.
pub(crate) fn mark_kept(_: &mut HeaderMap, _: &mut Extensions, _: Duration, _: bool) {}
