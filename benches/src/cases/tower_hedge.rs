use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::hedge::{Hedge, Policy};

use crate::{
    Case, Echo, Pattern, Workload,
    cases::settings::{TIMEOUT, TOWER},
    drive_http, drive_plain,
};

/// tower's hedge. No call reaches the delay, because no call is slower than any other.
pub(crate) fn cases() -> [Case; 2] {
    [
        Case::new(Pattern::Hedge, TOWER, Workload::Plain, |inner, calls| {
            let hedge = Hedge::new::<u64>(Echo(inner), CloneAll, LEAST_SAMPLES, 0.95, TIMEOUT);
            drive_plain(hedge, calls)
        }),
        Case::new(Pattern::Hedge, TOWER, Workload::Http, |inner, calls| {
            let hedge = Hedge::new::<Request<Full<Bytes>>>(
                Echo(inner),
                CloneAll,
                LEAST_SAMPLES,
                0.95,
                TIMEOUT,
            );
            drive_http(hedge, calls)
        }),
    ]
}

#[derive(Clone)]
struct CloneAll;

impl<Req: Clone> Policy<Req> for CloneAll {
    fn clone_request(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }

    fn can_retry(&self, _: &Req) -> bool {
        true
    }
}

const LEAST_SAMPLES: u64 = 50;
