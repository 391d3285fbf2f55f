use tower::Service;

use crate::{
    Base, Case, Flight, Gathering, Inner, Pattern, Source, concurrent_calls::drive_together,
    drive_plain,
};

/// What shares a call, measured in all ways: a lone caller, 64 on a key, tasks on two threads that
/// ask for the same, and ten thousand on one call.
#[derive(Debug)]
pub struct Dedup {
    /// Alone, and 64 at a time.
    pub cases: [Case; 2],
    /// On two threads.
    pub gathering: Gathering,
    /// Ten thousand at once.
    pub flight: Flight,
}

impl Dedup {
    /// `layer` makes a service around the one inside. Its clones share calls.
    pub fn new<S>(by: &'static str, layer: impl Fn(Source) -> S + Copy + 'static) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let alone = Case::new(Pattern::Dedup, by, Base::Plain, move |inner, calls| {
            drive_plain(layer(Source::new(inner)), calls)
        });
        let together = Case::new(Pattern::Dedup, by, Base::Together, move |inner, calls| {
            // One that wakes itself is polled to its end by the second caller.
            let source = if inner == Inner::Pend { Source::held() } else { Source::new(inner) };
            drive_together(layer(source.clone()), &source, calls)
        });
        Self {
            cases: [alone, together],
            gathering: Gathering::joining(by, layer),
            flight: Flight::new(by, layer),
        }
    }
}

/// What keeps an answer and gives it out: one call at a time, and tasks on two threads that ask for
/// the same.
#[derive(Debug)]
pub struct Hits {
    /// One call at a time.
    pub case: Case,
    /// On two threads.
    pub gathering: Gathering,
}

impl Hits {
    /// `layer` makes a service around the one inside. Its clones share what is kept.
    pub fn new<S>(by: &'static str, layer: impl Fn(Source) -> S + Copy + 'static) -> Self
    where
        S: Service<u64, Response = u64, Future: Send, Error: Send> + Clone + Send + 'static,
    {
        let case = Case::new(Pattern::Hit, by, Base::Plain, move |inner, calls| {
            drive_plain(layer(Source::new(inner)), calls)
        });
        Self { case, gathering: Gathering::hitting(by, layer) }
    }
}

/// 64 callers at a time of the service alone, each with a load of its own, which the others are
/// compared with.
pub(crate) fn bare() -> Case {
    Case::new(Pattern::Bare, "–", Base::Together, |inner, calls| {
        let source = Source::new(inner);
        drive_together(source.clone(), &source, calls)
    })
}
