use std::sync::Arc;

use buttress_core::{
    BoxError, ByteBudget, Classify, Guard, KeyOf, Plain, Reader, Rejection, Respond, Share, Verdict,
};

/// A mode whose responses must not be shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Private;

impl KeyOf<u32> for Private {
    type Key = u32;

    fn key(&self, n: &u32) -> Option<u32> {
        Some(*n)
    }
}

impl<R: Clone + Send + Sync + 'static> Share<R> for Private {
    type Shared = R;
    type Response = R;
    type Finish = std::future::Ready<()>;

    fn share(&self, response: R, _: &Arc<ByteBudget>) -> Result<R, R> {
        Err(response)
    }

    fn own(&self, response: R) -> R {
        response
    }

    fn restore(&self, shared: &R, _: Reader) -> R {
        shared.clone()
    }

    fn finish(&self, _: &R) -> Self::Finish {
        std::future::ready(())
    }
}

impl<R> Respond<u32, R, BoxError> for Private {
    type Seed = ();
    type Response<G: Guard> = R;

    fn seed(&self, _: &u32) {}

    fn admit<G: Guard>(&self, (): (), response: R, _: Option<G>) -> R {
        response
    }

    fn reject<G: Guard>(&self, (): (), why: Rejection) -> Result<R, BoxError> {
        Err(why.into())
    }
}

impl<R> Classify<u32, R, BoxError> for Private {
    type Seed = ();

    fn seed(&self, _: &u32) {}

    fn classify(&self, (): &(), outcome: Result<&R, &BoxError>) -> Verdict {
        Classify::<u32, _, _>::classify(&Plain, &(), outcome)
    }
}
