use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use buttress_core::Verdict;

use super::arrivals::Arrivals;
use crate::simulation::upstream::Upstream;

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) arrivals: Arrivals,
    pub(super) length: Duration,
    pub(super) patience: Duration,
    pub(super) drain: Duration,
    pub(super) upstream: Option<Upstream>,
    pub(super) seed: Option<u64>,
}

pub(super) type LoadCall<Res, E> = Pin<Box<dyn Future<Output = Result<Res, E>>>>;
pub(super) type MakeCall<Res, E> = Box<dyn FnMut(u64) -> LoadCall<Res, E>>;
pub(super) type LoadJudge<Res, E> = Box<dyn Fn(Result<&Res, &E>) -> Verdict>;
