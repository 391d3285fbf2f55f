//! The headers that report a rate.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use std::{convert::Infallible, time::Duration};

use buttress_core::{Origin, Quota, Reason, Rejection, Respond};
use buttress_http::{ControlBody, Http};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Empty;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn rate_is_advertised_as_policy_and_remaining_cells() {
    let headers = announced(&[quota("burst")]);
    assert_eq!(lines(&headers, "ratelimit-policy"), [r#""burst";q=100;w=60"#]);
    assert_eq!(lines(&headers, "ratelimit"), [r#""burst";r=45;t=30"#]);
}

#[test]
fn several_rates_form_a_single_list() {
    let day = 24 * 60 * MINUTE;
    let daily = Quota::new("daily", 1000, day, 0, day);
    let headers = announced(&[quota("burst"), daily]);
    assert_eq!(
        lines(&headers, "ratelimit-policy"),
        [r#""burst";q=100;w=60,"daily";q=1000;w=86400"#]
    );
    assert_eq!(lines(&headers, "ratelimit"), [r#""burst";r=45;t=30,"daily";r=0;t=86400"#]);
}

#[test]
fn no_rate_writes_no_header() {
    assert!(announced(&[]).is_empty());
}

#[test]
fn seconds_are_rounded_up_and_a_window_is_at_least_one() {
    for (time, window, reset) in [
        (Duration::ZERO, "w=1", "t=0"),
        (Duration::from_nanos(1), "w=1", "t=1"),
        (Duration::from_secs(1), "w=1", "t=1"),
        (Duration::from_millis(1001), "w=2", "t=2"),
    ] {
        let headers = announced(&[Quota::new("any", 100, time, 45, time)]);
        assert!(lines(&headers, "ratelimit-policy")[0].ends_with(window), "{time:?}");
        assert!(lines(&headers, "ratelimit")[0].ends_with(reset), "{time:?}");
    }
}

#[test]
fn the_largest_numbers_are_those_a_structured_field_holds() {
    let most = Quota::new("any", u64::MAX, Duration::MAX, u64::MAX, Duration::MAX);
    let headers = announced(&[most]);
    let number = "9".repeat(15);
    assert_eq!(lines(&headers, "ratelimit-policy"), [format!(r#""any";q={number};w={number}"#)]);
    assert_eq!(lines(&headers, "ratelimit"), [format!(r#""any";r={number};t={number}"#)]);
}

#[test]
fn a_name_is_always_a_string_of_a_structured_field() {
    for (name, told) in [
        ("", r#""""#),
        ("per user; q=1, w=2", r#""per user; q=1, w=2""#),
        (r#"a "b" \c"#, r#""a \"b\" \\c""#),
        ("100%", r#""100%""#),
        ("böse\r\n\t\0\x7f", r#""b%C3%B6se%0D%0A%09%00%7F""#),
    ] {
        let headers = announced(&[quota(name)]);
        assert_eq!(lines(&headers, "ratelimit"), [format!("{told};r=45;t=30")]);
        assert_eq!(lines(&headers, "ratelimit-policy"), [format!("{told};q=100;w=60")]);
    }
}

#[test]
fn rate_headers_of_an_inner_layer_stay() {
    let mut response = admit(Response::default());
    announce(&mut response, &[quota("inner")]);
    announce(&mut response, &[quota("outer")]);
    let inner_first = [r#""inner";r=45;t=30"#, r#""outer";r=45;t=30"#];
    assert_eq!(lines(response.headers(), "ratelimit"), inner_first);
    assert_eq!(lines(response.headers(), "ratelimit-policy").len(), 2);
}

#[test]
fn rejection_is_advertised_too() {
    let why = Rejection::new(Reason::RateLimited, Origin::new("throttle")).after(MINUTE);
    let http = Http::new();
    let seed = <Http as Respond<Request<()>, Inner, Infallible>>::seed(&http, &Request::new(()));
    let rejected = <Http as Respond<Request<()>, Inner, Infallible>>::reject(&http, seed, why);
    let Ok(mut response) = rejected;
    announce(&mut response, &[quota("burst")]);
    assert_eq!(response.headers()["ratelimit"], r#""burst";r=45;t=30"#);
    assert_eq!(response.headers()["retry-after"], "60");
}

#[cfg(feature = "reqwest")]
#[test]
fn reqwest_response_is_advertised_too() {
    let mut response = reqwest::Response::from(Response::new(""));
    <Http as Respond<reqwest::Request, reqwest::Response, reqwest::Error>>::advertise::<()>(
        &Http::new(),
        &mut response,
        &[quota("burst")],
    );
    assert_eq!(lines(response.headers(), "ratelimit"), [r#""burst";r=45;t=30"#]);
    assert_eq!(lines(response.headers(), "ratelimit-policy"), [r#""burst";q=100;w=60"#]);
}

fn quota(name: &str) -> Quota {
    Quota::new(name.to_owned(), 100, MINUTE, 45, Duration::from_secs(30))
}

fn announced(quotas: &[Quota]) -> HeaderMap {
    let mut response = admit(Response::default());
    announce(&mut response, quotas);
    response.into_parts().0.headers
}

fn admit(response: Inner) -> Outer {
    let http = Http::new();
    let seed = <Http as Respond<Request<()>, Inner, Infallible>>::seed(&http, &Request::new(()));
    <Http as Respond<Request<()>, Inner, Infallible>>::admit(&http, seed, response, None)
}

fn announce(response: &mut Outer, quotas: &[Quota]) {
    <Http as Respond<Request<()>, Inner, Infallible>>::advertise(&Http::new(), response, quotas);
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value: &HeaderValue| value.to_str().unwrap()).collect()
}

type Inner = Response<Empty<Bytes>>;
type Outer = Response<ControlBody<Empty<Bytes>, ()>>;
