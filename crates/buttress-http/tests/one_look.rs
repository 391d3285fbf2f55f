//! The answers of one search of the headers are those of a search for each question.

#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use std::{convert::Infallible, time::Duration};

use buttress_core::{
    By, ByMode, Classify, Criticality, Deadline, Judge, Propagate, Replay, Respond,
    SeedAndDeadline, SeedHint, Verdict, seeds,
};
use buttress_http::{Http, Protocol};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::Empty;

const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: HeaderName = HeaderName::from_static("x-timeout");
const CRITICALITY: HeaderName = HeaderName::from_static("x-criticality");

/// With few headers they are visited, and with many they are hashed.
const OTHER_HEADERS: [u32; 3] = [0, 2, 30];

#[tokio::test(start_paused = true)]
async fn seed_and_deadline_answers_as_the_separate_methods() {
    let mut cases = 0;
    for http in modes() {
        for request in requests().into_iter().flat_map(with_and_without_deadline) {
            let SeedAndDeadline { seed, deadline, announces } =
                respond(&http).seed_and_deadline(&request);
            assert_eq!(seed, respond(&http).seed(&request), "{request:?}");
            assert_eq!(deadline, http.deadline(&request), "{request:?}");
            if !announces {
                let mut announcing = request.clone();
                assert_eq!(http.set_deadline(&mut announcing, Deadline::after(SECOND)), Ok(()));
                assert_eq!(announcing.headers(), request.headers());
                let late = Deadline::after(Duration::ZERO);
                assert_eq!(http.set_deadline(&mut announcing, late), Ok(()));
                assert_eq!(
                    announcing.extensions().get::<Deadline>(),
                    request.extensions().get::<Deadline>()
                );
            }
            cases += 1;
        }
    }
    assert!(cases > 1000, "{cases}");
}

#[tokio::test(start_paused = true)]
async fn request_that_no_header_of_a_deadline_fits_announces_none() {
    let (plain, grpc) = (Request::new(()), grpc());
    let announces = |http: &Http, request| respond(http).seed_and_deadline(request).announces;
    assert!(!announces(&Http::new(), &plain));
    assert!(announces(&Http::new(), &grpc));
    assert!(announces(&Http::new().timeout_header(TIMEOUT), &plain));
    assert!(announces(&Http::new().deadline_in_extensions(), &plain));
}

#[test]
fn seed_and_criticality_answers_and_writes_as_the_separate_methods() {
    for http in modes() {
        for request in requests() {
            for current in Criticality::ALL {
                current.with(|| {
                    let (mut once, mut apart) = (request.clone(), request.clone());
                    let (seed, asked) = respond(&http).seed_and_criticality(&mut once);
                    let level = http.criticality(&apart);
                    http.set_criticality(&mut apart, level.unwrap_or(current));
                    assert_eq!(
                        (seed, asked),
                        (respond(&http).seed(&request), level),
                        "{request:?}"
                    );
                    assert_eq!(once.headers(), apart.headers(), "{request:?}");
                });
            }
        }
    }
}

#[test]
fn verdict_seed_by_the_hint_of_another_seed_equals_the_seed_of_a_search() {
    for request in requests() {
        let http = Http::new();
        let searched = classify(&http).seed(&request);
        let (seed, judged) =
            seeds::<Http, ByMode, Request<()>, Answer, Infallible>(&http, &ByMode, &request);
        assert_eq!((seed, judged), (searched, searched), "{request:?}");
        let saved = http.save(&mut request.clone()).unwrap();
        let hint = Replay::<Request<()>>::saved_hint(&http, &saved);
        let hinted = classify(&http).seed_hinted(&request, hint);
        assert_eq!(hinted, searched, "{request:?}");
    }
}

#[test]
fn mode_with_a_hint_does_not_search_the_request() {
    let http = Http::new();
    let hint = respond(&http).hint(&Protocol::Grpc);
    assert_eq!(classify(&http).seed_hinted(&Request::new(()), hint), Protocol::Grpc);
    assert_eq!(classify(&http).seed_hinted(&grpc(), SeedHint::NONE), Protocol::Grpc);
    assert_eq!(classify(&http).seed_hinted(&grpc(), SeedHint::new(u8::MAX)), Protocol::Grpc);
}

#[test]
fn classifier_of_the_user_gives_the_hint_to_the_mode() {
    let http = Http::new();
    let judge = By(|_: Result<&Answer, &Infallible>| Verdict::Success);
    let hint = respond(&http).hint(&Protocol::Grpc);
    let ((), seed) = judge.seed_hinted(&http, &Request::new(()), hint);
    assert_eq!(seed, Protocol::Grpc);
}

/// The mode with the types of its service named.
fn classify(http: &Http) -> &impl Classify<Request<()>, Answer, Infallible, Seed = Protocol> {
    http
}

/// The mode with the types of its service named.
fn respond(
    http: &Http,
) -> &(impl Propagate<Request<()>> + Respond<Request<()>, Answer, Infallible, Seed = Protocol>) {
    http
}

type Answer = Response<Empty<Bytes>>;

fn modes() -> [Http; 7] {
    [
        Http::new(),
        Http::new().timeout_header(TIMEOUT),
        Http::new().deadline_in_extensions(),
        Http::new().ignore_criticality_header(),
        Http::new().criticality_header(TIMEOUT),
        // Names that are used twice.
        Http::new().criticality_header(CONTENT_TYPE),
        Http::new().timeout_header(HeaderName::from_static("grpc-timeout")),
    ]
}

/// Requests with all combinations of what these modes read.
fn requests() -> Vec<Request<()>> {
    let mut requests = vec![Request::new(()), grpc()];
    let mut vary = |change: &dyn Fn(&mut Request<()>)| {
        for mut request in requests.clone() {
            change(&mut request);
            requests.push(request);
        }
    };
    vary(&|request| append(request, CONTENT_TYPE, "text/plain"));
    vary(&|request| append(request, HeaderName::from_static("grpc-timeout"), "300m"));
    vary(&|request| append(request, TIMEOUT, "200"));
    vary(&|request| append(request, CRITICALITY, "sheddable"));
    vary(&|request| append(request, CRITICALITY, "critical-plus"));
    vary(&|request| {
        request.extensions_mut().insert(Criticality::SheddablePlus);
    });
    let mut all = Vec::new();
    for request in requests {
        for count in OTHER_HEADERS {
            let mut request = request.clone();
            for number in 0..count {
                let name = HeaderName::try_from(format!("x-{number}")).unwrap();
                request.headers_mut().insert(name, number.into());
            }
            all.push(request);
        }
    }
    all
}

fn with_and_without_deadline(request: Request<()>) -> [Request<()>; 2] {
    let mut with = request.clone();
    with.extensions_mut().insert(Deadline::after(SECOND / 4));
    [request, with]
}

fn grpc() -> Request<()> {
    let mut request = Request::new(());
    append(&mut request, CONTENT_TYPE, "application/grpc");
    request
}

fn append(request: &mut Request<()>, name: HeaderName, value: &'static str) {
    request.headers_mut().append(name, HeaderValue::from_static(value));
}
