use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_state::sync::lock;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, futures::OwnedNotified, watch};

use crate::names::Tag;

/// Messages of the store that say what has changed, and who waits for which.
pub(crate) struct Hints {
    channels: Vec<String>,
    is_wanted: watch::Sender<bool>,
    waiting: Mutex<HashMap<Tag, Waiting>>,
}

struct Waiting {
    changed: Arc<Notify>,
    callers: usize,
}

impl Hints {
    pub(super) fn new(channels: Vec<String>) -> Self {
        let (is_wanted, _) = watch::channel(false);
        Self { channels, is_wanted, waiting: Mutex::default() }
    }

    /// Makes each connection subscribe.
    pub(crate) fn want(&self) {
        self.is_wanted.send_if_modified(|is_wanted| !std::mem::replace(is_wanted, true));
    }

    pub(super) fn wanted(&self) -> watch::Receiver<bool> {
        self.is_wanted.subscribe()
    }

    pub(super) fn channels(&self) -> &[String] {
        &self.channels
    }

    /// Waits for a message about `subject`. Counts from now on, also before the first poll.
    pub(crate) fn about(self: &Arc<Self>, subject: Tag) -> Hint {
        let mut waiting = lock(&self.waiting);
        let entry = waiting
            .entry(subject)
            .or_insert_with(|| Waiting { changed: Arc::default(), callers: 0 });
        entry.callers += 1;
        let changed = Box::pin(Arc::clone(&entry.changed).notified_owned());
        Hint { hints: Arc::clone(self), subject, changed }
    }

    /// Takes a message of the server.
    pub(super) fn deliver(&self, push: &PushInfo) {
        let (PushKind::Message, [_, Value::BulkString(subject)]) = (&push.kind, &*push.data) else {
            return;
        };
        let Some(subject) = Tag::read(subject) else { return };
        let changed = lock(&self.waiting).get(&subject).map(|entry| Arc::clone(&entry.changed));
        if let Some(changed) = changed {
            changed.notify_waiters();
        }
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hints").finish_non_exhaustive()
    }
}

/// Ready with the next message about a subject.
pub(crate) struct Hint {
    hints: Arc<Hints>,
    subject: Tag,
    changed: Pin<Box<OwnedNotified>>,
}

impl Future for Hint {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.changed.as_mut().poll(cx)
    }
}

impl Drop for Hint {
    fn drop(&mut self) {
        let mut waiting = lock(&self.hints.waiting);
        if let Some(entry) = waiting.get_mut(&self.subject) {
            entry.callers -= 1;
            if entry.callers == 0 {
                waiting.remove(&self.subject);
            }
        }
    }
}
