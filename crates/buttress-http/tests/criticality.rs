//! The criticality in headers and extensions.

use buttress_core::{Criticality, Plain, Propagate};
use buttress_http::Http;
use http::{HeaderName, HeaderValue, Request};

use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};

const USUAL: HeaderName = HeaderName::from_static("x-criticality");
const OTHER: HeaderName = HeaderName::from_static("x-importance");

#[test]
fn a_request_that_says_nothing_has_no_criticality() {
    assert_eq!(Http::new().criticality(&said(&[])), None);
}

#[test]
fn criticality_header_is_read_in_upper_and_lower_case() {
    for (value, criticality) in [
        ("sheddable", Sheddable),
        ("Sheddable-Plus", SheddablePlus),
        ("critical", Critical),
        ("CRITICAL-PLUS", CriticalPlus),
    ] {
        assert_eq!(Http::new().criticality(&said(&[value])), Some(criticality), "{value}");
    }
}

#[test]
fn unreadable_criticality_is_ignored_and_the_lowest_counts() {
    for value in ["", "high", "critical plus", "sheddable,critical", "3"] {
        assert_eq!(Http::new().criticality(&said(&[value])), None, "{value:?}");
    }
    let several = said(&["critical-plus", "highest", "sheddable-plus", "critical"]);
    assert_eq!(Http::new().criticality(&several), Some(SheddablePlus));
    let mut request = said(&[]);
    request.headers_mut().insert(USUAL, HeaderValue::from_bytes(b"critical\xff").unwrap());
    assert_eq!(Http::new().criticality(&request), None);
}

#[test]
fn the_extension_comes_before_the_header_whichever_is_lower() {
    for own in Criticality::ALL {
        let mut request = said(&["sheddable-plus"]);
        request.extensions_mut().insert(own);
        assert_eq!(Http::new().criticality(&request), Some(own));
    }
}

#[test]
fn ignored_header_does_not_hide_the_extension() {
    let edge = Http::new().ignore_criticality_header();
    let mut request = said(&["critical-plus"]);
    assert_eq!(edge.criticality(&request), None);
    request.extensions_mut().insert(Sheddable);
    assert_eq!(edge.criticality(&request), Some(Sheddable));
}

#[test]
fn ignored_header_is_overwritten_by_the_criticality() {
    let mut request = said(&["critical-plus"]);
    Http::new().ignore_criticality_header().set_criticality(&mut request, Critical);
    assert_eq!(values(&request, &USUAL), ["critical"]);
}

#[test]
fn criticality_is_written_unless_the_header_states_it() {
    for (there, mark, after) in [
        (&[][..], Sheddable, &["sheddable"][..]),
        (&[], CriticalPlus, &["critical-plus"]),
        (&["SHEDDABLE"], Sheddable, &["SHEDDABLE"]),
        (&["sheddable"], CriticalPlus, &["critical-plus"]),
        (&["sheddable", "critical"], SheddablePlus, &["sheddable-plus"]),
        (&["high"], Sheddable, &["sheddable"]),
    ] {
        let mut request = said(there);
        Http::new().set_criticality(&mut request, mark);
        assert_eq!(values(&request, &USUAL), after, "{there:?}");
        assert_eq!(Http::new().criticality(&request), Some(mark));
    }
}

#[test]
fn critical_is_written_only_in_place_of_another() {
    for (there, after) in [
        (&[][..], &[][..]),
        (&["critical"], &["critical"]),
        (&["sheddable"], &["critical"]),
        (&["high"], &["critical"]),
    ] {
        let mut request = said(there);
        Http::new().set_criticality(&mut request, Critical);
        assert_eq!(values(&request, &USUAL), after, "{there:?}");
    }
}

#[test]
fn criticality_is_written_into_the_header_only() {
    let mut request = said(&[]);
    Http::new().deadline_in_extensions().set_criticality(&mut request, Sheddable);
    assert!(request.extensions().is_empty());
    assert_eq!(request.headers().len(), 1);
}

#[test]
fn a_chosen_header_takes_the_place_of_the_usual_one() {
    let http = Http::new().criticality_header(OTHER);
    let mut request = said(&["critical-plus"]);
    assert_eq!(http.criticality(&request), None);
    http.set_criticality(&mut request, Sheddable);
    assert_eq!(values(&request, &OTHER), ["sheddable"]);
    assert_eq!(values(&request, &USUAL), ["critical-plus"]);
    assert_eq!(http.criticality(&request), Some(Sheddable));
}

#[test]
fn plain_requests_carry_no_criticality() {
    let mut request = 7_u32;
    Plain.set_criticality(&mut request, Sheddable);
    assert_eq!(request, 7);
    assert_eq!(Plain.criticality(&request), None);
}

#[cfg(feature = "reqwest")]
#[test]
fn a_request_of_reqwest_carries_the_header() {
    let url = reqwest::Url::parse("http://example.com/").unwrap();
    let mut request = reqwest::Request::new(http::Method::GET, url);
    assert_eq!(Http::new().criticality(&request), None);
    Http::new().set_criticality(&mut request, SheddablePlus);
    assert_eq!(request.headers()[USUAL], "sheddable-plus");
    assert_eq!(Http::new().criticality(&request), Some(SheddablePlus));
}

fn said(values: &[&'static str]) -> Request<()> {
    let mut request = Request::new(());
    for value in values {
        request.headers_mut().append(USUAL, HeaderValue::from_static(value));
    }
    request
}

fn values<'a>(request: &'a Request<()>, name: &HeaderName) -> Vec<&'a HeaderValue> {
    request.headers().get_all(name).iter().collect()
}
