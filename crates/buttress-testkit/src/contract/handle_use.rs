use std::fmt;

/// How a service is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandleUse {
    /// One handle is kept, and all calls are made on it.
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
