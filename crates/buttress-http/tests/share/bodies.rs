//! The bodies that can be shared. Compiling is the test.

use buttress_core::{BoxError, Share};
use buttress_http::{Http, SharedBody};
use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::{
    Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

#[test]
fn bodies_in_use_can_be_shared_and_sent_on() {
    can_be_shared::<Full<Bytes>>();
    can_be_shared::<Empty<Bytes>>();
    can_be_shared::<UnsyncBoxBody<Bytes, BoxError>>();
    can_be_shared::<UnsyncBoxBody<Bytes, std::convert::Infallible>>();
    can_be_shared::<BoxBody<Bytes, std::io::Error>>();
    #[cfg(feature = "axum")]
    can_be_shared::<axum_core::body::Body>();
    #[cfg(feature = "tonic")]
    can_be_shared::<tonic::body::Body>();
    #[cfg(feature = "hyper")]
    can_be_shared::<hyper::body::Incoming>();
    #[cfg(feature = "reqwest")]
    can_be_shared::<reqwest::Body>();
}

fn can_be_shared<B>()
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
    Http: Share<Response<B>, Response = Response<SharedBody<B>>>,
{
    fn can_be_sent<B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static>() {}
    can_be_sent::<SharedBody<B>>();
    // A layer above may share it again.
    can_be_sent::<SharedBody<SharedBody<B>>>();
}
