use std::sync::Arc;

use buttress_core::{ByteBudget, Progress};
use bytes::Bytes;
use http_body::{Body, SizeHint};

use super::{
    BodyState, SharedBody, byte_reservation::ByteReservation, frame::SharedFrame, live::LiveBody,
    reader::BodyReader,
};

/// The source of the bodies of the present callers.
#[derive(Debug)]
pub(in crate::share) enum CallerSource<B> {
    Live(Arc<LiveBody<B>>),
    /// The body had ended before it was shared, and stated this size.
    Empty(Arc<SizeHint>),
}

impl<B> CallerSource<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    /// Takes `body` to be shared up to `cap` bytes. Returns it if the budget has fewer bytes left
    /// than the body states.
    pub(in crate::share) fn new(body: B, cap: usize, budget: &Arc<ByteBudget>) -> Result<Self, B> {
        if body.is_end_stream() {
            return Ok(Self::Empty(Arc::new(body.size_hint())));
        }
        // Reserved at once, because `Http::has_room` only looked: two responses may have seen the
        // same bytes.
        let reservation = usize::try_from(body.size_hint().lower()).ok();
        match reservation.and_then(|bytes| ByteReservation::reserve(budget, bytes)) {
            Some(reservation) => Ok(Self::Live(LiveBody::new(body, cap, reservation))),
            None => Err(body),
        }
    }
}

impl<B> CallerSource<B> {
    /// The body of a caller.
    pub(in crate::share) fn read(&self) -> SharedBody<B> {
        let state = match self {
            Self::Live(live) => BodyState::Reading(BodyReader::new(live)),
            Self::Empty(hint) => BodyState::Empty(**hint),
        };
        SharedBody { state }
    }

    pub(in crate::share) fn progress(&self) -> Progress {
        match self {
            Self::Live(live) => live.progress(),
            Self::Empty(_) => Progress::Complete,
        }
    }

    pub(in crate::share) fn expect(&self, callers: usize) {
        if let Self::Live(live) = self {
            live.expect(callers);
        }
    }

    pub(in crate::share) fn abandon(&self) {
        if let Self::Live(live) = self {
            live.give_up();
        }
    }

    /// The complete body and its length. `None` if the body is not complete.
    pub(in crate::share) fn complete(&self) -> Option<(Vec<SharedFrame>, SizeHint)> {
        match self {
            Self::Live(live) => live.complete(),
            Self::Empty(hint) => Some((Vec::new(), **hint)),
        }
    }

    /// The size in bytes so far.
    pub(in crate::share) fn weight(&self) -> usize {
        match self {
            Self::Live(live) => live.weight(),
            Self::Empty(_) => 0,
        }
    }
}

impl<B> Clone for CallerSource<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Live(live) => Self::Live(Arc::clone(live)),
            Self::Empty(hint) => Self::Empty(Arc::clone(hint)),
        }
    }
}
