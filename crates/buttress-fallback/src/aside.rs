use std::pin::Pin;

use tower_service::Service;

use crate::held_outcome::HeldOutcome;

/// What a call keeps beside the future of the inner service. Nothing, for the usual call.
///
/// Boxed inside, so that the usual call has room for two words only.
pub(crate) struct Aside<S: Service<Req>, Req, W>(Option<Kept<S, Req, W>>);

pub(crate) enum Kept<S: Service<Req>, Req, W> {
    /// The service that becomes ready, under `await_ready`, and the request.
    Readying(Box<(S, Req)>),
    /// The first outcome, while the alternative service runs.
    Held(Pin<Box<HeldOf<S, Req, W>>>),
}

pub(crate) type HeldOf<S, Req, W> =
    HeldOutcome<<S as Service<Req>>::Response, <S as Service<Req>>::Error, W>;

impl<S: Service<Req>, Req, W> Aside<S, Req, W> {
    pub(crate) const NOTHING: Self = Self(None);

    /// What a call keeps that waits for the readiness of `service`.
    #[cold]
    pub(crate) fn readying(service: S, request: Req) -> Self {
        Self::new(Kept::Readying(Box::new((service, request))))
    }

    #[inline]
    pub(crate) const fn new(kept: Kept<S, Req, W>) -> Self {
        Self(Some(kept))
    }

    #[inline]
    pub(crate) fn get(&mut self) -> Option<&mut Kept<S, Req, W>> {
        self.0.as_mut()
    }

    pub(crate) fn take(&mut self) -> Option<Kept<S, Req, W>> {
        self.0.take()
    }
}

impl<S: Service<Req>, Req, W> Drop for Aside<S, Req, W> {
    // The drop glue would be a call, which saves registers before it tests for `None`.
    #[inline]
    fn drop(&mut self) {
        if let Some(kept) = self.0.take() {
            discard(kept);
        }
    }
}

#[cold]
fn discard<S: Service<Req>, Req, W>(kept: Kept<S, Req, W>) {
    drop(kept);
}
