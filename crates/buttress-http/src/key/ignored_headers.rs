use http::HeaderName;

/// Request headers that are not part of a key, because each can identify neither the caller nor the
/// resource.
///
/// Every other header may. A name belongs on this list only for such a reason, and only if the
/// header separates equal requests in practice. A missing name costs sharing. A wrong name gives a
/// caller the response of another.
///
/// `baggage` travels with the traces but is not here: an application puts its own values there,
/// such as a user or a tenant.
pub(crate) const IGNORED_HEADERS: [&str; 28] = [
    // Hop-by-hop: about this connection (RFC 9110, section 7.6.1).
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    // The length of no body: any other makes the request go alone.
    "content-length",
    // The demands of the request on a cache, which this layer reads itself (RFC 9111, section
    // 5.2.1).
    "cache-control",
    "pragma",
    // How soon the response is wanted, not which (RFC 9218).
    "priority",
    // The name of a single request, for logs.
    "x-request-id",
    "x-correlation-id",
    // The place of a single request in a trace: W3C Trace Context, B3 (Zipkin), Jaeger, and the
    // tracers of AWS, Google Cloud, Datadog, New Relic and Sentry.
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-origin",
    "x-datadog-tags",
    "newrelic",
    "sentry-trace",
];

/// The names of `IGNORED_HEADERS`, each reduced to a bit.
pub(crate) const IGNORED_BITS: u64 = bits(&IGNORED_HEADERS);

/// A name reduced to a bit. Most names are looked up in vain, and asking a header map would hash
/// each of them.
pub(crate) const fn bit(name: &[u8]) -> u64 {
    // The factors below separate the headers of most requests from the listed ones.
    let (first, last) = match name {
        [first, .., last] => (*first as usize, *last as usize),
        [only] => (*only as usize, *only as usize),
        [] => (0, 0),
    };
    1 << ((name.len() + 62 * first + 37 * last) % 64)
}

/// All these names, each reduced to a bit.
pub(crate) const fn bits(names: &[&str]) -> u64 {
    match names {
        [] => 0,
        [name, rest @ ..] => bit(name.as_bytes()) | bits(rest),
    }
}

/// Whether the list contains `name`, in upper or lower case.
pub(crate) fn has(names: &[HeaderName], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
}
