//! Fuzzes the replay of a body with arbitrary frames, dropped at any point, against a model.
//!
//! Each attempt reads the whole body, or no further attempt is possible.
#![no_main]

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use arbitrary::Arbitrary;
use buttress_core::BoxError;
use buttress_http::ReplayBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use libfuzzer_sys::fuzz_target;

type Boxed = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Arbitrary, Debug)]
struct Input {
    steps: Vec<Step>,
    sized: bool,
    cap: u16,
    /// Per attempt: the polls until it is dropped, and whether a replay is requested before the drop.
    attempts: Vec<(u8, bool)>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    Long(u8, u16),
    Trailers(u8),
    Pause,
    Fail,
}

fuzz_target!(|input: Input| {
    let stream = Stream::new(&input);
    let model = Model::of(&stream);
    let cap = usize::from(input.cap);
    let mut body = stream.boxed_unsync();
    let saved = body.save(cap);
    let Some(saved) = saved else {
        assert!(model.data.len() > cap);
        assert_eq!(read(&mut body, usize::MAX), model);
        return;
    };
    for (polls, early) in input.attempts {
        let length = body.size_hint().exact();
        assert_eq!(length, model.length);
        let part = read(&mut body, polls.into());
        assert!(model.data.starts_with(&part.data));
        if early && !part.end.is_reached() && !body.is_end_stream() {
            assert!(Boxed::again(&saved).is_none());
        }
        drop(body);
        match Boxed::again(&saved) {
            Some(again) => body = again,
            None => {
                assert!(model.size > cap || matches!(part.end, End::Failed));
                return;
            }
        }
    }
    assert_eq!(read(&mut body, usize::MAX), model);
    let is_replayable = model.size <= cap && !matches!(model.end, End::Failed);
    assert_eq!(Boxed::again(&saved).is_some(), is_replayable);
});

/// The contents of a body.
#[derive(Debug, Default)]
struct Model {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: End,
    size: usize,
    length: Option<u64>,
}

impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data && self.trailers == other.trailers && self.end == other.end
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum End {
    #[default]
    Open,
    Reached,
    Failed,
}

impl End {
    fn is_reached(self) -> bool {
        self != Self::Open
    }
}

impl Model {
    fn of(stream: &Stream) -> Self {
        let mut model = Self { length: stream.length, end: End::Reached, ..Self::default() };
        for step in &stream.steps {
            match step {
                Step::Data(data) => model.data.extend(data),
                Step::Long(byte, count) => model.data.extend(vec![*byte; (*count).into()]),
                Step::Trailers(value) => model.trailers = Some(trailers(*value)),
                Step::Pause => {}
                Step::Fail => model.end = End::Failed,
            }
        }
        let trailers = model.trailers.iter().flatten();
        model.size = model.data.len()
            + trailers.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        model
    }
}

struct Stream {
    steps: VecDeque<Step>,
    length: Option<u64>,
}

impl Stream {
    /// Ends the steps after the first trailers or failure. A body of known length has neither.
    fn new(input: &Input) -> Self {
        let is_last = |step: &Step| matches!(step, Step::Trailers(_) | Step::Fail);
        let last = input.steps.iter().position(is_last);
        let mut steps: VecDeque<_> = input.steps.iter().cloned().collect();
        match last {
            Some(last) if input.sized => steps.truncate(last),
            Some(last) => steps.truncate(last + 1),
            None => {}
        }
        let length = |step: &Step| match step {
            Step::Data(data) => data.len() as u64,
            Step::Long(_, count) => u64::from(*count),
            _ => 0,
        };
        let length = input.sized.then(|| steps.iter().map(length).sum());
        Self { steps, length }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.steps.pop_front() {
            None => return Poll::Ready(None),
            Some(Step::Pause) => return Poll::Pending,
            Some(Step::Fail) => return Poll::Ready(Some(Err("the stream broke".into()))),
            Some(Step::Trailers(value)) => Frame::trailers(trailers(value)),
            Some(Step::Data(data)) => Frame::data(Bytes::from(data)),
            Some(Step::Long(byte, count)) => Frame::data(vec![byte; count.into()].into()),
        };
        if let (Some(length), Some(data)) = (&mut self.length, frame.data_ref()) {
            *length -= data.len() as u64;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

fn read(body: &mut Boxed, polls: usize) -> Model {
    let mut model = Model::default();
    for _ in 0..polls {
        match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {}
            Poll::Ready(None) => model.end = End::Reached,
            Poll::Ready(Some(Err(_))) => model.end = End::Failed,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => model.data.extend(data),
                Err(frame) => model.trailers = frame.into_trailers().ok(),
            },
        }
        if model.end.is_reached() {
            break;
        }
    }
    model
}

fn trailers(value: u8) -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from(u16::from(value)))])
}
