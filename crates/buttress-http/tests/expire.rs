//! The lifetimes of responses.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]
#![expect(clippy::disallowed_methods, reason = "dates in headers are compared with the wall clock")]

use std::time::{Duration, SystemTime};

use buttress_core::{Deadline, Expire, Lifetime, Origin, Reason, Rejection};
use buttress_http::Http;
use buttress_testkit::counts;
use http::{HeaderName, Request, Response, request, response};

const NEVER: Option<Lifetime> = None;

/// What the layer was told.
const ASKED: Lifetime = {
    let mut lifetime = Lifetime::new(secs(10));
    lifetime.stale_while_revalidate = secs(20);
    lifetime.stale_if_error = secs(30);
    lifetime
};

#[test]
fn silent_response_has_the_lifetime_of_the_layer() {
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(asked(of(status)), Some(ASKED), "{status}");
        assert_eq!(unasked(of(status)), NEVER, "{status}");
    }
    let aged = counts!(Lifetime { age: secs(7), ..ASKED });
    assert_eq!(asked(of(200).header("age", "7")), Some(aged));
    let modified = of(200).header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(unasked(modified), NEVER);
}

#[test]
fn failure_that_may_pass_is_never_cached() {
    for status in [400, 401, 403, 408, 409, 425, 429, 500, 502, 503, 504] {
        assert_eq!(asked(of(status)), NEVER, "{status}");
        assert_eq!(asked(cache_control("max-age=60").status(status)), NEVER, "{status}");
    }
    for status in [201, 202, 206, 304, 302, 303, 307] {
        assert_eq!(asked(of(status)), NEVER, "{status}");
    }
    for status in [201, 202, 206, 304] {
        assert_eq!(asked(cache_control("max-age=60").status(status)), NEVER, "{status}");
    }
}

#[test]
fn stated_lifetime_is_used() {
    for (line, fresh) in [
        ("max-age=60", 60),
        ("public, Max-Age=\"60\"", 60),
        ("max-age=60, max-age=5", 5),
        ("immutable, max-age=60", 60),
    ] {
        let expected = counts!(Lifetime { fresh: secs(fresh), is_explicit: true, ..ASKED });
        assert_eq!(asked(cache_control(line)), Some(expected), "{line}");
        assert_eq!(unasked(cache_control(line)), Some(told(fresh)), "{line}");
    }
    for status in [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501] {
        let response = cache_control("max-age=60").status(status);
        assert_eq!(unasked(response), Some(told(60)), "{status}");
    }
    let longest = unasked(cache_control("max-age=999999999999999999999")).unwrap();
    assert_eq!(longest.fresh, Deadline::NEVER);
}

#[test]
fn s_maxage_takes_precedence() {
    assert_eq!(unasked(cache_control("max-age=60, s-maxage=5")), Some(told(5)));
    assert_eq!(unasked(cache_control("s-maxage=120, max-age=60")), Some(told(120)));
    assert_eq!(asked(cache_control("s-maxage=x, max-age=60")), NEVER);
}

#[test]
fn malformed_max_age_is_zero() {
    for line in
        ["max-age=x", "max-age", "max-age=-1", "max-age=1.5", "max-age = 60", "max-age=60;x"]
    {
        assert_eq!(unasked(cache_control(line)), NEVER, "{line}");
        // The windows of the layer are left.
        let stale = counts!(Lifetime { fresh: Duration::ZERO, is_explicit: true, ..ASKED });
        assert_eq!(asked(cache_control(line)), Some(stale), "{line}");
    }
    for expires in ["0", "-1", "", "soon", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        assert_eq!(unasked(of(200).header("expires", expires)), NEVER, "{expires}");
    }
}

#[test]
fn an_expiry_counts_from_the_responses_own_date() {
    let now = SystemTime::now();
    for skew in [secs(0), secs(3600)] {
        // A clock that is ahead; with one that is behind, the response would be that old.
        let date = now + skew;
        let response = of(200)
            .header("date", httpdate::fmt_http_date(date))
            .header("expires", httpdate::fmt_http_date(date + secs(600)));
        let lifetime = unasked(response).unwrap();
        assert!(lifetime.fresh <= secs(600) && lifetime.fresh > secs(540), "{lifetime:?}");
        assert!(lifetime.is_explicit);
    }
}

