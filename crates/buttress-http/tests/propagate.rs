//! The deadline in headers and extensions.

use std::time::Duration;

use buttress_core::{Deadline, NoTimeLeft, Propagate};
use buttress_http::Http;
use http::{HeaderName, HeaderValue, Request};

const MS: Duration = Duration::from_millis(1);
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

#[tokio::test(start_paused = true)]
async fn a_request_that_announces_nothing_has_no_deadline() {
    assert_eq!(Http::new().deadline(&Request::new(())), None);
    assert_eq!(Http::new().deadline(&grpc(&[])), None);
    assert_eq!(chosen().deadline(&Request::new(())), None);
}

#[tokio::test(start_paused = true)]
async fn earliest_incoming_deadline_counts() {
    let mut request = grpc(&["200m"]);
    request.headers_mut().insert(TIMEOUT, HeaderValue::from_static("150"));
    assert_eq!(Http::new().deadline(&request), Some(in_ms(200)));
    assert_eq!(chosen().deadline(&request), Some(in_ms(150)));
    request.extensions_mut().insert(Deadline::after(100 * MS));
    assert_eq!(chosen().deadline(&request), Some(in_ms(100)));
    request.extensions_mut().insert(Deadline::after(300 * MS));
    assert_eq!(chosen().deadline(&request), Some(in_ms(150)));
}

