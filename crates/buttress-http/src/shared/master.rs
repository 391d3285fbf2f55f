use std::sync::Arc;

use buttress_core::{Allowance, Progress};
use bytes::Bytes;
use http_body::Body;

use super::{
    Form, SharedBody,
    charge::Charge,
    live::{Live, Reader},
    whole::Whole,
};

/// What the bodies of many callers are made from.
#[derive(Debug)]
pub(super) enum Master<B> {
    Live(Arc<Live<B>>),
    Whole(Arc<Whole>),
}

impl<B> Master<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    /// Takes `body` to be shared up to `cap` bytes, or gives it back if the allowance has not as many
    /// as it says it holds.
    pub(super) fn new(body: B, cap: usize, allowance: &Arc<Allowance>) -> Result<Self, B> {
        if body.is_end_stream() {
            return Ok(Self::Whole(Arc::new(Whole::new(Vec::new(), body.size_hint()))));
        }
        let charge = usize::try_from(body.size_hint().lower()).ok();
        match charge.and_then(|bytes| Charge::reserve(allowance, bytes)) {
            Some(charge) => Ok(Self::Live(Live::new(body, cap, charge))),
            None => Err(body),
        }
    }
}

impl<B> Master<B> {
    /// The body of one caller.
    pub(super) fn read(&self, is_first: bool) -> SharedBody<B> {
        let form = match self {
            Self::Live(live) => Form::Reading(Reader::new(live, is_first)),
            Self::Whole(whole) => Form::Playing { whole: Arc::clone(whole), index: 0 },
        };
        SharedBody { form }
    }

    pub(super) fn progress(&self) -> Progress {
        match self {
            Self::Live(live) => live.progress(),
            Self::Whole(_) => Progress::Whole,
        }
    }

    pub(super) fn abandon(&self) {
        if let Self::Live(live) = self {
            live.give_up();
        }
    }

    /// The whole body, with no tie to the callers of now.
    pub(super) fn keep(&self) -> Self {
        match self {
            Self::Live(live) => match live.whole() {
                Some(whole) => Self::Whole(Arc::new(whole.apart())),
                None => self.clone(),
            },
            Self::Whole(whole) => Self::Whole(Arc::new(whole.apart())),
        }
    }

    /// How many bytes the whole body takes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Live(live) => live.weight(),
            Self::Whole(whole) => whole.weight(),
        }
    }
}

impl<B> Clone for Master<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Live(live) => Self::Live(Arc::clone(live)),
            Self::Whole(whole) => Self::Whole(Arc::clone(whole)),
        }
    }
}
