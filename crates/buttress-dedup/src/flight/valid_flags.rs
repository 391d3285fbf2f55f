use crate::cache::ValidFlag;

/// The flags of the results that may be cached.
pub(crate) struct ValidFlags {
    pub(crate) own: Option<ValidFlag>,
    /// The flag of the replaced flight, whose result may be cached until this flight ends.
    pub(crate) older: Option<ValidFlag>,
}
