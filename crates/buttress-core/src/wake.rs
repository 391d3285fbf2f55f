use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
    thread,
};

/// Wakes every waker, even if a waker panics.
///
/// The first panic is resumed once all are woken. If the thread is panicking already, the panic is
/// dropped instead, because a second panic would abort the process. Hold no lock: a waker is
/// foreign code.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut first = None;
    for waker in wakers {
        if let Err(panic) = catch(|| waker.wake()) {
            first.get_or_insert(panic);
        }
    }
    if let Some(panic) = first
        && !thread::panicking()
    {
        resume_unwind(panic);
    }
}

/// Runs foreign code, and returns its panic as an error.
pub(crate) fn catch(f: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}
