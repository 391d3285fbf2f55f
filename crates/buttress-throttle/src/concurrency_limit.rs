use std::sync::Arc;

use crate::{
    gate::Gate,
    limit::{Admission, Ask, Fresh, Limit},
    permit::Permit,
    place::Place,
    regulate::{Fixed, Regulate},
    sync::is_only,
};

/// So many calls at a time: a number that the user sets ([`Fixed`]) or a law
/// ([`Adaptive`](crate::Adaptive)).
#[derive(Debug)]
pub struct ConcurrencyLimit<A = Fixed> {
    pub(crate) gate: Arc<Gate<A>>,
}

impl<A: Regulate> ConcurrencyLimit<A> {
    pub(crate) fn new(limit: u32, regulator: A) -> Self {
        Self { gate: Arc::new(Gate::new(limit, regulator)) }
    }
}

impl<Req, A: Regulate> Limit<Req> for ConcurrencyLimit<A> {
    type Permit = Permit<A>;
    type Wait = Place<A>;

    #[inline]
    fn admit(&self, _: &Req, ask: &Ask<'_>) -> Admission<Permit<A>, Place<A>> {
        self.gate.admit(ask)
    }
}

impl<A: Regulate> Fresh for ConcurrencyLimit<A> {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn fresh(&self) -> Self {
        Self { gate: Arc::new(self.gate.fresh()) }
    }

    fn is_idle(&self) -> bool {
        // Every permit and every place in line holds the gate.
        is_only(&self.gate) && self.gate.regulator.is_idle()
    }

    fn admitted(&self) -> [u64; 4] {
        self.gate.admitted()
    }
}

impl<A> Clone for ConcurrencyLimit<A> {
    fn clone(&self) -> Self {
        Self { gate: Arc::clone(&self.gate) }
    }
}
