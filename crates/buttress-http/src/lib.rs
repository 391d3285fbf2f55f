//! HTTP and gRPC support for the layers of buttress: rejections as responses, deadlines in headers,
//! keys, shared bodies and cache rules.
//!
//! [`Http`] is the mode of a layer for `http::Request` and, with the feature `reqwest`, for
//! `reqwest::Request`. `.http()` from [`HttpExt`] binds a layer to this mode, and `.http_with(..)`
//! does so with options.
//!
//! ```
//! use std::time::Duration;
//!
//! use buttress_core::Propagate;
//! use buttress_http::Http;
//! use http::{HeaderName, Request};
//!
//! let http = Http::new().timeout_header(HeaderName::from_static("x-request-timeout-ms"));
//! let request = Request::get("/").header("x-request-timeout-ms", "250").body(())?;
//! let deadline = http.deadline(&request).ok_or("no deadline")?;
//! assert!(deadline.remaining() <= Duration::from_millis(250));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! When to use it: on every layer around axum, tonic, hyper and reqwest, and on all layers of a
//! stack. An outer layer in another mode takes a rejection for a success. When not: around anything
//! else, such as a connector. There the default mode [`Plain`](buttress_core::Plain) is right.
//!
//! # Readiness
//!
//! The mode has none. Readiness belongs to the layer.
//!
//! # Errors
//!
//! The error type of the service stays the same, because a rejection is a response:
//!
//! | reason | HTTP | gRPC |
//! |---|---|---|
//! | deadline exceeded | 504 | 4, `DEADLINE_EXCEEDED` |
//! | overloaded, circuit open | 503 | 14, `UNAVAILABLE` |
//! | rate limited | 429 | 8, `RESOURCE_EXHAUSTED` |
//! | never admissible | 413 | 8, with the pushback `-1` |
//! | superseded | 409 | 14, with the pushback `-1` |
//! | panicked | 500 | 13, `INTERNAL` |
//! | not cached, for `only-if-cached` | 504 | 14, `UNAVAILABLE` |
//!
//! A retry of a superseded call would displace the call that displaced it, and a call whose cost
//! exceeds the limit would be rejected again. Many clients repeat a 429 and a 503 without being
//! told to, but neither a 409 nor a 413. A negative pushback says the same in gRPC.
//!
//! If the wait is known, `Retry-After` states it in whole seconds, rounded up and at least 1, or
//! `grpc-retry-pushback-ms` in milliseconds. A gRPC rejection is Trailers-Only, with status 200,
//! and its `grpc-message` names the layer. The [`Rejection`](buttress_core::Rejection) is in the
//! extensions of the response, and is missing in a response of the service.
//!
//! If a layer cuts off a body, the status has been sent already. A gRPC response then ends with the
//! status in its trailers, and any other response with the rejection as the error of its body. Once
//! the layer's [`Guard`](buttress_core::Guard) stops the body, no frame is passed on, even if the
//! body is always ready.
//!
//! # Cancellation
//!
//! [`ControlBody`] holds the guard of a layer until the body has ended, failed or been dropped, and
//! drops the inner body first. No task is spawned.
//!
//! # Sharing
//!
//! A clone of [`Http`] shares its options. The mode has no other state.
//!
//! # Events
//!
//! None. Events belong to the layer.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`max_replay_body`](Http::max_replay_body) | 64 KiB |
//! | [`max_shared_body`](Http::max_shared_body) | 1 MiB |
//! | [`timeout_header`](Http::timeout_header) | none: only gRPC carries a deadline |
//! | [`deadline_margin`](Http::deadline_margin) | zero |
//! | [`deadline_in_extensions`](Http::deadline_in_extensions) | off |
//! | [`criticality_header`](Http::criticality_header) | `x-criticality` |
//! | [`ignore_criticality_header`](Http::ignore_criticality_header) | off: the header is trusted |
//! | [`fallback_header`](Http::fallback_header) | none: only the extensions mark the answer of a fallback |
//! | [`assume_idempotent`](Http::assume_idempotent) | off: the request itself must say so |
//! | [`only_marked_idempotent`](Http::only_marked_idempotent) | off: a gRPC call is also repeated after the service's own response |
//! | [`ignore_headers`](Http::ignore_headers) | the headers that [`HttpKey`] lists |
//! | [`key_headers`](Http::key_headers) | all headers except those |
//! | [`vary`](Http::vary) | none |
//!
//! # Headers
//!
//! All headers that the mode reads or writes. Any other header is only part of a key, unless [`HttpKey`]
//! lists it as ignored.
//!
//! | header | read by | written by | default |
//! |---|---|---|---|
//! | `grpc-timeout` | deadline, retry, throttle | deadline; retry and throttle anew after a wait | on for gRPC |
//! | [`timeout_header`](Http::timeout_header) | deadline, retry, throttle | deadline; retry and throttle anew after a wait | no such header |
//! | [`criticality_header`](Http::criticality_header) | throttle | throttle, unless it says the same already | `x-criticality` |
//! | [`fallback_header`](Http::fallback_header) | – | fallback, in an answer of its own | no such header |
//! | `Content-Type` of a request | all layers: HTTP or gRPC | – | on |
//! | `Content-Type` of a response | retry, throttle, dedup: HTTP or gRPC, endless streams | all layers, in a gRPC rejection | on |
//! | `grpc-status`, `grpc-message` | all layers that judge outcomes read the status | all layers, in a gRPC rejection | on |
//! | `grpc-retry-pushback-ms` | retry and others that judge outcomes | all layers, in a gRPC rejection | on |
//! | `Retry-After`, with `Date` | retry and others that judge outcomes | all layers, in a rejection | on |
//! | `RateLimit-Policy`, `RateLimit` | – | throttle, for a rate | off: the layer's `advertise_quota` |
//! | `Idempotency-Key` | retry | – | on |
//! | `grpc-previous-rpc-attempts` | – | retry, from the second attempt on | on for gRPC |
//! | `Cache-Control`, `Pragma` of a request | dedup, with a cache | – | on |
//! | `Cache-Control`, `Pragma`, `Expires`, `Date` of a response | dedup, with a cache | – | on |
//! | `Age` | dedup, with a cache | dedup, in a cached response | on |
//! | `Vary`, `Set-Cookie`, `Content-Range`, `Connection`, `Content-Length` of a response | dedup: may the response be shared | – | on |
//! | `Authorization` | dedup, with a cache | – | on |
//! | `Host` | [`Authority`], if the target has no authority; dedup: which resource a request changes | – | on |
//! | `Range`, `If-*`, `Expect`, `Upgrade`, `Connection`, `Content-Length`, `Transfer-Encoding`, `Accept`, `Last-Event-ID`, `X-HTTP-Method`, `X-HTTP-Method-Override`, `X-Method-Override` of a request | dedup: does the request bypass it | – | on |
//!
//! # Deadlines
//!
//! A deadline travels as the time left: in `grpc-timeout` for gRPC, and in the [header of your
//! choice](Http::timeout_header) for all other requests. An incoming header can only shorten the
//! deadline. An unreadable value is ignored, and the shortest of several counts. An outgoing value
//! is rounded down, and replaces a value in the request only if that is more than 1 ms longer.
//!
//! Zero is never written. If the time left, less the [margin](Http::deadline_margin), rounds down
//! to zero, the layer treats the deadline as expired. The smallest value is 1 ns in `grpc-timeout`
//! and 1 ms in the header of your choice.
//!
//! A deadline that ends at the response head is not announced, because the other side would apply
//! the deadline to the body.
//!
//! # Criticality
//!
//! The criticality travels in `x-criticality`, or in the [header of your
//! choice](Http::criticality_header), as `sheddable`, `sheddable-plus`, `critical` or
//! `critical-plus`, in upper or lower case. An unreadable value is ignored, and the lowest of
//! several counts.
//!
//! A [`Criticality`](buttress_core::Criticality) in the extensions of a request takes precedence
//! over the header, because the program itself put it there. The header comes from the client, so
//! [ignore](Http::ignore_criticality_header) it at the edge of a network. `critical` is the meaning
//! of no header: it is written only in place of another value.
//!
//! # Rate headers
//!
//! A layer that limits a rate can report the rate to its callers. `RateLimit-Policy` states `q`
//! calls per `w` seconds. `RateLimit` states the `r` calls left, and the `t` seconds until all are
//! back. Both follow [draft-ietf-httpapi-ratelimit-headers-11][draft]. Seconds are rounded up, and
//! a window is at least 1 s. The header lines of an inner layer stay. In a name, bytes that a
//! structured field cannot hold are written as `%XX`.
//!
//! [draft]: https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-11
//!
//! # Outcomes and retries
//!
//! - The implementation of [`Classify`](buttress_core::Classify) for [`Http`] says what a status, a
//!   `grpc-status` or a transport error means. [`never_processed`] says which requests no server
//!   began to process.
//! - The implementation of [`Blend`](buttress_core::Blend) for [`Http`] joins a response with another
//!   in its place, and marks the latter as [`Degraded`](buttress_core::Degraded).
//! - [`Idempotent`] says which requests a retry repeats. [`ReplayBody`] and the implementation of
//!   [`Replay`](buttress_core::Replay) say how their bodies are kept.
//!
//! # Shared and cached responses
//!
//! The rows are read from top to bottom, and the first row that applies decides:
//!
//! | request or response | shared between concurrent callers | cached | because |
//! |---|---|---|---|
//! | request with another method than `GET` or `HEAD`, with a body, `Range`, `If-*`, `Expect`, `Upgrade`, `Accept: text/event-stream`, or gRPC | bypassed | no | only this caller can use the response |
//! | request with `Cache-Control: no-cache` or `no-store` | bypassed | no | the caller wants a response made now |
//! | response with `Set-Cookie`, `private` or `no-store` | no | no | for a single client |
//! | response with `Content-Range`, status 206 or 1xx | no | no | not a whole response |
//! | response that switches protocols | no | no | carries the connection |
//! | `text/event-stream`, `multipart/x-mixed-replace` | no | no | has no end |
//! | response with `Vary: *`, or `Vary` on a header outside of the key | no | no | the callers' requests may differ in it |
//! | body that states a length over [`max_shared_body`](Http::max_shared_body) | no | no | would not fit |
//! | body that turns out to be longer | yes, by its present callers | no | they read on within a window of that size, see [`SharedBody`] |
//! | response that carries [`Degraded`](buttress_core::Degraded) | yes | no | stands in for a failure |
//! | response of gRPC (with a key of your own), or a rejection by an inner layer | yes | no | gRPC reports a failure at the end; a rejection says nothing about the resource |
//! | response with `no-cache` | yes | no | each use would need a validation |
//! | request with `Authorization`, and a response without `public`, `s-maxage` and `must-revalidate` | yes | no | RFC 9111, section 3.5 |
//! | status other than 200, 203, 204, 300 to 303, 307, 308, 404, 405, 410, 414, 501 | yes | no | only the listed ones are known to stay true for a while (RFC 9110, section 15) |
//! | response without a lifetime of its own | yes | if the layer's TTL says so, except 302, 303 and 307 | RFC 9110, section 15.1 |
//! | any other response | yes | for the lifetime that it states | RFC 9111 |
//!
//! The key of a request is at [`HttpKey`], and the exact rules are at the implementations of
//! [`KeyOf`](buttress_core::KeyOf), [`Share`](buttress_core::Share) and
//! [`Expire`](buttress_core::Expire). Malformed cache headers are read in the strictest way. A
//! cached response is marked by [`FromCache`] and `Age`.
//!
//! With a key closure of your own, the closure alone decides which requests bypass the layer. Such
//! a key can also be given to a `POST`. `Cache-Control` of a request then demands no freshness, and
//! unsafe requests invalidate no entry. A response to a request with `no-store` is still not
//! cached, and the rule about `Authorization` still holds.
//!
//! A layer in a nested axum router sees the path without the prefix of the router, so each nested
//! router needs a layer of its own.
//!
//! # Cached responses of a fleet
//!
//! Replicas can share their cached responses in a store. [`Http`] is the
//! [`Codec`](buttress_core::Codec) of the responses, and [`HttpKey`] is a
//! [`StoreKey`](buttress_core::StoreKey). A hit from the store is the same as a hit from this
//! process's memory.
//!
//! | stays in this process | because |
//! |---|---|
//! | every response that is not cached | the table above |
//! | response to a request with a user, a password, or a header that can identify a caller | [`HttpKey`] lists the headers that cannot. The layer can allow the others |
//! | response with a sensitive value, or of reqwest with a user or a password in its URL | a store keeps them in the clear |
//! | response with a header or a trailer about a connection, or with `Set-Cookie` as a trailer | not for other callers |
//! | more than 256 headers, 64 KiB of headers, or the bytes that the layer permits | would not fit |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod classify;
mod expire;
mod key;
mod mark;
mod message;
mod mode;
mod options;
mod propagate;
mod replay;
mod respond;
mod share;

pub use classify::never_processed::never_processed;
pub use classify::retry_after::{grpc_pushback, retry_after};
pub use expire::FromCache;
pub use key::{Authority, HttpKey};
pub use message::{Protocol, RequestHead, ResponseHead};
pub use mode::{Http, HttpExt};
pub use propagate::{encode_grpc_timeout, parse_grpc_timeout};
pub use replay::{Idempotent, ReplayBody};
pub use respond::ControlBody;
pub use share::{ShareBody, SharedBody, TooLong};

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
