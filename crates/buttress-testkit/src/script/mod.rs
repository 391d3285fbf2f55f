use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use buttress_core::Rejection;

mod frames;
mod scripted;

pub use self::frames::Frames;
pub use self::scripted::{Received, Scripted, ScriptedFuture};

/// A script for a [`Scripted`] service, call by call.
///
/// Each step is for one call, and the last step is for all later calls. A script without steps
/// never answers.
///
/// ```
/// use buttress_testkit::Script;
/// use std::{io, time::Duration};
/// use tower_service::Service;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let upstream = Script::new()
///     .answer(|_| Err(io::Error::other("down"))).times(2)
///     .delay(Duration::from_millis(30)).ok("up")
///     .service();
///
/// let mut service = upstream.clone();
/// assert!(service.call(1).await.is_err());
/// assert!(service.call(2).await.is_err());
/// assert_eq!(service.call(3).await.unwrap(), "up");
/// assert_eq!(upstream.received()[2].request, 3);
/// # }
/// ```
///
/// The hints and bodies of a protocol are part of its responses. With `http`, a step is
/// `.answer(|_| http::Response::builder().status(503).header("retry-after", "1").body(..))`.
#[must_use = "call `.service()`"]
pub struct Script<Req, Res, E, N = Req> {
    steps: Vec<Step<Req, Res, E>>,
    note: Note<Req, N>,
    delay: Duration,
    ready: bool,
}

impl<Req: Clone + 'static, Res, E> Script<Req, Res, E> {
    /// Creates a script whose service records each request. For requests that are not `Clone`, see
    /// [`noting`](Self::noting).
    #[expect(clippy::new_without_default, reason = "a default says nothing about what is noted")]
    pub fn new() -> Self {
        Self::noting(Req::clone)
    }
}

impl<Req, Res, E, N> Script<Req, Res, E, N> {
    /// Creates a script whose service records the value that `note` returns for each request.
    pub fn noting(note: impl Fn(&Req) -> N + Send + Sync + 'static) -> Self {
        Self { steps: Vec::new(), note: Box::new(note), delay: Duration::ZERO, ready: true }
    }

    /// Sets the duration of the next step, on tokio's clock.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Appends a step that answers with `response`.
    pub fn ok(self, response: Res) -> Self
    where
        Res: Clone + Send + Sync + 'static,
    {
        self.answer(move |_| Ok(response.clone()))
    }

    /// Appends a step that fails with `error`. For errors that are not `Clone`, see
    /// [`answer`](Self::answer).
    pub fn error(self, error: E) -> Self
    where
        E: Clone + Send + Sync + 'static,
    {
        self.answer(move |_| Err(error.clone()))
    }

    /// Appends a step that rejects the call, as a layer does.
    pub fn reject(self, why: Rejection) -> Self
    where
        E: From<Rejection>,
    {
        self.answer(move |_| Err(why.clone().into()))
    }

    /// Appends a step whose outcome `answer` computes.
    pub fn answer(self, answer: impl Fn(Req) -> Result<Res, E> + Send + Sync + 'static) -> Self {
        self.then(Act::Answer(Arc::new(answer)))
    }

    /// Appends a step that runs `serve`, which may wait, read the body of the request and fail
    /// halfway.
    pub fn serve<F>(self, serve: impl Fn(Req) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Res, E>> + Send + 'static,
    {
        self.then(Act::Serve(Arc::new(move |request| Box::pin(serve(request)))))
    }

    /// Appends a step that never answers.
    pub fn hang(self) -> Self {
        self.then(Act::Hang)
    }

    /// Makes the last step apply to `calls` calls in all. 0 and 1 both mean a single call.
    pub fn times(mut self, calls: usize) -> Self {
        if let Some(last) = self.steps.last().cloned() {
            self.steps.extend((1..calls).map(|_| last.clone()));
        }
        self
    }

    /// Makes `poll_ready` pending for ever, like a client whose connection attempt hangs.
    pub fn never_ready(mut self) -> Self {
        self.ready = false;
        self
    }

    /// Creates the service. Its clones share a single run of the script.
    pub fn service(self) -> Scripted<Req, Res, E, N> {
        Scripted::new(self.steps, self.note, self.ready)
    }

    fn then(mut self, act: Act<Req, Res, E>) -> Self {
        self.steps.push(Step { delay: std::mem::take(&mut self.delay), act });
        self
    }
}

pub(crate) struct Step<Req, Res, E> {
    pub(crate) delay: Duration,
    pub(crate) act: Act<Req, Res, E>,
}

impl<Req, Res, E> Clone for Step<Req, Res, E> {
    fn clone(&self) -> Self {
        Self {
            delay: self.delay,
            act: match &self.act {
                Act::Answer(answer) => Act::Answer(Arc::clone(answer)),
                Act::Serve(serve) => Act::Serve(Arc::clone(serve)),
                Act::Hang => Act::Hang,
            },
        }
    }
}

pub(crate) enum Act<Req, Res, E> {
    Answer(Arc<dyn Fn(Req) -> Result<Res, E> + Send + Sync>),
    Serve(Arc<dyn Fn(Req) -> Serving<Res, E> + Send + Sync>),
    Hang,
}

pub(crate) type Serving<Res, E> = Pin<Box<dyn Future<Output = Result<Res, E>> + Send>>;

pub(crate) type Note<Req, N> = Box<dyn Fn(&Req) -> N + Send + Sync>;
