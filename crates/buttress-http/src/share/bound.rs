use buttress_core::BoxError;
use bytes::Bytes;
use http_body::Body;

/// A response body that several callers can read.
///
/// The trait is sealed: a blanket implementation covers every body that meets its bounds, and there
/// can be no other. Box any other body below the layer:
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::Response;
/// use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
///
/// // `Full<&[u8]>` gives out its chunk as a slice.
/// fn boxed(response: Response<Full<&'static [u8]>>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
///     response.map(|body| body.map_frame(|frame| frame.map_data(Bytes::from)).boxed_unsync())
/// }
/// # drop(boxed(Response::new(Full::new(&b"body"[..]))));
/// ```
#[diagnostic::on_unimplemented(
    message = "the response body `{Self}` cannot be read by more than one caller",
    note = "it must be `Body<Data = Bytes> + Send + Unpin + 'static` with an error that goes into a `BoxError`",
    note = "box it below the layer: `.map_response(|response: Response<_>| response.map(BodyExt::boxed_unsync))`; other chunks become `Bytes` with `BodyExt::map_frame`"
)]
pub trait ShareBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}

#[diagnostic::do_not_recommend]
impl<B> ShareBody for B where B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}