#[test]
fn age_is_subtracted_from_the_lifetime() {
    let response = |age| cache_control("max-age=60").header("age", age);
    let expected = counts!(Lifetime { fresh: secs(50), age: secs(10), ..told(0) });
    assert_eq!(unasked(response("10")), Some(expected));
    assert_eq!(unasked(response("60")), NEVER);
    assert_eq!(unasked(response("61")), NEVER);
    assert_eq!(unasked(response("18446744073709551615")), NEVER);
    assert_eq!(unasked(response("99999999999999999999999")), NEVER);

    let old = cache_control("max-age=60").header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(unasked(old), NEVER);
    let minute = httpdate::fmt_http_date(SystemTime::now() - secs(60));
    let lifetime = unasked(cache_control("max-age=600").header("date", minute)).unwrap();
    assert!(lifetime.age >= secs(60) && lifetime.age < secs(120), "{lifetime:?}");
    assert_eq!(lifetime.age + lifetime.fresh, secs(600));
}

/// RFC 5861.
#[test]
fn a_response_says_for_how_long_it_may_be_stale() {
    let stale = |fresh, revalidate, error| {
        let (while_revalidate, if_error) = (secs(revalidate), secs(error));
        Some(counts!(Lifetime {
            stale_while_revalidate: while_revalidate,
            stale_if_error: if_error,
            ..told(fresh)
        }))
    };
    let both = "max-age=60, stale-while-revalidate=5, stale-if-error=7";
    assert_eq!(asked(cache_control(both)), stale(60, 5, 7));
    assert_eq!(unasked(cache_control(both)), stale(60, 5, 7));
    assert_eq!(asked(cache_control("max-age=60, stale-if-error=7")), stale(60, 20, 7));
    assert_eq!(asked(cache_control("max-age=60, stale-if-error=x")), stale(60, 20, 0));
    assert_eq!(unasked(cache_control("max-age=0, stale-while-revalidate=5")), stale(0, 5, 0));
    let silent = asked(cache_control("stale-while-revalidate=5"));
    assert_eq!(silent, Some(counts!(Lifetime { stale_while_revalidate: secs(5), ..ASKED })));
}

#[test]
fn a_response_that_came_in_stale_has_less_of_its_windows_left() {
    let line = "max-age=60, stale-while-revalidate=5, stale-if-error=20";
    let lifetime = unasked(cache_control(line).header("age", "70"));
    assert_eq!(
        lifetime,
        Some(counts!(Lifetime { stale_if_error: secs(10), age: secs(70), ..told(0) }))
    );
}

#[test]
fn response_with_must_revalidate_is_never_served_stale() {
    for line in [
        "must-revalidate, max-age=60",
        "max-age=60, Proxy-Revalidate",
        "s-maxage=60",
        "s-maxage=60, stale-while-revalidate=60, stale-if-error=60",
    ] {
        assert_eq!(asked(cache_control(line)), Some(told(60)), "{line}");
    }
    let silent = Lifetime::new(ASKED.fresh);
    assert_eq!(asked(cache_control("must-revalidate")), Some(silent));
}

/// RFC 9111, section 4.2.3.
#[test]
fn the_delay_of_a_response_counts_as_age() {
    let after = |delay, response: response::Builder| {
        let (request, response) = (Request::new(()), response.body(()).unwrap());
        let seed = Expire::<_, Response<()>>::seed(&Http::new(), &request);
        let http = Http::new();
        Expire::<Request<()>, _>::lifetime_with_delay(&http, &seed, &response, delay, None)
    };
    let kept = after(secs(4), cache_control("max-age=60").header("age", "10"));
    assert_eq!(kept, Some(counts!(Lifetime { fresh: secs(46), age: secs(14), ..told(0) })));
    assert_eq!(after(secs(60), cache_control("max-age=60")), NEVER);
}

