//! Responses before and after a store.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use buttress_core::{ByteBudget, Codec, Reader, Share};
use buttress_http::Http;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, response::Parts};
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

pub(crate) type Upstream = UnsyncBoxBody<Bytes, std::convert::Infallible>;
pub(crate) type Shared = <Http as Share<Response<Upstream>>>::Shared;

/// A body without trailers states its size. A body with trailers states none.
pub(crate) fn body(data: impl Into<Bytes>, trailers: Option<HeaderMap>) -> Upstream {
    let body = Full::new(data.into());
    match trailers {
        None => body.boxed_unsync(),
        // `map_frame` drops the size.
        Some(trailers) => {
            body.with_trailers(async { Some(Ok(trailers)) }).map_frame(|frame| frame).boxed_unsync()
        }
    }
}

/// The response as a cache holds it, after a caller has read it.
pub(crate) fn stored<Res>(response: Res) -> <Http as Share<Res>>::Shared
where
    Http: Share<Res>,
{
    let http = Http::new();
    let budget = Arc::new(ByteBudget::new(usize::MAX));
    let shared = http.share(response, &budget).ok().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(pin!(http.finish(&shared)).poll(&mut cx), Poll::Ready(()));
    http.for_cache(&shared)
}

pub(crate) fn encode<T>(http: &Http, shared: &T) -> Option<Vec<u8>>
where
    Http: Codec<T>,
{
    encode_at_most(http, shared, usize::MAX)
}

pub(crate) fn encode_at_most<T>(http: &Http, shared: &T, max: usize) -> Option<Vec<u8>>
where
    Http: Codec<T>,
{
    let mut bytes = Vec::new();
    http.encode(shared, &mut bytes, max).then_some(bytes)
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Shared> {
    Http::new().decode(Bytes::copy_from_slice(bytes))
}

/// All that a caller sees of a response.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    /// In their order.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) frames: Vec<Frame>,
    /// Before each frame and after the last: the least and the most that is left.
    pub(crate) sizes: Vec<(u64, Option<u64>)>,
    pub(crate) is_over: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    Data(Bytes),
    Trailers(Vec<(HeaderName, HeaderValue)>),
}

pub(crate) fn see(shared: &Shared) -> Seen {
    let response = Share::<Response<Upstream>>::restore(&Http::new(), shared, Reader::Follower);
    let (Parts { status, version, headers, .. }, mut body) = response.into_parts();
    let bounds = |hint: SizeHint| (hint.lower(), hint.upper());
    let mut sizes = vec![bounds(body.size_hint())];
    let mut frames = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while !body.is_end_stream() {
        let Poll::Ready(frame) = pin!(&mut body).poll_frame(&mut cx) else { break };
        let frame = frame.unwrap().unwrap();
        frames.push(match frame.into_data() {
            Ok(data) => Frame::Data(data),
            Err(frame) => Frame::Trailers(in_order(&frame.into_trailers().unwrap())),
        });
        sizes.push(bounds(body.size_hint()));
    }
    let is_over = matches!(pin!(&mut body).poll_frame(&mut cx), Poll::Ready(None));
    Seen { status, version, headers: in_order(&headers), frames, sizes, is_over }
}

pub(crate) fn in_order(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(crate) fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

/// A response with two values of a name, an odd byte and a trailer.
pub(crate) fn sample() -> Response<Upstream> {
    let mut response = Response::new(body("body", Some(headers(&[("checksum", "4")]))));
    *response.status_mut() = StatusCode::NOT_FOUND;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = headers(&[("vary", "accept"), ("etag", "\"1\""), ("vary", "")]);
    response.headers_mut().append("x-odd", HeaderValue::from_bytes(b"\xff").unwrap());
    response
}
