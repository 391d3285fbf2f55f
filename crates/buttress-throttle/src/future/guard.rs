use buttress_core::{Criticality, Guard};

/// The permit and criticality of a call, kept with the response until its body has ended.
#[derive(Debug)]
pub struct ThrottleGuard<P> {
    // `ControlBody` drops this guard only once the inner body has ended or is gone. So the permit
    // is not free while work behind the body goes on.
    #[expect(dead_code, reason = "held for its drop")]
    permit: Option<P>,
    criticality: Criticality,
}

impl<P> ThrottleGuard<P> {
    #[inline]
    pub(crate) const fn new(permit: Option<P>, criticality: Criticality) -> Self {
        Self { permit, criticality }
    }
}

impl<P: Send + Sync + Unpin + 'static> Guard for ThrottleGuard<P> {
    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        self.criticality.with(f)
    }
}
