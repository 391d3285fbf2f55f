//! A server's end of a connection, on which the weather strikes before a request is read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::upstream::fault_plan::Card;
use crate::upstream::network::{Fate, Weather};

/// A connection whose requests get their fate with their first byte.
///
/// A client sends its next request on a connection only after the whole answer to the last one. So the
/// first bytes to arrive while no fate is in hand are a new request: they are peeked at, not read,
/// the weather deals, and a reset *before the request was read* leaves them unread in the socket. Any
/// other fate waits in the [`Hand`] until the parsed request comes to the handler and takes it.
///
/// Closing is always a reset (`SO_LINGER` of zero), whoever closes and for whatever reason.
pub(crate) struct Wire {
    stream: TcpStream,
    weather: Arc<Mutex<Weather>>,
    hand: Hand,
}

/// The fate of the request that is being read on one connection.
#[derive(Clone, Default)]
pub(crate) struct Hand(Arc<Mutex<Option<Fate>>>);

impl Wire {
    pub(crate) fn new(stream: TcpStream, weather: Arc<Mutex<Weather>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_zero_linger()?;
        Ok(Self { stream, weather, hand: Hand::default() })
    }

    pub(crate) fn hand(&self) -> Hand {
        self.hand.clone()
    }

    /// Waits for the first byte of a request and asks the weather about it.
    fn poll_fate(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut first = [0; 1];
        if ready!(self.stream.poll_peek(cx, &mut ReadBuf::new(&mut first)))? == 0 {
            return Poll::Ready(Ok(())); // the client has closed
        }
        match lock(&self.weather).arrival(Instant::now()) {
            Fate::Outage | Fate::Dealt(Card::ResetBefore) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            fate => {
                self.hand.put(fate);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Hand {
    /// Takes the fate of the request just read.
    pub(crate) fn take(&self) -> Option<Fate> {
        lock(&self.0).take()
    }

    fn put(&self, fate: Fate) {
        *lock(&self.0) = Some(fate);
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_none()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.hand.is_empty() {
            ready!(self.poll_fate(cx))?;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
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

    /// Says no farewell: it would reach the client as an orderly end, before the reset.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Nothing panics under these locks, so a poisoned one is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
