use axum::response::Response;
use buttress::BoxError;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};

use crate::AnyBody;

/// Makes responses whose bodies the test writes.
#[derive(Clone, Debug)]
pub struct Streams(UnboundedSender<Writer>);

/// The writers of these bodies, in the order in which the responses were made.
#[derive(Debug)]
pub struct Writers(UnboundedReceiver<Writer>);

/// The test's end of a body. The body ends when the writer is dropped.
#[derive(Debug)]
pub struct Writer(UnboundedSender<Result<Bytes, BoxError>>);

/// Creates a source of responses for a server, and the writers of their bodies for the test.
pub fn streams() -> (Streams, Writers) {
    let (made, writers) = unbounded_channel();
    (Streams(made), Writers(writers))
}

impl Streams {
    /// Creates a response whose body stays open and has no known length.
    pub fn respond(&self) -> Response<AnyBody> {
        let (writer, chunks) = unbounded_channel();
        // If the test has ended, the send fails and drops the writer, which ends the body.
        drop(self.0.send(Writer(writer)));
        let frames = UnboundedReceiverStream::new(chunks).map(|chunk| chunk.map(Frame::data));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl Writers {
    /// Waits for the writer of the next response.
    ///
    /// # Panics
    /// If every [`Streams`] has been dropped.
    #[expect(clippy::expect_used, reason = "fixtures of tests may panic")]
    pub async fn next(&mut self) -> Writer {
        self.0.recv().await.expect("a response")
    }

    /// Whether no response was made whose writer the test has not taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Writer {
    /// Writes a chunk. Does nothing if the body was dropped.
    pub fn write(&self, chunk: &'static str) {
        drop(self.0.send(Ok(Bytes::from_static(chunk.as_bytes()))));
    }

    /// Ends the body with an error.
    pub fn fail(self) {
        drop(self.0.send(Err("as told".into())));
    }

    /// Waits until the body has been dropped.
    pub async fn abandoned(&self) {
        self.0.closed().await;
    }
}
