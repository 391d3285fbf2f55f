use buttress_core::{Blend, Degraded};
use http::{HeaderMap, HeaderValue};
use http_body_util::Either;

use crate::Http;

/// The body is that of the service, or that of the response in its place. [`Degraded`] is in the
/// extensions of the latter, and [`Http::fallback_header`] in its headers. Status and other headers
/// stay as they are.
impl<A, B> Blend<http::Response<A>, http::Response<B>> for Http {
    type Response = http::Response<Either<A, B>>;

    #[inline]
    fn own(&self, response: http::Response<A>) -> Self::Response {
        response.map(Either::Left)
    }

    fn other(&self, response: http::Response<B>, degraded: Degraded) -> Self::Response {
        self.mark(response, degraded).map(Either::Right)
    }
}

/// As for [`http::Response`]. A response in place of the service's has the URL that
/// `ResponseBuilderExt::url` of reqwest gave it, and otherwise reqwest's placeholder, because the
/// URL of the request is gone.
#[cfg(feature = "reqwest")]
impl<B: Into<reqwest::Body>> Blend<reqwest::Response, http::Response<B>> for Http {
    type Response = reqwest::Response;

    #[inline]
    fn own(&self, response: reqwest::Response) -> reqwest::Response {
        response
    }

    fn other(&self, response: http::Response<B>, degraded: Degraded) -> reqwest::Response {
        self.mark(response, degraded).into()
    }
}

#[cfg(feature = "reqwest")]
impl Blend<reqwest::Response, reqwest::Response> for Http {
    type Response = reqwest::Response;

    #[inline]
    fn own(&self, response: reqwest::Response) -> reqwest::Response {
        response
    }

    fn other(&self, mut response: reqwest::Response, degraded: Degraded) -> reqwest::Response {
        response.extensions_mut().insert(degraded);
        self.write_fallback_header(response.headers_mut());
        response
    }
}

impl Http {
    fn mark<B>(&self, mut response: http::Response<B>, degraded: Degraded) -> http::Response<B> {
        response.extensions_mut().insert(degraded);
        self.write_fallback_header(response.headers_mut());
        response
    }

    fn write_fallback_header(&self, headers: &mut HeaderMap) {
        if let Some(name) = &self.options().fallback_header {
            headers.insert(name.clone(), HeaderValue::from_static(FALLBACK));
        }
    }
}

const FALLBACK: &str = "fallback";
