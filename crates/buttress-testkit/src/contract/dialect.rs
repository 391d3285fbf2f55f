use std::{error::Error, fmt};

use buttress_core::BoxError;

/// The requests, responses and errors that [`contract`](crate::contract) uses, each of which
/// carries a number.
pub trait Dialect: Send + Sync + 'static {
    /// The requests of the service.
    type Request: 'static;

    /// The responses of the service.
    type Response: 'static;

    /// The errors of the service.
    type Error: 'static;

    /// Returns the request with `number`. Requests with different numbers must be different for the
    /// layer.
    fn request(&self, number: u32) -> Self::Request;

    /// Answers `request` with a response that carries its number.
    fn answer(request: Self::Request) -> Self::Response;

    /// Fails `request` with an outcome that carries its number: an error, or a failure response if
    /// the protocol has no errors.
    fn fail(request: Self::Request) -> Result<Self::Response, Self::Error>;
}

/// Reads the outcomes that a layer returns, for [`contract`](crate::contract).
///
/// This trait is separate from [`Dialect`], because a layer may have a response type of its own.
pub trait Understand<Response, Error>: Dialect {
    /// Returns the meaning of `outcome`.
    fn understand(&self, outcome: Result<Response, Error>) -> Heard;
}

/// The meaning of an outcome, as a [`Dialect`] understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// The service's answer to the request with this number, unchanged.
    Answer(u32),
    /// The service's failure of the request with this number, unchanged.
    Failure(u32),
    /// Any other outcome: a rejection, or a changed answer. The text appears in the message of a
    /// failed check.
    Other(String),
}

/// The default dialect of [`contract`](crate::contract): requests are `u32`, responses [`Answer`],
/// and errors [`BoxError`] with a [`Failure`] inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers;

impl Dialect for Numbers {
    type Request = u32;
    type Response = Answer;
    type Error = BoxError;

    fn request(&self, number: u32) -> u32 {
        number
    }

    fn answer(request: u32) -> Answer {
        Answer(request)
    }

    fn fail(request: u32) -> Result<Answer, BoxError> {
        Err(Box::new(Failure(request)))
    }
}

impl<E: Into<BoxError>> Understand<Answer, E> for Numbers {
    fn understand(&self, outcome: Result<Answer, E>) -> Heard {
        match outcome.map_err(E::into) {
            Ok(Answer(number)) => Heard::Answer(number),
            Err(error) => match error.downcast_ref() {
                Some(Failure(number)) => Heard::Failure(*number),
                None => Heard::Other(error.to_string()),
            },
        }
    }
}

/// The answer to the request with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer(pub u32);

/// The failure of the request with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failure(pub u32);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {} failed", self.0)
    }
}

impl Error for Failure {}
