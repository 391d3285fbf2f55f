use buttress_core::{Judge, Verdict};

/// The judge of limits that do not learn from outcomes. Accepts outcomes of any type.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoreOutcome;

#[diagnostic::do_not_recommend]
impl<M, Req, Res, E> Judge<M, Req, Res, E> for IgnoreOutcome {
    type Seed = ();

    #[inline]
    fn seed(&self, _: &M, _: &Req) {}

    #[inline]
    fn judge(&self, _: &M, (): &(), _: Result<&Res, &E>) -> Verdict {
        Verdict::Success
    }
}
