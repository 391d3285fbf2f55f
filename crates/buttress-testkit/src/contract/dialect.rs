use std::{error::Error, fmt};

use buttress_core::BoxError;

/// How [`contract`](crate::contract) speaks to the service under a layer: in requests, responses and
/// errors that each bear a number.
pub trait Dialect: Send + Sync + 'static {
    /// The service's requests.
    type Request: 'static;

    /// The service's responses.
    type Response: 'static;

    /// The service's errors.
    type Error: 'static;

    /// The request that bears `number`. Requests of different numbers are different to the layer.
    fn request(&self, number: u32) -> Self::Request;

    /// Answers `request` with a response that bears its number.
    fn answer(request: Self::Request) -> Self::Response;

    /// Fails `request` with an outcome that bears its number: an error, or where the protocol has
    /// none a response that says so.
    fn fail(request: Self::Request) -> Result<Self::Response, Self::Error>;
}

/// How [`contract`](crate::contract) reads what a layer returns.
///
/// It is apart from [`Dialect`], because a layer may have a response type of its own.
pub trait Understand<Response, Error>: Dialect {
    /// What `outcome` says.
    fn understand(&self, outcome: Result<Response, Error>) -> Heard;
}

/// What an outcome says, as a [`Dialect`] understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// The service's answer to the request of this number, unchanged.
    Answer(u32),
    /// The service's failure of the request of this number, unchanged.
    Failure(u32),
    /// Anything else: a rejection, or something that was changed on its way. The text is shown when
    /// a check fails.
    Other(String),
}

/// The dialect of [`contract`](crate::contract) unless told otherwise: requests are `u32`, responses
/// [`Answer`], errors [`BoxError`] with a [`Failure`] inside.
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

/// The answer to the request of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer(pub u32);

/// The failure of the request of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failure(pub u32);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {} failed", self.0)
    }
}

impl Error for Failure {}
