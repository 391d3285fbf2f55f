use std::cell::RefCell;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use buttress_core::{Classify, Plain, Verdict};
use tower_service::Service;

use self::arrivals::Arrivals;
use self::options::{LoadCall, LoadJudge, MakeCall, Options};
use self::run::Runner;
use super::report::LoadReport;
use super::upstream::Upstream;

mod arrivals;
mod options;
mod run;

/// Calls of a service under a load, and a report of their outcomes.
///
/// An *open* load begins calls at their own times, however slow the service is, as the users of a
/// public service do: [`every`](Self::every) and [`poisson`](Self::poisson). A *closed* load has a
/// number of callers, and each waits for its response before the next call:
/// [`callers`](Self::callers).
///
/// ```
/// use buttress_testkit::{Load, Weather, WeatherLayer, simulate};
/// use std::{io, time::Duration};
/// use tower::{ServiceBuilder, service_fn};
///
/// let s = Duration::from_secs;
/// let (report, _) = simulate(7, async || {
///     let weather = Weather::seeded(7).outage(s(3), s(6));
///     let weather = WeatherLayer::new(weather, |n: &u64| *n, |_| Err(io::Error::other("down")));
///     let load = Load::new(ServiceBuilder::new().layer(weather.clone()).service(service_fn(async |n| Ok(n))));
///     load.upstream(&weather.upstream()).every(Duration::from_millis(5)).for_(s(10)).request(|n| n).await
/// });
/// assert_eq!((report.offered(), report.served()), (2000, 1400));
/// report.assert_amplification_within(1.0);
/// report.assert_recovers(s(6), s(0));
/// ```
///
/// # Time
///
/// The load runs on tokio's clock, which should be paused. Calls begin at whole milliseconds,
/// because tokio's timers do. Calls that have not ended [after the load](Self::drain) are dropped,
/// so the load ends whatever the service does.
///
/// # Defaults
///
/// | option | default |
/// |---|---|
/// | arrivals | a call every 10 ms |
/// | [`for_`](Self::for_) | 10 s |
/// | [`patience`](Self::patience) | no limit |
/// | [`drain`](Self::drain) | 60 s |
/// | [`seed`](Self::seed) | drawn from the thread's generator, which [`simulate`](crate::simulate) seeds |
#[derive(Clone, Debug)]
pub struct Load<S> {
    service: S,
    options: Options,
}

impl<S> Load<S> {
    /// Creates a load on `service`. Each call is made on a clone.
    pub const fn new(service: S) -> Self {
        let options = Options {
            arrivals: Arrivals::Every(Duration::from_millis(10)),
            length: Duration::from_secs(10),
            patience: Duration::MAX,
            drain: Duration::from_secs(60),
            upstream: None,
            seed: None,
        };
        Self { service, options }
    }

    /// Begins a call every `gap`. A gap below 1 µs counts as 1 µs.
    pub const fn every(mut self, gap: Duration) -> Self {
        self.options.arrivals = Arrivals::Every(gap);
        self
    }

    /// Begins calls at random with this mean gap, as many independent users do (a Poisson process).
    /// A gap below 1 µs counts as 1 µs.
    pub const fn poisson(mut self, gap: Duration) -> Self {
        self.options.arrivals = Arrivals::Poisson(gap);
        self
    }

    /// Lets `callers` call one after the other, each with a pause of `think` between a response and
    /// the next call. A pause below 1 ms counts as 1 ms.
    pub const fn callers(mut self, callers: usize, think: Duration) -> Self {
        self.options.arrivals = Arrivals::Callers { callers, think };
        self
    }

    /// Sets the time in which calls begin.
    pub const fn for_(mut self, length: Duration) -> Self {
        self.options.length = length;
        self
    }

    /// Drops a call after this time, as a user does who reloads the page. Its outcome is then
    /// *abandoned*.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.options.patience = patience;
        self
    }

    /// Sets the time after the load in which calls may end. Later they are dropped, and their
    /// outcome is *unfinished*.
    pub const fn drain(mut self, drain: Duration) -> Self {
        self.options.drain = drain;
        self
    }

    /// Counts the calls of `upstream` in the report, for
    /// [`amplification`](LoadReport::amplification).
    pub fn upstream(mut self, upstream: &Upstream) -> Self {
        self.options.upstream = Some(upstream.clone());
        self
    }

    /// Seeds the gaps of [`poisson`](Self::poisson).
    pub const fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Calls the service with the requests that `request` makes of the number of the call, from 0.
    /// Await the result to run the load. The response is dropped as soon as it comes, without its
    /// body. Every `Ok` counts as served, a response of status 503 too, unless
    /// [`classify`](LoadRun::classify) says otherwise.
    pub fn request<Req>(
        self,
        mut request: impl FnMut(u64) -> Req + 'static,
    ) -> LoadRun<S::Response, S::Error>
    where
        S: Service<Req> + Clone + 'static,
        S::Response: 'static,
        S::Error: 'static,
        Req: 'static,
    {
        self.call(move |mut service, number| {
            let request = request(number);
            async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }
        })
    }

    /// Makes each call with `call`, which gets a clone of the service and the number of the call,
    /// from 0. So a call can read a body to its end, or consist of several requests. Await the
    /// result to run the load.
    pub fn call<Fut, Res, E>(self, mut call: impl FnMut(S, u64) -> Fut + 'static) -> LoadRun<Res, E>
    where
        S: Clone + 'static,
        Fut: Future<Output = Result<Res, E>> + 'static,
        Res: 'static,
        E: 'static,
    {
        let Self { service, options } = self;
        let call = move |number| -> LoadCall<Res, E> { Box::pin(call(service.clone(), number)) };
        let judge =
            |outcome: Result<&Res, &E>| Classify::<(), Res, E>::classify(&Plain, &(), outcome);
        LoadRun { call: Box::new(call), judge: Box::new(judge), options }
    }
}

/// A [`Load`] that runs when it is awaited.
#[must_use = "no call is made unless it is awaited"]
pub struct LoadRun<Res, E> {
    call: MakeCall<Res, E>,
    judge: LoadJudge<Res, E>,
    options: Options,
}

impl<Res, E> LoadRun<Res, E> {
    /// Sets the verdict on an outcome. By default `Ok` is a success, a rejection of a layer is a
    /// rejection, and any other `Err` is transient.
    pub fn classify(mut self, judge: impl Fn(Result<&Res, &E>) -> Verdict + 'static) -> Self {
        self.judge = Box::new(judge);
        self
    }
}

impl<Res: 'static, E: 'static> IntoFuture for LoadRun<Res, E> {
    type Output = LoadReport;
    type IntoFuture = Pin<Box<dyn Future<Output = LoadReport>>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { call, judge, options } = self;
        let (call, records) = (RefCell::new(call), RefCell::new(Vec::new()));
        Box::pin(Runner { call, judge, options, records }.run())
    }
}

impl<Res, E> fmt::Debug for LoadRun<Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadRun").field("options", &self.options).finish_non_exhaustive()
    }
}
