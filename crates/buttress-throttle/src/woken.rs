use std::task::Waker;

/// Wakers collected under a lock, to be woken after it.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    // Nearly always one, which then costs no allocation.
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Woken {
    pub(crate) fn push(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }

    pub(crate) fn wake(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}
