use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use buttress_core::Rejection;

mod scripted;

pub use self::scripted::{Received, Scripted, ScriptedFuture};

/// What a [`Scripted`] service does, call by call.
///
/// Each step is for one call; the last one is for all calls that follow. A script without steps
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
/// A protocol's hints and bodies are part of its responses: with `http`, a step is
/// `.answer(|_| http::Response::builder().status(503).header("retry-after", "1").body(..))`.
#[must_use = "call `.service()`"]
pub struct Script<Req, Res, E, N = Req> {
    steps: Vec<Step<Req, Res, E>>,
    note: Note<Req, N>,
    delay: Duration,
    ready: bool,
}

impl<Req: Clone + 'static, Res, E> Script<Req, Res, E> {
    /// A script whose service notes down each request. For requests that are not `Clone`, see
    /// [`noting`](Self::noting).
    #[expect(clippy::new_without_default, reason = "a default says nothing about what is noted")]
    pub fn new() -> Self {
        Self::noting(Req::clone)
    }
}

impl<Req, Res, E, N> Script<Req, Res, E, N> {
    /// A script whose service notes down of each request what `note` makes of it.
    pub fn noting(note: impl Fn(&Req) -> N + Send + Sync + 'static) -> Self {
        Self { steps: Vec::new(), note: Box::new(note), delay: Duration::ZERO, ready: true }
    }

    /// The next step takes this long, on tokio's clock.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Answers with `response`.
    pub fn ok(self, response: Res) -> Self
    where
        Res: Clone + Send + Sync + 'static,
    {
        self.answer(move |_| Ok(response.clone()))
    }

    /// Fails with `error`. For errors that are not `Clone`, see [`answer`](Self::answer).
    pub fn error(self, error: E) -> Self
    where
        E: Clone + Send + Sync + 'static,
    {
        self.answer(move |_| Err(error.clone()))
    }

    /// Rejects the call, as a layer does.
    pub fn reject(self, why: Rejection) -> Self
    where
        E: From<Rejection>,
    {
        self.answer(move |_| Err(why.clone().into()))
    }

    /// Gives the outcome that `answer` has for the request.
    pub fn answer(self, answer: impl Fn(Req) -> Result<Res, E> + Send + Sync + 'static) -> Self {
        self.then(Act::Answer(Arc::new(answer)))
    }

    /// Does what `serve` does, which may wait, read the request's body and fail halfway.
    pub fn serve<F>(self, serve: impl Fn(Req) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Res, E>> + Send + 'static,
    {
        self.then(Act::Serve(Arc::new(move |request| Box::pin(serve(request)))))
    }

    /// Never answers.
    pub fn hang(self) -> Self {
        self.then(Act::Hang)
    }

    /// Has the last step `calls` times in all; 0 and 1 are once.
    pub fn times(mut self, calls: usize) -> Self {
        if let Some(last) = self.steps.last().cloned() {
            self.steps.extend((1..calls).map(|_| last.clone()));
        }
        self
    }

    /// `poll_ready` is pending for ever, like a client whose connect hangs.
    pub fn never_ready(mut self) -> Self {
        self.ready = false;
        self
    }

    /// The service that follows this script. Its clones share one copy of it.
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
