/// Swaps the mode of a layer. `.http()` is `bind(Http::new())`.
///
/// The layer's state goes along: both handles speak of the same limits and counts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer that can take the mode `{M}`",
    note = "`.http()` belongs on a layer of buttress, before it wraps a service"
)]
pub trait Bind<M> {
    /// The layer in its new mode.
    type Bound;

    /// The layer in the mode `mode`.
    fn bind(self, mode: M) -> Self::Bound;
}
