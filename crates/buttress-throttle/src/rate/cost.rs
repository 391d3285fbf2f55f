/// How many cells of a rate a request takes.
///
/// Closures `Fn(&Req) -> u32` implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how much a `{Req}` weighs",
    note = "give the layer a closure `|request: &Request| -> u32`"
)]
pub trait Weigh<Req>: Clone {
    /// The weight of `request`; zero is never limited.
    fn weight(&self, request: &Req) -> u32;
}

/// Every request takes one cell.
#[derive(Clone, Copy, Debug, Default)]
pub struct One;

#[diagnostic::do_not_recommend]
impl<Req> Weigh<Req> for One {
    #[inline]
    fn weight(&self, _: &Req) -> u32 {
        1
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req> Weigh<Req> for F
where
    F: Fn(&Req) -> u32 + Clone,
{
    #[inline]
    fn weight(&self, request: &Req) -> u32 {
        self(request)
    }
}
