use std::{cell::RefCell, mem};

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

/// A copy of a request's head that is cheap to make.
///
/// The first attempt owns the request, so every call needs a copy, and hardly any call reads it.
/// The headers are written in a row into a buffer that calls reuse, and only a retry
/// makes a header map of them. Cloning the map would take two allocations, and another for each
/// value that is not shared yet.
#[derive(Debug)]
pub(crate) struct HeadCopy {
    method: Method,
    uri: Uri,
    version: Version,
    extensions: Extensions,
    headers: HeaderBytes,
}

impl HeadCopy {
    /// Copies the head. `see` receives the names of the headers.
    pub(crate) fn of<B>(request: &Request<B>, see: impl FnMut(&str)) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            extensions: request.extensions().clone(),
            headers: HeaderBytes::of(request.headers(), see),
        }
    }

    /// Creates a request with this head.
    pub(crate) fn with<B>(&self, body: B) -> Option<Request<B>> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions.clone();
        *request.headers_mut() = self.headers.read()?;
        Some(request)
    }
}

/// Headers as bytes: for each the lengths of its name and value, whether it is sensitive, and both
/// texts.
#[derive(Debug, Default)]
struct HeaderBytes(Vec<u8>);

impl HeaderBytes {
    fn of(headers: &HeaderMap, mut see: impl FnMut(&str)) -> Self {
        if headers.is_empty() {
            return Self::default();
        }
        let mut bytes = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let bytes = bytes.get_or_insert_default();
        for (name, value) in headers {
            let name = name.as_str();
            see(name);
            let lengths =
                Lengths { name: name.len(), value: value.len(), sensitive: value.is_sensitive() };
            bytes.extend_from_slice(&lengths.to_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        Self(mem::take(bytes))
    }

    fn read(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        // All values share this copy of the buffer.
        let mut rest = Bytes::copy_from_slice(&self.0);
        while !rest.is_empty() {
            let lengths = Lengths::read(&mut rest)?;
            let name = HeaderName::from_bytes(&take(&mut rest, lengths.name)?).ok()?;
            let mut value = HeaderValue::from_maybe_shared(take(&mut rest, lengths.value)?).ok()?;
            value.set_sensitive(lengths.sensitive);
            headers.append(name, value);
        }
        Some(headers)
    }
}

impl Drop for HeaderBytes {
    fn drop(&mut self) {
        if self.0.capacity() == 0 || self.0.capacity() > LARGEST_SPARE {
            return;
        }
        let mut bytes = mem::take(&mut self.0);
        bytes.clear();
        // If the thread is ending, the buffer is freed instead.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST_SPARE {
                spare.push(bytes);
            }
        });
    }
}

/// The prefix of a name and a value, as a single piece, because each appended piece costs a check
/// of the buffer's capacity.
struct Lengths {
    name: usize,
    value: usize,
    sensitive: bool,
}

impl Lengths {
    #[inline]
    fn to_bytes(&self) -> [u8; 2 * WORD + 1] {
        // Filled with the flag: the lengths are written over it, and the flag stays in the last
        // byte. `read` takes the parts in this order.
        let mut bytes = [u8::from(self.sensitive); 2 * WORD + 1];
        let (name, rest) = bytes.split_at_mut(WORD);
        name.copy_from_slice(&self.name.to_le_bytes());
        rest.split_at_mut(WORD).0.copy_from_slice(&self.value.to_le_bytes());
        bytes
    }

    fn read(bytes: &mut Bytes) -> Option<Self> {
        let name = read_length(bytes)?;
        let value = read_length(bytes)?;
        Some(Self { name, value, sensitive: take(bytes, 1)?.first() == Some(&1) })
    }
}

fn read_length(bytes: &mut Bytes) -> Option<usize> {
    Some(usize::from_le_bytes(take(bytes, WORD)?.as_ref().try_into().ok()?))
}

fn take(bytes: &mut Bytes, count: usize) -> Option<Bytes> {
    (count <= bytes.len()).then(|| bytes.split_to(count))
}

thread_local! {
    // Has a destructor, so `try_with` fails while the thread ends. Both borrows end before other
    // code runs, so `borrow_mut` never finds the list borrowed.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

const WORD: usize = size_of::<usize>();

/// The largest buffer that a thread keeps. With [`MOST_SPARE`] this limits the spare buffers of a
/// thread to 128 KiB.
const LARGEST_SPARE: usize = 4096;
const MOST_SPARE: usize = 32;
