use std::{any::Any, error::Error, io};

use buttress_core::{BoxError, Rejection};

/// The error as a `dyn Error` whose chain can be walked, if its type is one this crate knows.
///
/// A blanket impl over `Error` cannot include [`BoxError`], which is none; so the types are asked
/// one by one.
pub(crate) fn view<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    let error: &dyn Any = error;
    if let Some(boxed) = error.downcast_ref::<BoxError>() {
        return Some(boxed.as_ref());
    }
    as_error::<io::Error>(error)
        .or_else(|| as_error::<Rejection>(error))
        .or_else(|| of_hyper(error))
        .or_else(|| of_reqwest(error))
        .or_else(|| of_tonic(error))
}

#[cfg(feature = "hyper")]
fn of_hyper(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    as_error::<hyper_util::client::legacy::Error>(error)
        .or_else(|| as_error::<hyper::Error>(error))
        .or_else(|| as_error::<h2::Error>(error))
}

#[cfg(not(feature = "hyper"))]
fn of_hyper(_: &dyn Any) -> Option<&(dyn Error + 'static)> {
    None
}

#[cfg(feature = "reqwest")]
fn of_reqwest(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    as_error::<reqwest::Error>(error)
}

#[cfg(not(feature = "reqwest"))]
fn of_reqwest(_: &dyn Any) -> Option<&(dyn Error + 'static)> {
    None
}

#[cfg(feature = "tonic")]
fn of_tonic(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    as_error::<tonic::Status>(error).or_else(|| as_error::<tonic::transport::Error>(error))
}

#[cfg(not(feature = "tonic"))]
fn of_tonic(_: &dyn Any) -> Option<&(dyn Error + 'static)> {
    None
}

fn as_error<T: Error + 'static>(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    error
        .downcast_ref::<T>()
        .map(|error| error as &(dyn Error + 'static))
}
