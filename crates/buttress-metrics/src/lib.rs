//! Metrics of tower layers: a registry of their handles, and a layer that measures calls, for
//! Prometheus and OpenTelemetry.
//!
//! ```
//! use buttress_core::BoxError;
//! use buttress_metrics::{CallEnd, CallRecord, MeterLayer, Registry};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let sink = |call: &CallRecord<'_>| println!("{} after {:?}", call.end.as_str(), call.duration);
//! let meter = MeterLayer::call(sink).named("payments");
//! let handle = meter.handle();
//! let registry = Registry::new().add(meter.handle()); // and the handles of all other layers
//! let service = ServiceBuilder::new()
//!     .layer(meter)
//!     .service_fn(|row: u32| async move { Ok::<_, BoxError>(row) });
//! service.oneshot(7).await.unwrap();
//! assert_eq!(handle.ended(CallEnd::Success), 1);
//! registry.read(|reading| println!("{}: {:?}", reading.metric().name(), reading.value()));
//! # }
//! ```
//!
//! # When to use it
//!
//! Use a [`Registry`] in each process that has layers of buttress and a metrics system. The layers
//! count in any case, and an exporter reads the counts when it is scraped. So a registry costs a call
//! nothing, and no event is lost between two scrapes.
//!
//! Use a [`MeterLayer`] where a duration is of interest: [`call`](MeterLayer::call) outermost, and
//! [`attempt`](MeterLayer::attempt) innermost. Events of `tracing` stay the way to see why a single
//! decision was made.
//!
//! # Exporters
//!
//! | feature | counters and gauges | histograms |
//! |---|---|---|
//! | `metrics` | `Registry::publish`, before each scrape | `MetricsSink` |
//! | `opentelemetry` | `Registry::register`, once | `OpenTelemetrySink` |
//!
//! Prometheus is reached through the exporter of either. With that of the crate `metrics`, switch the
//! recommended names on, and give each of the [`HISTOGRAMS`] its buckets. The chapter on
//! observability in the guide of `buttress` shows both. The repository has a
//! [dashboard for Grafana](https://github.com/buttress-rs/buttress/tree/main/examples/dashboard).
//!
//! # Metrics
//!
//! All layers of buttress together have these metrics. The names in Prometheus are those of the
//! recommended naming, which the exporters of OpenTelemetry have too.
//!
#![doc = include_str!("vocabulary.md")]
//!
//! Each series has the label `name`, the name of its layer. A metric with a label has a series for
//! each value, all known when the program is built. No key, path or message is ever a label, because
//! each would be a time series of its own. The docs of the layers say what their metrics count.
//!
//! The label is `name` and not `instance`, as the field in events. Prometheus gives each target a
//! label `instance`, and would rename the label of the layer.
//!
//! `buttress.call.begun` is the sum of `ended`, over all values of `verdict`, and of `in_flight`.
//!
//! # What ends a call
//!
//! A call begins with `call`. The wait for readiness is not measured. It ends with its error or with
//! its response. In `Http` mode it ends with the end of the body:
//!
//! | end | `verdict` |
//! |---|---|
//! | error, or a response that is a failure | the mode's verdict on it, as `snake_case` |
//! | last frame, or trailers without a status | `success` |
//! | trailers of gRPC | the verdict on their `grpc-status` |
//! | error of the body | `transient`, or the verdict on the rejection inside |
//! | dropped, head or body, or panicked | `dropped` |
//!
//! A failed response stays failed, however its body ends. If responses are often dropped unread, use
//! [`until_head`](MeterLayer::until_head). A rejection by an inner layer has the verdict `rejected`,
//! and is counted with its reason at that layer only.
//!
//! # Readiness
//!
//! `poll_ready` is the inner service's.
//!
//! # Errors
//!
//! The error type is the inner service's, and the layer makes no errors. If a sink panics, the panic
//! continues in the poll that ended the call. The call has been counted before. While another panic
//! unwinds, that of the sink is caught.
//!
//! # Cancellation
//!
//! Dropping the response future or the body drops the call, and counts it as `dropped`. Nothing is
//! spawned.
//!
//! # Sharing
//!
//! Clones of a layer, and all services it makes, share their counts, unless the layer is
//! [`per_service`](MeterLayer::per_service). No option starts fresh counts. Each thread counts on its
//! own cache line. A call takes no lock and does not allocate; a sink may.
//!
//! Clones of a registry share its handles. No lock is held while a handle is read.
//!
//! # Events
//!
//! None.
//!
//! # Defaults
//!
//! | option | default |
//! |---|---|
//! | [`named`](MeterLayer::named) | `"meter"` |
//! | [`until_head`](MeterLayer::until_head) | off: until the body ends |
//! | [`classify`](MeterLayer::classify) | the mode's |
//! | [`per_service`](MeterLayer::per_service) | off: all services share their counts |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod meter;
#[cfg(feature = "metrics")]
mod metrics_facade;
#[cfg(feature = "opentelemetry")]
mod open_telemetry;
mod record;
mod registry;
mod vocabulary;

pub use meter::{Meter, MeterGuard, MeterHandle, MeterLayer, MeterSnapshot, ResponseFuture};
#[cfg(feature = "metrics")]
pub use metrics_facade::MetricsSink;
#[cfg(feature = "opentelemetry")]
pub use open_telemetry::OpenTelemetrySink;
pub use record::{CallEnd, CallRecord, Record, Subject};
pub use registry::Registry;
pub use vocabulary::{COUNT_BUCKETS, DURATION_BUCKETS, HISTOGRAMS, NAME_LABEL};

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
