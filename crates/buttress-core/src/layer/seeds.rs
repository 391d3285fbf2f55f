use crate::{Judge, Respond};

/// Returns the seeds of `request`: what `mode` needs to respond, and what `judge` needs to judge.
///
/// For use before the request goes to the inner service, because the request is gone when the
/// outcome is known. The first seed belongs to [`Respond::admit`] or [`Respond::reject`], the
/// second to [`Judge::judge`].
#[inline]
pub fn seeds<M, J, Req, Res, E>(mode: &M, judge: &J, request: &Req) -> (M::Seed, J::Seed)
where
    M: Respond<Req, Res, E>,
    J: Judge<M, Req, Res, E>,
{
    let seed = mode.seed(request);
    let hint = mode.hint(&seed);
    (seed, judge.seed_hinted(mode, request, hint))
}
