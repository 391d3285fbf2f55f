use std::fmt;

/// The handle that calls are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandleUse {
    /// All calls are made on the same handle.
    LongLived,
    /// Each call is made on a clone, which is dropped with the call.
    PerCall,
}

impl fmt::Display for HandleUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LongLived => "on a long-lived handle",
            Self::PerCall => "on a clone per call",
        })
    }
}
