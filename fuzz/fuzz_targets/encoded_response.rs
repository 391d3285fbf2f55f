//! Fuzzes the bytes of cached responses: any bytes are a miss, or a response that is written as the same bytes and can
//! be read to its end.
#![no_main]

use std::{
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_core::{Codec, Reader, Share};
use buttress_http::Http;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use libfuzzer_sys::fuzz_target;

type Upstream = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Shared = <Http as Share<Upstream>>::Shared;

fuzz_target!(|bytes: &[u8]| {
    let http = Http::new();
    let Some(read): Option<Shared> = http.decode(Bytes::copy_from_slice(bytes)) else { return };
    let mut again = Vec::new();
    assert!(http.encode(&read, &mut again, bytes.len()), "what was read can be written");
    assert_eq!(again, bytes);
    read_to_the_end(&read);
});

fn read_to_the_end(shared: &Shared) {
    let response = Share::<Upstream>::restore(&Http::new(), shared, Reader::Follower);
    let mut body = response.into_body();
    let mut cx = Context::from_waker(Waker::noop());
    // The data and the trailers.
    for _ in 0..2 {
        let _ = body.size_hint();
        match pin!(&mut body).poll_frame(&mut cx) {
            Poll::Ready(None) => break,
            frame => assert!(matches!(frame, Poll::Ready(Some(Ok(_))))),
        }
    }
    assert!(body.is_end_stream());
}
