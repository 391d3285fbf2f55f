mod grpc_timeout;

use std::time::Duration;

use buttress_core::{Criticality, Deadline, NoTimeLeft, Propagate, SeedAndDeadline, Upload};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use crate::{
    Http, Protocol, RequestHead,
    message::header_value::{has, number},
    options::{DeadlineExtension, HeaderTrust, HttpOptions},
};

pub use self::grpc_timeout::{encode_grpc_timeout, parse_grpc_timeout};

/// A deadline crosses the wire as the time left, because clocks differ: in `grpc-timeout` for gRPC,
/// and in the [header of your choice](Http::timeout_header) for all other requests. Inside the
/// process it may be in the extensions of the request.
///
/// An unreadable header is ignored, and the shortest of several counts.
///
/// A criticality crosses the wire in [a header of its own](Http::criticality_header), by the names
/// of [`Criticality::as_str`]. Inside the process it may be in the extensions, too.
impl<Req: RequestHead> Propagate<Req> for Http {
    /// The earliest of a [`Deadline`] in the extensions, `grpc-timeout` if the request is gRPC, and
    /// the header of your choice. Without any of them the clock is not read.
    fn deadline(&self, request: &Req) -> Option<Deadline> {
        let headers = request.headers();
        // The name comes first, because almost no request has this header.
        let is_grpc = has(headers, &GRPC_TIMEOUT) && Protocol::of(headers) == Protocol::Grpc;
        let in_extensions = request.extensions().and_then(|extensions| extensions.get());
        self.read_deadline(headers, is_grpc, in_extensions.copied())
    }

    /// Announces the time left until `deadline`, less the [margin](Http::deadline_margin), rounded
    /// down. If nothing is left of it, or if the request already says that no time is left, nothing
    /// is written.
    ///
    /// A request that announces the same or less stays as it is. So does one that announces up to 1
    /// ms more: on its way through a server the time left always becomes a little
    /// shorter.
    fn set_deadline(&self, request: &mut Req, deadline: Deadline) -> Result<(), NoTimeLeft> {
        if let Some((header, left)) = self.outgoing_timeout(request.headers(), deadline) {
            header.write(request.headers_mut(), left)?;
        }
        if self.options().deadline_extension == DeadlineExtension::Written {
            extend(request, deadline);
        }
        Ok(())
    }

    fn can_set_deadline(&self, request: &Req, deadline: Deadline) -> Result<(), NoTimeLeft> {
        let headers = request.headers();
        match self.outgoing_timeout(headers, deadline) {
            Some((header, left)) => header.is_said(headers, left).map(drop),
            None => Ok(()),
        }
    }

    /// The [`Criticality`] in the extensions, which the program itself put there. Otherwise the
    /// lowest value of the header, unless the header is [ignored](Http::ignore_criticality_header).
    fn criticality(&self, request: &Req) -> Option<Criticality> {
        let HttpOptions { criticality_header, criticality, .. } = self.options();
        let extension = request.extensions().and_then(|extensions| extensions.get());
        extension.copied().or_else(|| match criticality {
            HeaderTrust::Believed => read_criticality(request.headers(), criticality_header),
            HeaderTrust::Ignored => None,
        })
    }

    /// Writes the header, unless it states this level already. Because a missing header means
    /// [`Critical`](Criticality::Critical), that level is written only in place of another.
    fn set_criticality(&self, request: &mut Req, criticality: Criticality) {
        let name = &self.options().criticality_header;
        let headers = request.headers_mut();
        let said = if has(headers, name) {
            read_criticality(headers, name)
        } else {
            Some(Criticality::Critical)
        };
        if said != Some(criticality) {
            write_criticality(headers, name, criticality);
        }
    }

    /// Watches a streaming body. This costs two allocations, and needs a body type that can hold
    /// another body.
    ///
    /// | body | result |
    /// |---|---|
    /// | an ended body, `Full`, `Empty`, `String`, `()` | complete already: not watched |
    /// | `UnsyncBoxBody`, `BoxBody` (with `BoxError`, `Infallible`, `io::Error`, or the error of a client or server known by a feature), the bodies of axum, tonic and reqwest | watched |
    /// | `hyper::body::Incoming` that has not ended | unknown: box the body to have it watched |
    /// | any other type | taken to be complete already |
    fn watch_upload(&self, request: &mut Req) -> Option<Upload> {
        request.watch()
    }
}

