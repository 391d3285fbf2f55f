use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body;
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tower::{BoxError, Service, ServiceExt};

/// Builds the runtime of both sides. Everything runs in the thread that blocks on the runtime.
///
/// # Panics
///
/// If the system has no resources for a runtime.
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

/// Serves `service` on loopback in the background. Returns the address.
#[expect(clippy::expect_used, reason = "without a port there is nothing to measure")]
pub(crate) fn serve<S, B>(runtime: &Runtime, service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
    let listener = listener.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let service = TowerToHyperService::new(service);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream.set_nodelay(true));
            let (io, service) = (TokioIo::new(stream), service.clone());
            drop(http1::Builder::new().serve_connection(io, service).await);
        }
    });
    address
}

/// Sends `requests` requests, one after the other, and reads each response to its end.
///
/// # Panics
///
/// If a request fails, because then the count is that of something else.
#[expect(clippy::expect_used, reason = "see Panics")]
pub(crate) async fn send<S, B>(service: &mut S, requests: i64)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let request = get();
    for _ in 0..requests {
        let ready = service.ready().await.map_err(Into::into).expect("the client is ready");
        let response = ready.call(request.clone()).await.map_err(Into::into);
        let response = response.expect("the server answers");
        let length = read(response.into_body()).await.map_err(Into::into);
        assert_eq!(length.expect("the body arrives"), PAGE.len(), "another body");
    }
}

/// Returns the length of a body.
async fn read<B: Body<Data = Bytes>>(body: B) -> Result<usize, B::Error> {
    let (mut body, mut length) = (pin!(body), 0);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

/// The inner service of the server: responds with a short page.
#[derive(Clone, Debug)]
pub(crate) struct Page;

impl Service<Request<Incoming>> for Page {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        let mut page = Response::new(Full::new(Bytes::from_static(PAGE)));
        let headers = page.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(Ok(page))
    }
}

/// A small GET with the headers of a usual client.
fn get() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_static("/page?of=buttress");
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("example.org"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("buttress-benches"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    request
}

const PAGE: &[u8] = b"a short page";
