use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// The frames of a body, or the items of a stream, by script.
///
/// The type belongs to no protocol: build a stream or a body from [`poll_next`](Self::poll_next).
/// With `http-body-util` and `futures-util`, the body of a response is
/// `StreamBody::new(stream::poll_fn(move |cx| frames.poll_next(cx)))` over frames of type
/// `Result<Frame<Bytes>, BoxError>`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use buttress_testkit::Frames;
/// use std::{future::poll_fn, time::Duration};
///
/// let mut frames = Frames::new().frame("first").delay(Duration::from_millis(10)).frame("second");
/// let start = tokio::time::Instant::now();
/// assert_eq!(poll_fn(|cx| frames.poll_next(cx)).await, Some("first"));
/// assert_eq!(poll_fn(|cx| frames.poll_next(cx)).await, Some("second"));
/// assert_eq!(start.elapsed(), Duration::from_millis(10));
/// assert_eq!(poll_fn(|cx| frames.poll_next(cx)).await, None);
/// # }
/// ```
#[must_use = "frames are to be polled"]
pub struct Frames<T> {
    cues: VecDeque<Cue<T>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<T> Frames<T> {
    /// Creates a script without frames, which ends at once.
    pub fn new() -> Self {
        Self { cues: VecDeque::new(), sleep: None }
    }

    /// Appends `frame`.
    pub fn frame(self, frame: T) -> Self {
        self.then(Cue::Frame(frame))
    }

    /// Appends a pause of `delay`, on tokio's clock.
    pub fn delay(self, delay: Duration) -> Self {
        self.then(Cue::Delay(delay))
    }

    /// Stops here: neither a frame nor the end follows.
    pub fn hang(self) -> Self {
        self.then(Cue::Hang)
    }

    /// Polls for the next frame, or `None` at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.cues.pop_front() {
                Some(Cue::Frame(frame)) => return Poll::Ready(Some(frame)),
                Some(Cue::Delay(delay)) => self.sleep = Some(Box::pin(sleep(delay))),
                Some(Cue::Hang) => {
                    self.cues.push_front(Cue::Hang);
                    return Poll::Pending;
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn then(mut self, cue: Cue<T>) -> Self {
        self.cues.push_back(cue);
        self
    }
}

impl<T> Default for Frames<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Frames<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("left", &self.cues.len()).finish_non_exhaustive()
    }
}

enum Cue<T> {
    Frame(T),
    Delay(Duration),
    Hang,
}
