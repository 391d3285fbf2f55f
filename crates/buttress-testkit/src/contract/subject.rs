use tower_service::Service;

use self::sealed::Sealed;
use crate::{Dialect, Heard, Understand};

/// A service that can be checked in the dialect `D`.
///
/// Every `Clone` service is one if it takes the dialect's requests and the dialect
/// [understands](Understand) its outcomes. The trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be checked by `contract(..)` in the dialect `{D}`",
    note = "the layer's service must be `Clone`, take the dialect's requests, and return what the dialect can `Understand`",
    note = "for a layer of a protocol, give the contract a `.dialect(..)` of your own"
)]
pub trait Subject<D: Dialect>:
    Service<<D as Dialect>::Request> + Clone + Sealed<D, Self::Response, Self::Error>
{
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
}

mod sealed {
    use super::{Dialect, Heard, Understand};

    pub trait Sealed<D, Response, Error> {
        /// Returns the meaning of `outcome` in `dialect`.
        fn understand(dialect: &D, outcome: Result<Response, Error>) -> Heard;
    }

    #[diagnostic::do_not_recommend]
    impl<D, S, Response, Error> Sealed<D, Response, Error> for S
    where
        D: Dialect + Understand<Response, Error>,
    {
        fn understand(dialect: &D, outcome: Result<Response, Error>) -> Heard {
            dialect.understand(outcome)
        }
    }
}
