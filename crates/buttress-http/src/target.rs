use std::{
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
/// same. So the ports of both count as none, and letters of either case as one.
pub(crate) fn subject(host: &[u8], path: &[u8], query: Option<&[u8]>) -> u64 {
    let mut ports = [&b":80"[..], b":443", b":"].into_iter();
    let host = ports.find_map(|port| host.strip_suffix(port)).unwrap_or(host);
    let mut hasher = SEED.build_hasher();
    for byte in host {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    hasher.write(path);
    if let Some(query) = query {
        hasher.write_u8(b'?');
        hasher.write(query);
    }
    hasher.finish()
}

/// Drawn once for the process: whoever picks targets cannot make them collide.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
