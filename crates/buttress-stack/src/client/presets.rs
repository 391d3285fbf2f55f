use std::time::Duration;

use buttress_breaker::BreakerLayer;
use buttress_control::{Backoff, Jitter, Ratio, RetryThrottle, TokenBucket};
use buttress_deadline::DeadlineLayer;
use buttress_retry::RetryLayer;
use buttress_state::Budget;
use buttress_throttle::ThrottleLayer;

use super::Client;
use crate::{Off, setup::Setup};

/// Creates the standard client.
///
/// | place | layer |
/// |---|---|
/// | deadline | 30 s for the whole call, the body included |
/// | retry | 3 attempts in all, exponential backoff from 1 s to 10 s with full jitter |
/// | breaker | opens at 50 % failures of at least 20 calls in 30 s, for 1 s to 10 s |
/// | throttle | 1000 calls at a time, none waits |
/// | attempt | 10 s for each attempt |
///
/// Retries are paid from a budget of 20 % of the calls plus 10 per second. The timeouts, the limit
/// and the window are those of .NET's [`HttpStandardResilienceOptions`][dotnet]. There the window is
/// at least twice the timeout of an attempt, so that it sees the attempts that time out.
///
/// [dotnet]: https://github.com/dotnet/extensions/blob/main/src/Libraries/Microsoft.Extensions.Http.Resilience/Resilience/HttpStandardResilienceOptions.cs
pub fn client() -> Client {
    standard("client")
}

/// Creates a client with the numbers of .NET's
/// [`AddStandardResilienceHandler`][dotnet], for HTTP.
///
/// | place | what differs from [`client`] |
/// |---|---|
/// | retry | 4 attempts in all, a spread backoff whose medians are near 2, 4 and 8 s |
/// | breaker | opens at 10 % failures of at least 100 calls in 30 s, for 5 s |
///
/// The backoff is Polly's `DecorrelatedJitterBackoffV2`. .NET's breaker tests a recovering service
/// with a single call, and then admits all. This one keeps the probes and the ramp of
/// [`BreakerLayer`], because a single probe fails by chance. .NET has no retry budget. This client has
/// that of [`client`].
///
/// The value is not bound to HTTP yet: `.http()` of `buttress-http` does that.
///
/// [dotnet]: https://learn.microsoft.com/en-us/dotnet/core/resilience/http-resilience
#[doc(alias("dotnet", "AddStandardResilienceHandler"))]
pub fn client_for_http() -> Client {
    let backoff = Backoff::decorrelated_v2(Duration::from_secs(2), Duration::from_secs(30));
    standard("client_for_http").edit_retry(|_| RetryLayer::new(4).backoff(backoff)).edit_breaker(
        |breaker| {
            // A run of 100 failures is also 100 % of 100 calls: .NET knows no shorter run.
            let breaker = breaker.failures(Ratio::percent(10), 100).consecutive(100);
            breaker.open_for(Backoff::constant(Duration::from_secs(5)))
        },
    )
}

/// Creates a client with the numbers of gRPC's [retry design, proposal A6][a6].
///
/// | place | what differs from [`client`] |
/// |---|---|
/// | retry | 5 attempts in all, exponential backoff from 100 ms to 1 s, ± 20 % |
/// | budget | a throttle of 10 tokens: a failure costs 1, a success earns 0.1, retries need more than 5 |
///
/// A6 allows at most 5 attempts. The backoff, the tokens and the ratio are those of its examples.
/// Hedges are paid from the same throttle. gRPC has no breaker and no limit. This client keeps those
/// of [`client`].
///
/// The value is not bound to gRPC yet: `.http()` of `buttress-http` does that.
///
/// [a6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
#[doc(alias = "tonic")]
pub fn client_for_grpc() -> Client {
    let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(1));
    let backoff = backoff.jitter(Jitter::Proportional(Ratio::percent(20)));
    let budget = Budget::throttle(RetryThrottle::new(10, Ratio::percent(10)));
    standard("client_for_grpc").edit_retry(|_| RetryLayer::new(5).backoff(backoff).budget(budget))
}

/// Creates a client with the numbers of the AWS SDKs' standard retries, version 2.1, as in
/// [smithy-rs][smithy].
///
/// | place | what differs from [`client`] |
/// |---|---|
/// | retry | 3 attempts in all, exponential backoff from 50 ms to 20 s with full jitter |
/// | budget | a bucket of 500 tokens: a retry costs 14, and gives them back if it succeeds |
///
/// A success at the first attempt earns 1 token. The SDKs wait from 1 s after a throttled call, and
/// charge 5 tokens for its retry. Here a throttled call is charged 14 tokens, and waits for the time
/// that the service names.
///
/// [smithy]: https://github.com/smithy-lang/smithy-rs/blob/main/rust-runtime/aws-smithy-runtime/src/client/retries/strategy/standard.rs
#[doc(alias("S3", "DynamoDB"))]
pub fn client_for_aws() -> Client {
    let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(20));
    let budget = Budget::tokens(TokenBucket::new(500).costs(14, 14));
    standard("client_for_aws").edit_retry(|_| RetryLayer::new(3).backoff(backoff).budget(budget))
}

fn standard(preset: &'static str) -> Client {
    let client = Client {
        fallback: Off,
        deadline: DeadlineLayer::new(Duration::from_secs(30)),
        dedup: Off,
        order: Off,
        retry: RetryLayer::new(3),
        hedge: Off,
        breaker: BreakerLayer::new().window(Duration::from_secs(30)),
        throttle: ThrottleLayer::concurrency(1000),
        attempt: DeadlineLayer::new(Duration::from_secs(10)),
        setup: Setup::new(preset, "client"),
    };
    client.named("client")
}