#[tokio::test(start_paused = true)]
async fn grpc_timeout_is_read_from_grpc_requests_only() {
    for (content_type, deadline) in [
        ("application/grpc", Some(in_ms(50))),
        ("application/grpc+proto", Some(in_ms(50))),
        ("application/grpc;charset=utf-8", Some(in_ms(50))),
        ("Application/GRPC", Some(in_ms(50))),
        ("application/grpc-web", None),
        ("application/grpc-web+proto", None),
        ("application/grp", None),
        ("application/json", None),
    ] {
        let mut request = grpc(&["50m"]);
        request.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
        assert_eq!(Http::new().deadline(&request), deadline, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_headers_the_shortest_counts_and_the_unreadable_do_not() {
    assert_eq!(Http::new().deadline(&grpc(&["1S", "20m", "never", "123456789n"])), Some(in_ms(20)));
    assert_eq!(chosen().deadline(&plain(&["30", "20", "-5"])), Some(in_ms(20)));
    assert_eq!(Http::new().deadline(&grpc(&["123456789n"])), None);
    for value in ["", "-1", "+1", "1.5", " 1", "1s", "0x10", "1e3"] {
        assert_eq!(chosen().deadline(&plain(&[value])), None, "{value:?}");
    }
    let mut request = plain(&[]);
    request.headers_mut().insert(TIMEOUT, HeaderValue::from_bytes(b"1\xff").unwrap());
    assert_eq!(chosen().deadline(&request), None);
}

#[tokio::test(start_paused = true)]
async fn huge_times_are_far_away_and_harmless() {
    let never = Some(Deadline::after(Deadline::NEVER));
    assert_eq!(Http::new().deadline(&grpc(&["99999999H"])), never);
    assert_eq!(chosen().deadline(&plain(&["99999999999999999999999999"])), never);
}

#[tokio::test(start_paused = true)]
async fn no_time_left_is_a_deadline_that_has_passed() {
    assert!(Http::new().deadline(&grpc(&["0S"])).unwrap().has_passed());
    assert!(chosen().deadline(&plain(&["0"])).unwrap().has_passed());
}

/// A deadline of 200 ms arrives, the handler works, and its own call has 150 ms at most.
#[tokio::test(start_paused = true)]
async fn a_hop_announces_what_is_left_of_both_deadlines_less_its_margin() {
    for (work, margin, announced) in
        [(30, 0, "150000u"), (120, 0, "80000000n"), (120, 5, "75000000n")]
    {
        let http = Http::new().deadline_margin(margin * MS);
        let inbound = http.deadline(&grpc(&["200m"]));
        tokio::time::advance(work * MS).await;
        let own = Some(Deadline::after(150 * MS));
        let mut request = grpc(&[]);
        http.set_deadline(&mut request, Deadline::earliest(inbound, own).unwrap()).unwrap();
        assert_eq!(request.headers()["grpc-timeout"], announced);
    }
}

/// Each attempt announces the time left when it starts.
#[tokio::test(start_paused = true)]
async fn a_second_attempt_announces_less_than_the_first() {
    let deadline = Deadline::after(1000 * MS);
    let mut first = grpc(&[]);
    Http::new().set_deadline(&mut first, deadline).unwrap();
    assert_eq!(first.headers()["grpc-timeout"], "1000000u");

    tokio::time::advance(400 * MS).await;
    let mut second = first.clone();
    Http::new().set_deadline(&mut second, deadline).unwrap();
    assert_eq!(second.headers()["grpc-timeout"], "600000u");
}

#[tokio::test(start_paused = true)]
async fn announced_deadline_is_only_shortened() {
    for (there, after) in [
        (&["50m"][..], "50m"),
        (&["100m"], "100m"),
        (&["101m"], "101m"),
        (&["102m"], "100000u"),
        (&["1S", "2S"], "100000u"),
        (&["never"], "100000u"),
    ] {
        let mut request = grpc(there);
        Http::new().set_deadline(&mut request, Deadline::after(100 * MS)).unwrap();
        assert_eq!(request.headers()["grpc-timeout"], after, "{there:?}");
        assert_eq!(request.headers().get_all("grpc-timeout").iter().count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_chosen_header_is_written_in_whole_milliseconds_rounded_down() {
    let mut request = plain(&["90"]);
    chosen().set_deadline(&mut request, Deadline::after(Duration::from_micros(75_999))).unwrap();
    assert_eq!(request.headers()[TIMEOUT], "75");
    chosen().set_deadline(&mut request, Deadline::after(100 * MS)).unwrap();
    assert_eq!(request.headers()[TIMEOUT], "75");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_leaves_nothing_to_announce_is_expired_and_not_written() {
    const US: Duration = Duration::from_micros(1);
    const NONE: Duration = Duration::ZERO;
    for (request, margin, left) in [
        (grpc(&[]), NONE, NONE),
        (grpc(&[]), 5 * MS, 5 * MS),
        (grpc(&["1S"]), 5 * MS, 4 * MS),
        (plain(&[]), NONE, 999 * US),
        (plain(&["20"]), 5 * MS, 5999 * US),
        (plain(&["20"]), 5 * MS, 5 * MS),
        (plain(&["1"]), 5 * MS, 5 * MS),
        // Whatever is left here: the request says itself that it has no time.
        (plain(&["0"]), NONE, 20 * MS),
        (grpc(&["0n"]), NONE, 20 * MS),
    ] {
        let http = chosen().deadline_margin(margin).deadline_in_extensions();
        let mut written = request.clone();
        assert_eq!(http.can_set_deadline(&written, Deadline::after(left)), Err(NoTimeLeft));
        assert_eq!(http.set_deadline(&mut written, Deadline::after(left)), Err(NoTimeLeft));
        assert_eq!(written.headers(), request.headers());
        assert!(written.extensions().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn smallest_timeout_value_is_announced() {
    let mut request = grpc(&[]);
    assert_eq!(
        Http::new().set_deadline(&mut request, Deadline::after(Duration::from_nanos(1))),
        Ok(())
    );
    assert_eq!(request.headers()["grpc-timeout"], "1n");
    let mut request = plain(&[]);
    assert_eq!(chosen().set_deadline(&mut request, Deadline::after(MS)), Ok(()));
    assert_eq!(request.headers()[TIMEOUT], "1");
    // A server reads a moment after the header was written.
    let rest = Deadline::after(Duration::from_micros(999));
    assert_eq!(chosen().set_deadline(&mut request, rest), Ok(()));
    assert_eq!(request.headers()[TIMEOUT], "1");
}

#[tokio::test(start_paused = true)]
async fn without_a_chosen_header_plain_requests_announce_nothing() {
    let mut request = Request::new(());
    Http::new().set_deadline(&mut request, Deadline::after(MS)).unwrap();
    assert!(request.headers().is_empty());
    assert!(request.extensions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_grpc_request_announces_in_grpc_timeout_only() {
    let mut request = grpc(&[]);
    chosen().set_deadline(&mut request, Deadline::after(MS)).unwrap();
    assert_eq!(request.headers()["grpc-timeout"], "1000000n");
    assert!(!request.headers().contains_key(TIMEOUT));
}

#[tokio::test(start_paused = true)]
async fn the_extension_holds_the_earliest_deadline() {
    let http = Http::new().deadline_in_extensions();
    let mut request = Request::new(());
    for (written, held) in [(20, 20), (30, 20), (10, 10)] {
        http.set_deadline(&mut request, Deadline::after(written * MS)).unwrap();
        assert_eq!(request.extensions().get(), Some(&Deadline::after(held * MS)));
    }
    assert_eq!(Http::new().deadline(&request), Some(in_ms(10)));
}

#[cfg(feature = "reqwest")]
#[tokio::test(start_paused = true)]
async fn a_request_of_reqwest_carries_the_chosen_header() {
    let url = reqwest::Url::parse("http://example.com/").unwrap();
    let mut request = reqwest::Request::new(http::Method::GET, url);
    chosen().set_deadline(&mut request, Deadline::after(20 * MS)).unwrap();
    assert_eq!(request.headers()[TIMEOUT], "20");
    assert_eq!(chosen().deadline(&request), Some(in_ms(20)));
}

fn chosen() -> Http {
    Http::new().timeout_header(TIMEOUT)
}

fn in_ms(milliseconds: u32) -> Deadline {
    Deadline::after(milliseconds * MS)
}

fn plain(timeouts: &[&'static str]) -> Request<()> {
    let mut request = Request::new(());
    for timeout in timeouts {
        request.headers_mut().append(TIMEOUT, HeaderValue::from_static(timeout));
    }
    request
}

fn grpc(timeouts: &[&'static str]) -> Request<()> {
    let mut request = Request::new(());
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    for timeout in timeouts {
        headers.append("grpc-timeout", HeaderValue::from_static(timeout));
    }
    request
}
