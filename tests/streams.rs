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

/// Where the test gets hold of them, in the order they were made.
#[derive(Debug)]
pub struct Writers(UnboundedReceiver<Writer>);

/// The test's end of a body. The body ends when it is dropped.
#[derive(Debug)]
pub struct Writer(UnboundedSender<Result<Bytes, BoxError>>);

/// Responses for a server, and their other ends for the test.
pub fn streams() -> (Streams, Writers) {
    let (made, writers) = unbounded_channel();
    (Streams(made), Writers(writers))
}

impl Streams {
    /// A response whose body has not ended, and does not say how long it is.
    pub fn respond(&self) -> Response<AnyBody> {
        let (writer, chunks) = unbounded_channel();
        // A test that has ended writes nothing more, and so does its body.
        drop(self.0.send(Writer(writer)));
        let frames = UnboundedReceiverStream::new(chunks).map(|chunk| chunk.map(Frame::data));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl Writers {
    /// The next response that is made.
    ///
    /// # Panics
    /// When none can come any more.
    #[expect(clippy::expect_used, reason = "helpers of tests fail like tests")]
    pub async fn next(&mut self) -> Writer {
        self.0.recv().await.expect("a response")
    }

    /// Whether a response was made that the test has not got hold of.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Writer {
    /// Writes a chunk, if anybody still reads.
    pub fn write(&self, chunk: &'static str) {
        drop(self.0.send(Ok(Bytes::from_static(chunk.as_bytes()))));
    }

    /// Ends the body with an error.
    pub fn fail(self) {
        drop(self.0.send(Err("as told".into())));
    }

    /// Returns when the body has been dropped.
    pub async fn abandoned(&self) {
        self.0.closed().await;
    }
}