impl Http {
    /// The answers of [`Respond::seed_and_deadline`](buttress_core::Respond::seed_and_deadline).
    #[inline]
    pub(crate) fn protocol_and_deadline(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> SeedAndDeadline<Protocol> {
        let HttpOptions { timeout_header, deadline_extension, .. } = self.options();
        let protocol = Protocol::of(headers);
        let is_grpc = protocol == Protocol::Grpc;
        let in_extensions = extensions.get().copied();
        let deadline = self.read_deadline(headers, is_grpc, in_extensions);
        let announces = is_grpc
            || timeout_header.is_some()
            || *deadline_extension == DeadlineExtension::Written;
        SeedAndDeadline { seed: protocol, deadline, announces }
    }

    /// The answers of
    /// [`Respond::seed_and_criticality`](buttress_core::Respond::seed_and_criticality).
    #[inline]
    pub(crate) fn protocol_and_criticality(
        &self,
        headers: &mut HeaderMap,
        in_extensions: Option<Criticality>,
    ) -> (Protocol, Option<Criticality>) {
        let HttpOptions { criticality_header, criticality, .. } = self.options();
        let (protocol, is_there) = (Protocol::of(headers), has(headers, criticality_header));
        let said = if is_there { read_criticality(headers, criticality_header) } else { None };
        let believed = if *criticality == HeaderTrust::Believed { said } else { None };
        let asked = in_extensions.or(believed);
        let level = asked.unwrap_or_else(Criticality::current);
        let said = if is_there { said } else { Some(Criticality::Critical) };
        if said != Some(level) {
            write_criticality(headers, criticality_header, level);
        }
        (protocol, asked)
    }

    /// The earliest of the deadlines in `grpc-timeout` if the request is gRPC, in the chosen header,
    /// and in the extensions.
    #[inline]
    fn read_deadline(
        &self,
        headers: &HeaderMap,
        is_grpc: bool,
        in_extensions: Option<Deadline>,
    ) -> Option<Deadline> {
        let grpc = if is_grpc { TimeoutHeader::grpc().read(headers) } else { None };
        let chosen = self.chosen().and_then(|header| header.read(headers));
        let timeout = [grpc, chosen].into_iter().flatten().min();
        Deadline::earliest(in_extensions, timeout.map(Deadline::after))
    }

    /// The header in which a request with these `headers` announces `deadline`, and the time to
    /// announce.
    fn outgoing_timeout(
        &self,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Option<(TimeoutHeader<'_>, Duration)> {
        let header = match Protocol::of(headers) {
            Protocol::Grpc => TimeoutHeader::grpc(),
            Protocol::Http => self.chosen()?,
        };
        Some((header, deadline.remaining().saturating_sub(self.options().margin)))
    }

    /// Whether a header of this name may announce a deadline. Names mostly differ in length, so
    /// this is quicker than comparing a [`HeaderName`].
    #[inline]
    pub(crate) fn announcing(&self) -> impl Fn(&str) -> bool + '_ {
        let chosen = self.options().timeout_header.as_ref().map_or("", HeaderName::as_str);
        move |name| name == GRPC_TIMEOUT_NAME || name == chosen
    }

    fn chosen(&self) -> Option<TimeoutHeader<'_>> {
        let name = self.options().timeout_header.as_ref()?;
        Some(TimeoutHeader {
            name,
            parse: parse_milliseconds,
            encode: encode_milliseconds,
            unit: Duration::from_millis(1),
        })
    }
}

/// A header that states the time left.
struct TimeoutHeader<'a> {
    name: &'a HeaderName,
    parse: fn(&[u8]) -> Option<Duration>,
    encode: fn(Duration) -> HeaderValue,
    /// The smallest value that can be written. Less is rounded down to zero.
    unit: Duration,
}

impl TimeoutHeader<'_> {
    fn grpc() -> Self {
        Self {
            name: &GRPC_TIMEOUT,
            parse: parse_grpc_timeout,
            encode: encode_grpc_timeout,
            unit: Duration::from_nanos(1),
        }
    }

    fn read(&self, headers: &HeaderMap) -> Option<Duration> {
        let values = headers.get_all(self.name).iter();
        values.filter_map(|value| (self.parse)(value.as_bytes())).min()
    }

    /// Whether a request with these `headers` announces about `left` already.
    ///
    /// # Errors
    /// [`NoTimeLeft`] if the request announces no time, or if `left` would be announced as zero.
    fn is_said(&self, headers: &HeaderMap, left: Duration) -> Result<bool, NoTimeLeft> {
        let said = self.read(headers);
        if left.is_zero() || said.is_some_and(|said| said.is_zero()) {
            return Err(NoTimeLeft);
        }
        if said.is_some_and(|said| said <= left.saturating_add(SAME)) {
            return Ok(true);
        }
        if left < self.unit { Err(NoTimeLeft) } else { Ok(false) }
    }

    fn write(&self, headers: &mut HeaderMap, left: Duration) -> Result<(), NoTimeLeft> {
        if !self.is_said(headers, left)? {
            headers.insert(self.name, (self.encode)(left));
        }
        Ok(())
    }
}

fn extend<Req: RequestHead>(request: &mut Req, deadline: Deadline) {
    if let Some(extensions) = request.extensions_mut()
        && extensions.get::<Deadline>().is_none_or(|there| deadline < *there)
    {
        extensions.insert(deadline);
    }
}

fn read_criticality(headers: &HeaderMap, name: &HeaderName) -> Option<Criticality> {
    // Almost no request has this header.
    if !has(headers, name) {
        return None;
    }
    let values = headers.get_all(name).iter();
    values.filter_map(|value| Criticality::parse(value.as_bytes())).min()
}

#[cold]
fn write_criticality(headers: &mut HeaderMap, name: &HeaderName, criticality: Criticality) {
    headers.insert(name, HeaderValue::from_static(criticality.as_str()));
}

fn parse_milliseconds(value: &[u8]) -> Option<Duration> {
    number(value).map(Duration::from_millis)
}

fn encode_milliseconds(left: Duration) -> HeaderValue {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).into()
}

/// Announced times that differ by no more than this count as the same.
const SAME: Duration = Duration::from_millis(1);

const GRPC_TIMEOUT_NAME: &str = "grpc-timeout";

static GRPC_TIMEOUT: HeaderName = HeaderName::from_static(GRPC_TIMEOUT_NAME);
