//! Calls under way, each of which is polled when it was woken and never otherwise.

use std::{collections::BTreeMap, pin::Pin, task::Poll};

use buttress_core::BoxError;
use tokio_test::task::{self, Spawn};

pub(crate) type Id = usize;

pub(crate) type Outcome<T> = Result<T, BoxError>;

#[derive(Default)]
pub(crate) struct Calls<T>(BTreeMap<Id, Call<T>>);

type Call<T> = Spawn<Pin<Box<dyn Future<Output = Outcome<T>>>>>;

impl<T> Calls<T> {
    /// Adds a call, and returns its outcome if the first poll ends it.
    pub(crate) fn start(
        &mut self,
        id: Id,
        call: impl Future<Output = Outcome<T>> + 'static,
    ) -> Option<Outcome<T>> {
        self.0.insert(id, task::spawn(Box::pin(call)));
        self.poll(id)
    }

    /// Polls a call, and returns its outcome if that ends it.
    pub(crate) fn poll(&mut self, id: Id) -> Option<Outcome<T>> {
        let Poll::Ready(outcome) = self.0.get_mut(&id)?.poll() else { return None };
        self.0.remove(&id);
        Some(outcome)
    }

    /// Drops one of the calls, and returns which.
    pub(crate) fn leave(&mut self, which: usize) -> Option<Id> {
        let id = *self.0.keys().nth(which.checked_rem(self.0.len())?)?;
        self.0.remove(&id);
        Some(id)
    }

    /// Polls the calls that were woken until none is, and returns what ended.
    pub(crate) fn settle(&mut self) -> Vec<(Id, Outcome<T>)> {
        let mut ended = Vec::new();
        loop {
            let woken = self.0.iter().filter(|(_, call)| call.is_woken());
            let woken: Vec<_> = woken.map(|(id, _)| *id).collect();
            if woken.is_empty() {
                return ended;
            }
            for id in woken {
                ended.extend(self.poll(id).map(|outcome| (id, outcome)));
            }
        }
    }
}
