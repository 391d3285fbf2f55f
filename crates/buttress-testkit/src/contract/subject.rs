use tower_service::Service;

use crate::{Dialect, Heard, Understand};

/// A service that can be checked in the dialect `D`: every `Clone` one whose outcomes the dialect
/// [understands](Understand).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be checked by `contract(..)` in the dialect `{D}`",
    note = "the layer's service must be `Clone`, take the dialect's requests, and return what the dialect can `Understand`",
    note = "for a layer of a protocol, give the contract a `.dialect(..)` of your own"
)]
pub trait Subject<D: Dialect>: Service<<D as Dialect>::Request> + Clone {
    /// What `outcome` says in `dialect`.
    fn understand(dialect: &D, outcome: Result<Self::Response, Self::Error>) -> Heard;
}

#[diagnostic::do_not_recommend]
impl<D, S> Subject<D> for S
where
    D: Dialect,
    S: Service<<D as Dialect>::Request> + Clone,
    D: Understand<
            <S as Service<<D as Dialect>::Request>>::Response,
            <S as Service<<D as Dialect>::Request>>::Error,
        >,
{
    fn understand(dialect: &D, outcome: Result<Self::Response, Self::Error>) -> Heard {
        <D as Understand<_, _>>::understand(dialect, outcome)
    }
}