#[test]
fn response_for_one_client_is_never_cached() {
    for (name, value) in [
        ("cache-control", "private"),
        ("cache-control", "PRIVATE=\"x-a, x-b\""),
        ("cache-control", "no-store"),
        ("cache-control", "no-cache"),
        ("cache-control", "no-cache=\"set-cookie\""),
        ("cache-control", "x=\", no-store"),
        ("pragma", "x, No-Cache"),
        ("set-cookie", "a=b"),
        ("vary", "*"),
        ("vary", "Accept, traceparent"),
        ("content-range", "bytes 0-1/2"),
    ] {
        assert_eq!(asked(of(200).header(name, value)), NEVER, "{name}: {value}");
        let told = cache_control("public, max-age=60").header(name, value);
        let expected = (name == "pragma").then_some(counts!(Lifetime {
            fresh: secs(60),
            is_explicit: true,
            ..ASKED
        }));
        assert_eq!(asked(told), expected, "{name}: {value}");
    }
    assert_eq!(asked(of(200).header("vary", "Accept, User-Agent")), Some(ASKED));
    let http = Http::new().vary([HeaderName::from_static("traceparent")]);
    let varied = of(200).header("vary", "Traceparent");
    assert_eq!(lifetime(&http, Request::get("/"), varied, Some(ASKED)), Some(ASKED));
}

#[test]
fn response_to_credentials_is_cached_only_if_it_permits() {
    let request = || Request::get("/").header("authorization", "Basic YTpi");
    let kept = |line| lifetime(&Http::new(), request(), cache_control(line), Some(ASKED));
    for line in ["max-age=60", "stale-if-error=60", "Public=x, max-age=60", "public; max-age=60"] {
        assert_eq!(kept(line), NEVER, "{line}");
    }
    assert_eq!(lifetime(&Http::new(), request(), of(200), Some(ASKED)), NEVER);
    assert_eq!(kept("public"), Some(ASKED));
    assert!(kept("public, max-age=60").is_some());
    assert_eq!(kept("must-revalidate, max-age=60"), Some(told(60)));
    assert_eq!(kept("s-maxage=60"), Some(told(60)));
}

#[test]
fn request_can_forbid_caching() {
    for line in ["no-store", "max-stale, No-Store", "x; no-store"] {
        let request = Request::get("/").header("cache-control", line);
        let response = cache_control("public, max-age=60");
        assert_eq!(lifetime(&Http::new(), request, response, Some(ASKED)), NEVER, "{line}");
    }
}

#[test]
fn rejections_and_grpc_responses_are_never_cached() {
    let rejection = Rejection::new(Reason::Overloaded, Origin::new("throttle"));
    let rejected = cache_control("max-age=60").extension(rejection);
    assert_eq!(asked(rejected), NEVER);
    let grpc = cache_control("max-age=60").header("content-type", "application/grpc");
    assert_eq!(asked(grpc), NEVER);
}

fn told(fresh: u64) -> Lifetime {
    counts!(Lifetime { fresh: secs(fresh), is_explicit: true })
}

fn asked(response: response::Builder) -> Option<Lifetime> {
    lifetime(&Http::new(), Request::get("/"), response, Some(ASKED))
}

fn unasked(response: response::Builder) -> Option<Lifetime> {
    lifetime(&Http::new(), Request::get("/"), response, None)
}

fn lifetime(
    http: &Http,
    request: request::Builder,
    response: response::Builder,
    asked: Option<Lifetime>,
) -> Option<Lifetime> {
    let (request, response) = (request.body(()).unwrap(), response.body(()).unwrap());
    let seed = Expire::<_, Response<()>>::seed(http, &request);
    Expire::<Request<()>, _>::lifetime(http, &seed, &response, asked)
}

fn cache_control(line: &str) -> response::Builder {
    of(200).header("cache-control", line)
}

fn of(status: u16) -> response::Builder {
    Response::builder().status(status)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
