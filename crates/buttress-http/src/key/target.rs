use std::borrow::Cow;

use http::{HeaderMap, Uri, header::HOST};

use super::stable_hash::StableHash;

/// The target of a request, without a fragment, which a server never sees.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) scheme: &'a str,
    /// `user:password@`, or empty.
    pub(crate) userinfo: &'a str,
    /// `host` or `host:port`, unchanged. Empty in a request that came in over HTTP/1, where `Host`
    /// names it.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(crate) fn of(uri: &'a Uri) -> Self {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Self::new(uri.scheme_str().unwrap_or_default(), authority, uri.path(), uri.query())
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn of_url(url: &'a reqwest::Url) -> Self {
        Self::new(url.scheme(), url.authority(), url.path(), url.query())
    }

    fn new(scheme: &'a str, authority: &'a str, path: &'a str, query: Option<&'a str>) -> Self {
        let at = authority.rfind('@').map_or(0, |at| at.saturating_add(1));
        let (userinfo, host) = authority.split_at_checked(at).unwrap_or(("", authority));
        Self { scheme, userinfo, host, path, query }
    }

    /// A hash of the resource: the host and the path with its query, in any spelling. `Host` names
    /// the host if the URI does not.
    pub(crate) fn resource(&self, headers: &HeaderMap) -> u64 {
        let host = match self.host {
            "" => headers.get(HOST).map_or(&[][..], |host| host.as_bytes()),
            host => host.as_bytes(),
        };
        resource(host, self.path.as_bytes(), self.query.map(str::as_bytes))
    }
}

/// A hash of the resource in any spelling.
///
/// A server may not know the scheme, and an unsafe request must still find the resource that it
/// changes. So the ports of both schemes count as none, upper case as lower case, and `%41` as `A`.
///
/// The hash is the same in every process and every version, because a fleet invalidates by it. So a client
/// can choose targets that collide. A collision costs calls, because more is invalidated than was changed.
pub(crate) fn resource(host: &[u8], path: &[u8], query: Option<&[u8]>) -> u64 {
    let mut ports = [&b":80"[..], b":443", b":"].into_iter();
    let host = ports.find_map(|port| host.strip_suffix(port)).unwrap_or(host);
    let mut hash = StableHash::new();
    for byte in host {
        hash.write(byte.to_ascii_lowercase());
    }
    decoded(path).iter().for_each(|byte| hash.write(*byte));
    if let Some(query) = query {
        hash.write(b'?');
        decoded(query).iter().for_each(|byte| hash.write(*byte));
    }
    hash.finish()
}

/// The bytes that `text` stands for. That `%2F` counts as `/` does no harm: a resource that is
/// invalidated without need is fetched once more.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = if *byte == b'%' { escaped(after) } else { None };
        let (byte, after) = escaped.unwrap_or((*byte, after));
        bytes.push(byte);
        rest = after;
    }
    Cow::Owned(bytes)
}

/// The byte that two digits stand for, and the text after them.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], after) = text.split_first_chunk()?;
    let digit = |digit: u8| char::from(digit).to_digit(16)?.try_into().ok();
    let (high, low): (u8, u8) = (digit(*high)?, digit(*low)?);
    Some(((high << 4) | low, after))
}
