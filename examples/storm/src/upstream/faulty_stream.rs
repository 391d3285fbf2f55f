//! The server's end of a connection, which can be reset before a request is read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::lock::lock;
use crate::upstream::fault_plan::Behaviour;
use crate::upstream::network::{Network, Treatment};

/// A connection that decides the treatment of a request at its first byte.
///
/// A client sends its next request on a connection only after the whole response to the previous one. So the
/// first bytes to arrive while no treatment is pending belong to a new request. The stream peeks at these
/// bytes, and the network decides. A reset *before the request was read* leaves the bytes unread in the socket.
/// Any other treatment waits in [`PendingTreatment`] until the handler of the parsed request takes it.
///
/// Closing is always a reset (`SO_LINGER` of zero), no matter which side closes and why.
pub(crate) struct FaultyStream {
    stream: TcpStream,
    network: Arc<Mutex<Network>>,
    pending: PendingTreatment,
}

/// The treatment of the request that is being read on a connection.
#[derive(Clone, Default)]
pub(crate) struct PendingTreatment(Arc<Mutex<Option<Treatment>>>);

impl FaultyStream {
    pub(crate) fn new(stream: TcpStream, network: Arc<Mutex<Network>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_zero_linger()?;
        Ok(Self { stream, network, pending: PendingTreatment::default() })
    }

    pub(crate) fn pending(&self) -> PendingTreatment {
        self.pending.clone()
    }

    /// Waits for the first byte of a request and lets the network decide its treatment.
    fn poll_treatment(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut first = [0; 1];
        if ready!(self.stream.poll_peek(cx, &mut ReadBuf::new(&mut first)))? == 0 {
            return Poll::Ready(Ok(())); // the client has closed
        }
        match lock(&self.network).treat(Instant::now()) {
            Treatment::Outage | Treatment::Planned(Behaviour::ResetBefore) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            treatment => {
                self.pending.put(treatment);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl PendingTreatment {
    /// Takes the treatment of the request that was read.
    pub(crate) fn take(&self) -> Option<Treatment> {
        lock(&self.0).take()
    }

    fn put(&self, treatment: Treatment) {
        *lock(&self.0) = Some(treatment);
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_none()
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pending.is_empty() {
            ready!(self.poll_treatment(cx))?;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Does nothing: a FIN would reach the client as an orderly end, before the reset.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
