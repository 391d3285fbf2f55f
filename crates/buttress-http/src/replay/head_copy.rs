use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::CONTENT_TYPE,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};

use super::row::{Record, Records, Row};
use crate::Protocol;

/// A copy of a request's head that is cheap to make.
///
/// The first attempt owns the request, so every call needs a copy, and hardly any call reads it.
/// The target and the headers are written in a row into a buffer that calls reuse, and only a retry
/// makes an [`Uri`] and a header map of them. Cloning the map would take two allocations, and another
/// for each value that is not shared yet. Cloning the [`Uri`] would take one if it is not shared yet.
#[derive(Debug)]
pub(crate) struct HeadCopy {
    method: Method,
    version: Version,
    protocol: Protocol,
    extensions: Extensions,
    /// The target, and then a record for each header: name, value, and whether it is sensitive.
    row: Row,
}

impl HeadCopy {
    /// Copies the head. `see` receives the names of the headers, some of them twice.
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>, mut see: impl FnMut(&str)) -> Self {
        let mut protocol = None;
        let row = Row::new(|row| {
            let row = write_target(request.uri(), row)?;
            request.headers().iter().try_fold(row, |row, (name, value)| {
                // Here, because searching the headers again costs more.
                if protocol.is_none() && name == CONTENT_TYPE {
                    protocol = Some(Protocol::of_content_type(Some(value.as_bytes())));
                }
                let name = name.as_str();
                see(name);
                let (first, second) = (name.as_bytes(), value.as_bytes());
                Record { first, second, flag: value.is_sensitive() }.write(row)
            })
        });
        Self {
            method: request.method().clone(),
            version: request.version(),
            protocol: protocol.unwrap_or_default(),
            extensions: request.extensions().clone(),
            row,
        }
    }

    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) const fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) const fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Returns the first value of a header.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut records = Records(self.row.bytes());
        skip_target(&mut records);
        let name = name.as_str().as_bytes();
        records.find(|header| header.first == name).map(|header| header.second)
    }

    /// Creates a request with this head. `None` if a part of the head can no longer be parsed.
    pub(crate) fn with<B>(&self, body: B) -> Option<Request<B>> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions.clone();
        if !self.is_bare() {
            // All values share this copy of the row.
            let row = Bytes::copy_from_slice(self.row.bytes());
            let mut records = Records(&row);
            *request.uri_mut() = read_target(&row, &mut records)?;
            *request.headers_mut() = read_headers(&row, records)?;
        }
        Some(request)
    }

    /// Whether the target is `/` and there are no headers, as in a new request. Then nothing is
    /// allocated.
    fn is_bare(&self) -> bool {
        let mut records = Records(self.row.bytes());
        let target = records.next();
        target.is_some_and(|it| it.first.is_empty() && it.second == b"/" && !it.flag)
            && records.next().is_none()
    }
}

/// Writes the authority and the path. If there is a scheme, the flag is set and the scheme follows.
///
/// A missing authority and a missing path are written as empty texts.
#[inline]
fn write_target<'a>(uri: &Uri, row: &'a mut [u8]) -> Option<&'a mut [u8]> {
    let authority = uri.authority().map_or("", Authority::as_str);
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let scheme = uri.scheme_str();
    let (first, second) = (authority.as_bytes(), path.as_bytes());
    let row = Record { first, second, flag: scheme.is_some() }.write(row)?;
    match scheme {
        Some(scheme) => Record { first: scheme.as_bytes(), second: b"", flag: false }.write(row),
        None => Some(row),
    }
}

fn skip_target(records: &mut Records<'_>) {
    if records.next().is_some_and(|target| target.flag) {
        records.next();
    }
}

fn read_target(row: &Bytes, records: &mut Records<'_>) -> Option<Uri> {
    let target = records.next()?;
    let mut parts = Parts::default();
    if !target.first.is_empty() {
        parts.authority = Some(Authority::from_maybe_shared(row.slice_ref(target.first)).ok()?);
    }
    if !target.second.is_empty() {
        let path = PathAndQuery::from_maybe_shared(row.slice_ref(target.second));
        parts.path_and_query = Some(path.ok()?);
    }
    if target.flag {
        parts.scheme = Some(Scheme::try_from(records.next()?.first).ok()?);
    }
    Uri::from_parts(parts).ok()
}

fn read_headers(row: &Bytes, records: Records<'_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for header in records {
        let name = HeaderName::from_bytes(header.first).ok()?;
        let mut value = HeaderValue::from_maybe_shared(row.slice_ref(header.second)).ok()?;
        value.set_sensitive(header.flag);
        headers.append(name, value);
    }
    Some(headers)
}
