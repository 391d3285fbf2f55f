//! The HTTP and gRPC binding of buttress.
//!
//! [`Http`] is the mode of a layer for `http::Request` and, with the feature `reqwest`, for
//! `reqwest::Request`. `.http()` from [`HttpExt`] binds a layer to it, `.http_with(..)` with options.
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
//! It belongs on every layer around axum, tonic, hyper and reqwest, and on all layers of one stack:
//! an outer layer in another mode takes a rejection for a success. Around anything else, as on a
//! connector, the default mode [`Plain`](buttress_core::Plain) does what is needed.
//!
//! # Readiness
//!
//! The mode has none; that is the layer's.
//!
//! # Errors
//!
//! The error type of the service is untouched, because a rejection is a response:
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
//! A superseded call must not come again, or it would take the place of the call that took its own,
//! and a call that asks for more than the limit ever holds would be turned away again: clients repeat
//! a 429 and a 503 by themselves, a 409 and a 413 they do not, and a negative pushback says the same.
//!
//! When it is known how long to wait, `Retry-After` says so in whole seconds, rounded up and at
//! least one, or `grpc-retry-pushback-ms` in milliseconds. A gRPC answer is Trailers-Only, with
//! status 200, and its `grpc-message` names the layer. The [`Rejection`](buttress_core::Rejection)
//! stands in the extensions of the response, which tells it from the service's own answer.
//!
//! A body that is cut off ends with the status in the trailers when the request was gRPC, and with
//! the rejection as its error otherwise, because the status has been sent by then. No frame is handed
//! on once the layer's [`Guard`](buttress_core::Guard) stops the body, however ready the body is.
//!
//! # Cancellation
//!
//! [`ControlBody`] keeps what a layer holds until the body has ended, failed or been dropped, and
//! drops the body inside first. Nothing is spawned.
//!
//! # Sharing
//!
//! A clone of [`Http`] shares its options and has no state besides.
//!
//! # Deadlines
//!
//! A deadline travels as the time left: in `grpc-timeout` for gRPC, and in a header of one's
//! [choice](Http::timeout_header) for the rest. What comes in only shortens; a value that cannot be
//! read is ignored, and of several the shortest counts. What goes out is rounded down, and replaces
//! only what is more than a millisecond longer.
//!
//! A zero is never written. If the time left, less the [margin](Http::deadline_margin), rounds down to zero,
//! the layer is told that the deadline has expired. In `grpc-timeout` the least is 1 ns, and in the
//! chosen header 1 ms.
//!
//! A deadline that ends at the response head is not announced, because the other side would apply it to
//! the body.
//!
//! # Criticality
//!
//! How much a request matters travels in `x-criticality` or a header of one's
//! [choice](Http::criticality_header), as `sheddable`, `sheddable-plus`, `critical` or
//! `critical-plus`, in letters of either case. A value that cannot be read is ignored, and of several
//! the lowest counts. A [`Criticality`](buttress_core::Criticality) in the extensions of a request
//! comes before the header: it is the program's own word. The header is its client's, so the edge of
//! a network [ignores](Http::ignore_criticality_header) it. `critical` goes without saying: it is written
//! only in place of something else.
//!
//! # Rate headers
//!
//! A layer that limits a rate may tell its callers. It writes `RateLimit-Policy` (the `q` calls per
//! `w` seconds there are) and `RateLimit` (the `r` calls left, and the `t` seconds until all are there
//! again) as [draft-ietf-httpapi-ratelimit-headers-11][draft] has them. Seconds are rounded up, and a
//! window is at least one. The header lines of an inner layer stay. In a name, what a structured field
//! cannot hold is written as `%XX`.
//!
//! [draft]: https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-11
//!
//! # Outcomes and repetition
//!
//! What a status, a `grpc-status` or a transport's error means stands at [`Http`]'s implementation of
//! [`Classify`](buttress_core::Classify), and what was [`never_processed`] there. Which requests a
//! retry sends again, and how their bodies are kept, stands at [`Idempotent`], [`ReplayBody`] and the
//! implementation of [`Replay`](buttress_core::Replay). How one response is given to many callers
//! stands at [`SharedBody`] and the implementation of [`Share`](buttress_core::Share).
//!
//! # Shared and kept responses
//!
//! Which requests are the same, and so may have one response, stands at [`HttpKey`] and at [`Http`]'s
//! implementation of [`KeyOf`](buttress_core::KeyOf). A response is shared unless it is for one client
//! alone: `Set-Cookie`, `private`, `no-store`, `Content-Range` or status 206, a switch to another
//! protocol, a stream of events or pictures without an end, and a `Vary` that is `*` or names a header
//! that the key ignores. Of a long body only a window of [`max_shared_body`](Http::max_shared_body) bytes is held, and all
//! its callers read on within that window; [`SharedBody`] has the rule. How long a response may be kept
//! stands at the implementation of [`Expire`](buttress_core::Expire): as RFC 9111 has it, and what is
//! malformed is read in the strictest way. A response that was kept says so by [`FromCache`] and `Age`.
//!
//! With a key closure of the user's none of these rules about requests apply. Such a key may be given to a
//! `POST`, and a change then outdates nothing. A layer in a nested axum router sees the path without the
//! router's prefix, so each nested router needs a layer of its own.
//!
//! # Events
//!
//! None; they are the layer's.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`max_replay_body`](Http::max_replay_body) | 64 KiB |
//! | [`max_shared_body`](Http::max_shared_body) | 1 MiB |
//! | [`timeout_header`](Http::timeout_header) | none: only gRPC carries a deadline |
//! | [`margin`](Http::deadline_margin) | none |
//! | [`deadline_in_extensions`](Http::deadline_in_extensions) | off |
//! | [`criticality_header`](Http::criticality_header) | `x-criticality` |
//! | [`ignore_criticality_header`](Http::ignore_criticality_header) | off: the header is believed |
//! | [`idempotent`](Http::assume_idempotent) | off: the request itself has to say so |
//! | [`only_marked_idempotent`](Http::only_marked_idempotent) | off: a gRPC call is repeated after the service's own answer too |
//! | [`ignore_headers`](Http::ignore_headers) | the headers that [`HttpKey`] lists |
//! | [`key_headers`](Http::key_headers) | all headers but those |
//! | [`vary`](Http::vary) | none of those |

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
pub use key::HttpKey;
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
