use std::{
    borrow::Cow,
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::LazyLock,
};

use http::{HeaderMap, Uri, header::HOST};

/// Where a request goes, without a fragment: a server never sees one.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) scheme: &'a str,
    /// `user:password@`, or nothing.
    pub(crate) userinfo: &'a str,
    /// `host` or `host:port`, as it stands. Empty in a request that has come in over HTTP/1, whose
    /// `Host` says it.
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

    /// What the target is about, as a hash: the host and the path with its query, however the request
    /// was sent. `Host` says the host where the URI does not.
    pub(crate) fn subject(&self, headers: &HeaderMap) -> u64 {
        let host = match self.host {
            "" => headers.get(HOST).map_or(&[][..], |host| host.as_bytes()),
            host => host.as_bytes(),
        };
        subject(host, self.path.as_bytes(), self.query.map(str::as_bytes))
    }
}

/// A server may not know the scheme, and a call that changes a target must be found to do so all the
/// same. So the ports of both count as none, letters of either case as one, and `%41` as `A`.
pub(crate) fn subject(host: &[u8], path: &[u8], query: Option<&[u8]>) -> u64 {
    let mut ports = [&b":80"[..], b":443", b":"].into_iter();
    let host = ports.find_map(|port| host.strip_suffix(port)).unwrap_or(host);
    let mut hasher = SEED.build_hasher();
    for byte in host {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    hasher.write(&decoded(path));
    if let Some(query) = query {
        hasher.write_u8(b'?');
        hasher.write(&decoded(query));
    }
    hasher.finish()
}

/// The bytes that `text` stands for. That `%2F` is no `/` does not matter: a target that counts as
/// changed and was not is asked for once more.
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

/// The byte that two digits stand for, and what follows them.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], after) = text.split_first_chunk()?;
    let digit = |digit: u8| char::from(digit).to_digit(16)?.try_into().ok();
    let (high, low): (u8, u8) = (digit(*high)?, digit(*low)?);
    Some(((high << 4) | low, after))
}

/// Drawn once for the process: whoever picks targets cannot make them collide.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
