use buttress_core::{Rejection, Upload};
use http::{Extensions, HeaderMap, Method, StatusCode};

use self::sealed::Sealed;
use super::watched_body::watch;

/// The head of a request: [`http::Request`], and `reqwest::Request` with the feature `reqwest`.
///
/// The trait is sealed, because more methods may be added.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no head that `Http` can read",
    note = "`.http()` is for `http::Request` and, with the feature `reqwest`, for `reqwest::Request`"
)]
pub trait RequestHead: Sealed {
    /// Returns the method.
    fn method(&self) -> &Method;

    /// Returns the headers.
    fn headers(&self) -> &HeaderMap;

    /// Returns the headers to change them.
    fn headers_mut(&mut self) -> &mut HeaderMap;

    /// Returns the extensions. `None` for a request of reqwest, which has none.
    fn extensions(&self) -> Option<&Extensions>;

    /// Returns the extensions to change them.
    fn extensions_mut(&mut self) -> Option<&mut Extensions>;

    /// Watches the body on its way, as
    /// [`Propagate::watch_upload`](buttress_core::Propagate::watch_upload) does.
    ///
    /// Default: `None`.
    fn watch(&mut self) -> Option<Upload> {
        None
    }
}

/// The head of a response: [`http::Response`], and `reqwest::Response` with the feature `reqwest`.
///
/// The trait is sealed, because more methods may be added.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no head that `Http` can read",
    note = "`.http()` is for `http::Response` and, with the feature `reqwest`, for `reqwest::Response`"
)]
pub trait ResponseHead: Sealed {
    /// Returns the status.
    fn status(&self) -> StatusCode;

    /// Returns the headers.
    fn headers(&self) -> &HeaderMap;

    /// Returns the extensions.
    fn extensions(&self) -> &Extensions;

    /// Returns the extensions to change them.
    fn extensions_mut(&mut self) -> &mut Extensions;

    /// Returns the rejection of an inner layer that made this response.
    fn rejection(&self) -> Option<&Rejection>;
}

impl<B: 'static> RequestHead for http::Request<B> {
    #[inline]
    fn method(&self) -> &Method {
        self.method()
    }

    #[inline]
    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    #[inline]
    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }

    #[inline]
    fn extensions(&self) -> Option<&Extensions> {
        Some(self.extensions())
    }

    #[inline]
    fn extensions_mut(&mut self) -> Option<&mut Extensions> {
        Some(self.extensions_mut())
    }

    fn watch(&mut self) -> Option<Upload> {
        watch(self.body_mut())
    }
}

impl<B> ResponseHead for http::Response<B> {
    #[inline]
    fn status(&self) -> StatusCode {
        self.status()
    }

    #[inline]
    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    #[inline]
    fn extensions(&self) -> &Extensions {
        self.extensions()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }

    #[inline]
    fn rejection(&self) -> Option<&Rejection> {
        self.extensions().get()
    }
}

#[cfg(feature = "reqwest")]
impl RequestHead for reqwest::Request {
    fn method(&self) -> &Method {
        self.method()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }

    fn extensions(&self) -> Option<&Extensions> {
        None
    }

    fn extensions_mut(&mut self) -> Option<&mut Extensions> {
        None
    }

    fn watch(&mut self) -> Option<Upload> {
        watch(self.body_mut().as_mut()?)
    }
}

#[cfg(feature = "reqwest")]
impl ResponseHead for reqwest::Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> &Extensions {
        self.extensions()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }

    fn rejection(&self) -> Option<&Rejection> {
        self.extensions().get()
    }
}

mod sealed {
    pub trait Sealed {}

    impl<B> Sealed for http::Request<B> {}
    impl<B> Sealed for http::Response<B> {}
    #[cfg(feature = "reqwest")]
    impl Sealed for reqwest::Request {}
    #[cfg(feature = "reqwest")]
    impl Sealed for reqwest::Response {}
}
