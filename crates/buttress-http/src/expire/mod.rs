pub(crate) mod cache_control;
mod freshness;
pub(crate) mod from_cache;

use std::time::Duration;

use buttress_core::{Deadline, Degraded, Expire, Lifetime};
use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA},
};

use self::cache_control::CacheControl;
use crate::{
    Http, Protocol, RequestHead, ResponseHead,
    message::header_value::{members, wall_clock},
    share::allowed::is_shareable,
};

pub use self::from_cache::FromCache;

/// The rules of [RFC 9111] for a shared cache.
///
/// | response | cached |
/// |---|---|
/// | with `s-maxage`, `max-age` or `Expires` | for the rest of that time, with status 200, 203, 204, 300 to 303, 307, 308, 404, 405, 410, 414 or 501 |
/// | without any of these | as the layer says, with these statuses except 302, 303 and 307 |
/// | with `private`, `no-store`, `no-cache`, `Set-Cookie`, `Vary: *` or a `Vary` on a header that the key ignores | never |
/// | to a request with `no-store` | never |
/// | to a request with `Authorization` | only with `public`, `s-maxage` or `must-revalidate` |
/// | of gRPC | never, because its end says whether it failed |
/// | that is a rejection by an inner layer | never |
/// | that carries [`Degraded`]: it stands in for a failure | never |
///
/// A response is cached once its whole body has been read. axum makes a body for a `HEAD` as well
/// and drops it, so on a server the response to a `HEAD` is not cached.
///
/// `stale-while-revalidate` and `stale-if-error` of [RFC 5861] say how long a stale response may be
/// served. For a directive that the response lacks, the layer decides. `must-revalidate`,
/// `proxy-revalidate` and `s-maxage` forbid stale responses (RFC 9111, section 4.2.4).
///
/// A malformed time is zero, and the shorter of two times counts. In doubt, every other directive
/// is read in the strictest way, too. `Last-Modified` has no effect. Dates are compared with the
/// system's clock when the response arrives, and all later times count from there.
///
/// The age of a response includes the time since its request was sent (section 4.2.3), because the
/// service may have made the response at any instant since then. The waits of inner layers, such as
/// a backoff, are part of that time. They make the response look older than it is, never younger.
///
/// [RFC 5861]: https://www.rfc-editor.org/rfc/rfc5861
/// [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111
impl<Req: RequestHead, Res: ResponseHead> Expire<Req, Res> for Http {
    type Seed = StorePermission;

    fn seed(&self, request: &Req) -> StorePermission {
        let headers = request.headers();
        if CacheControl::of(headers).no_store {
            StorePermission::Forbidden
        } else if headers.contains_key(AUTHORIZATION) {
            StorePermission::IfExplicit
        } else {
            StorePermission::Allowed
        }
    }

    fn lifetime(
        &self,
        permission: &StorePermission,
        response: &Res,
        asked: Option<Lifetime>,
    ) -> Option<Lifetime> {
        Expire::<Req, Res>::lifetime_with_delay(self, permission, response, Duration::ZERO, asked)
    }

    fn lifetime_with_delay(
        &self,
        permission: &StorePermission,
        response: &Res,
        delay: Duration,
        asked: Option<Lifetime>,
    ) -> Option<Lifetime> {
        let (status, headers) = (response.status(), response.headers());
        let control = CacheControl::of(headers);
        let may_be_cached = response.rejection().is_none()
            && response.extensions().get::<Degraded>().is_none()
            && permission.allows(&control)
            && !wants_validation(headers, &control)
            && Protocol::of(headers) == Protocol::Http
            && is_shareable(self.options(), status, headers, response.extensions());
        if !may_be_cached {
            return None;
        }
        let now = wall_clock();
        let age = freshness::age(headers, now, delay);
        lifetime(status, freshness::explicit_lifetime(headers, &control, now), age, &control, asked)
    }
}

/// Whether the request permits its response to be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorePermission {
    Allowed,
    /// The request has credentials, so the response must state that it is for others too (RFC 9111,
    /// section 3.5).
    IfExplicit,
    Forbidden,
}

impl StorePermission {
    fn allows(self, control: &CacheControl) -> bool {
        match self {
            Self::Allowed => true,
            Self::IfExplicit => {
                control.public || control.must_revalidate || control.s_maxage.is_some()
            }
            Self::Forbidden => false,
        }
    }
}

fn lifetime(
    status: StatusCode,
    explicit: Option<Duration>,
    age: Duration,
    control: &CacheControl,
    asked: Option<Lifetime>,
) -> Option<Lifetime> {
    let (while_revalidate, if_error) = windows(control, asked.unwrap_or_default());
    let lifetime = match explicit {
        Some(explicit) if is_understood(status) => {
            // A window begins when the response became stale, which may have been before it
            // arrived.
            let stale_for = age.saturating_sub(explicit);
            let mut lifetime = Lifetime::new(explicit.saturating_sub(age));
            lifetime.stale_while_revalidate = while_revalidate.saturating_sub(stale_for);
            lifetime.stale_if_error = if_error.saturating_sub(stale_for);
            lifetime.age = age;
            lifetime.is_explicit = true;
            lifetime
        }
        None if is_cacheable_by_default(status) => {
            let mut lifetime = Lifetime::new(asked?.fresh);
            lifetime.stale_while_revalidate = while_revalidate;
            lifetime.stale_if_error = if_error;
            lifetime.age = age;
            lifetime
        }
        _ => return None,
    };
    let longest = lifetime.fresh.max(lifetime.stale_while_revalidate).max(lifetime.stale_if_error);
    (longest > Duration::ZERO).then_some(lifetime)
}

/// The times for which a stale response may be served: while it is refreshed, and in place of an
/// error.
fn windows(control: &CacheControl, asked: Lifetime) -> (Duration, Duration) {
    if control.must_revalidate || control.proxy_revalidate || control.s_maxage.is_some() {
        return (Duration::ZERO, Duration::ZERO);
    }
    let window = |said: Option<u64>, asked: Duration| {
        said.map_or(asked, |seconds| Duration::from_secs(seconds).min(Deadline::NEVER))
    };
    (
        window(control.stale_while_revalidate, asked.stale_while_revalidate),
        window(control.stale_if_error, asked.stale_if_error),
    )
}

/// Whether the origin must validate each use, which this cache never does. `Pragma: no-cache` has
/// no meaning in a response, but its authors mean this.
fn wants_validation(headers: &HeaderMap, control: &CacheControl) -> bool {
    let pragma = || members(headers, &PRAGMA).any(|said| said.eq_ignore_ascii_case(b"no-cache"));
    control.no_cache || (!headers.contains_key(CACHE_CONTROL) && pragma())
}

/// The final statuses whose responses stay true for a while (RFC 9110, section 15).
fn is_understood(status: StatusCode) -> bool {
    is_cacheable_by_default(status) || matches!(status.as_u16(), 302 | 303 | 307)
}

/// RFC 9110, section 15.1, without 206.
fn is_cacheable_by_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}
