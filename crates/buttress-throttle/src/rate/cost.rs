/// The cost of a request, in cells of a rate.
///
/// Closures `Fn(&Req) -> u32` implement this trait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not give the cost of a `{Req}`",
    note = "give the layer a closure `|request: &Request| -> u32`"
)]
#[doc(alias("permits per call", "weight"))]
pub trait Cost<Req>: Clone {
    /// Returns the number of cells that `request` takes. A request of 0 cells is never limited.
    fn cost(&self, request: &Req) -> u32;
}

/// The default cost: one cell per request.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnitCost;

#[diagnostic::do_not_recommend]
impl<Req> Cost<Req> for UnitCost {
    #[inline]
    fn cost(&self, _: &Req) -> u32 {
        1
    }
}

#[diagnostic::do_not_recommend]
impl<F, Req> Cost<Req> for F
where
    F: Fn(&Req) -> u32 + Clone,
{
    #[inline]
    fn cost(&self, request: &Req) -> u32 {
        self(request)
    }
}
