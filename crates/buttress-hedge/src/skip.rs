/// Chooses the requests that are never hedged.
///
/// Closures `Fn(&Req) -> bool` implement this trait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether to hedge a `{Req}`",
    note = "give the layer a closure `|request: &Request| -> bool`"
)]
pub trait Skip<Req>: Clone {
    /// Returns whether `request` passes through without a hedge.
    fn skips(&self, request: &Req) -> bool;
}

/// The default of [`skip`](crate::HedgeLayer::skip): every request may be hedged.
#[derive(Clone, Copy, Debug, Default)]
pub struct SkipNone;

#[diagnostic::do_not_recommend]
impl<Req> Skip<Req> for SkipNone {
    #[inline]
    fn skips(&self, _: &Req) -> bool {
        false
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req> Skip<Req> for F
where
    F: Fn(&Req) -> bool + Clone,
{
    #[inline]
    fn skips(&self, request: &Req) -> bool {
        self(request)
    }
}
