use crate::cache::ValidFlag;

/// What says that answers may be kept.
pub(crate) struct ValidFlags {
    pub(crate) own: Option<ValidFlag>,
    /// That of the flight it came in place of, which may have its answer kept until this one ends.
    pub(crate) older: Option<ValidFlag>,
}
