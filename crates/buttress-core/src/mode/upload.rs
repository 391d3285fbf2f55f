use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU8, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

/// The progress of a request body on its way to the service, and the time that the service waited
/// for it.
///
/// The body reports to one clone. A layer reads another clone when the call has ended, because the
/// time that a caller needs to send its request is not the service's.
///
/// The clock is read only when the service begins to wait and when that wait ends.
#[derive(Clone, Debug)]
pub struct Upload(Arc<UploadProgress>);

#[derive(Debug)]
struct UploadProgress {
    epoch: Instant,
    /// The start of the current wait, in nanoseconds after the epoch plus 1. 0 if the service does
    /// not wait.
    since: AtomicU64,
    /// The sum of all past waits, in nanoseconds. Only the body writes it.
    waited: AtomicU64,
    // Stored last, by `end_as` (Release), and loaded first, by `waited` (Acquire): a reader that
    // sees an end also sees all waits before it.
    stage: AtomicU8,
}

/// The part of an [`Upload`] in the time of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadWait {
    /// The service waited this long for the body. The rest of the time is its own.
    For(Duration),
    /// The service is still waiting, or went on without the rest of the body. Its own time is
    /// unknown.
    Ongoing,
    /// The body failed, so the caller ended the call.
    Failed,
    /// The body cannot be watched.
    Unknown,
}

impl Upload {
    /// Creates an upload that starts now.
    pub fn begin() -> Self {
        Self::at(SENDING)
    }

    /// Creates the upload of a body that is not watched.
    pub fn unknown() -> Self {
        Self::at(UNKNOWN)
    }

    fn at(stage: u8) -> Self {
        Self(Arc::new(UploadProgress {
            epoch: Instant::now(),
            since: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            stage: AtomicU8::new(stage),
        }))
    }

    /// The service asked for a frame, and none is ready.
    #[inline]
    pub fn pause(&self) {
        // Relaxed: only the body calls `pause`, `resume` and `abandon`, and reads its own writes.
        if self.0.since.load(Relaxed) == 0 {
            self.0.since.store(self.now().saturating_add(1), Relaxed);
        }
    }

    /// The service received a frame.
    #[inline]
    pub fn resume(&self) {
        let since = self.0.since.load(Relaxed);
        if since != 0 {
            // A load and a store are enough, because only the body adds.
            let waited = self.0.waited.load(Relaxed);
            self.0
                .waited
                .store(waited + self.now().saturating_add(1).saturating_sub(since), Relaxed);
            // Release, for the Acquire load in `waited`: a reader that sees no wait sees the sum
            // that includes the last wait.
            self.0.since.store(0, Release);
        }
    }

    /// The service received the last frame.
    pub fn finish(&self) {
        self.resume();
        self.end_as(ENDED);
    }

    /// The body failed.
    pub fn fail(&self) {
        self.end_as(FAILED);
    }

    /// The body was dropped. A service that was not waiting needed no more of the body.
    pub fn abandon(&self) {
        // Relaxed, as in `pause`: the body that is dropped has stored `since` itself.
        if self.0.since.load(Relaxed) == 0 {
            self.end_as(ENDED);
        }
    }

    fn end_as(&self, stage: u8) {
        // The first end counts: a body that failed is dropped after that.
        // Release, for the Acquire load in `waited`. Relaxed on failure, because the stage found
        // there is not used.
        let _ = self.0.stage.compare_exchange(SENDING, stage, Release, Relaxed);
    }

    /// Returns the time that the service has waited for the body so far.
    pub fn waited(&self) -> UploadWait {
        let waited = || Duration::from_nanos(self.0.waited.load(Relaxed));
        // Acquire, for the Release in `end_as`: the closure then reads the sum of all waits.
        match self.0.stage.load(Acquire) {
            ENDED => UploadWait::For(waited()),
            FAILED => UploadWait::Failed,
            UNKNOWN => UploadWait::Unknown,
            // A service that never waited for the body has had all the time for itself.
            // Acquire, for the Release in `resume`: a wait that has ended is in the sum by then.
            _ if self.0.since.load(Acquire) == 0 && waited().is_zero() => {
                UploadWait::For(Duration::ZERO)
            }
            _ => UploadWait::Ongoing,
        }
    }

    /// Returns the time since the upload began, less the time that the service waited, if that is
    /// known.
    pub fn elapsed(&self) -> Option<Duration> {
        match self.waited() {
            UploadWait::For(waited) => Some(self.0.epoch.elapsed().saturating_sub(waited)),
            _ => None,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

const SENDING: u8 = 0;
const ENDED: u8 = 1;
const FAILED: u8 = 2;
const UNKNOWN: u8 = 3;

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn upload_adds_up_all_waits() {
        let upload = Upload::begin();
        for _ in 0..3 {
            advance(5 * MILLI).await;
            upload.pause();
            advance(MILLI).await;
            upload.pause();
            advance(MILLI).await;
            assert_eq!(upload.waited(), UploadWait::Ongoing);
            upload.resume();
        }
        assert_eq!(upload.waited(), UploadWait::Ongoing, "it got on without the rest");
        upload.pause();
        advance(MILLI).await;
        assert_eq!(upload.elapsed(), None);
        upload.finish();
        assert_eq!(upload.waited(), UploadWait::For(7 * MILLI));
        assert_eq!(upload.elapsed(), Some(15 * MILLI));
    }

    #[tokio::test(start_paused = true)]
    async fn upload_without_a_wait_takes_no_time() {
        let upload = Upload::begin();
        advance(MILLI).await;
        assert_eq!(upload.waited(), UploadWait::For(Duration::ZERO));
        upload.resume();
        upload.abandon();
        assert_eq!(upload.waited(), UploadWait::For(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn first_end_of_an_upload_counts() {
        let dropped = Upload::begin();
        dropped.pause();
        dropped.abandon();
        assert_eq!(dropped.waited(), UploadWait::Ongoing);
        let failed = Upload::begin();
        failed.fail();
        failed.abandon();
        failed.finish();
        assert_eq!(failed.waited(), UploadWait::Failed);
        let unknown = Upload::unknown();
        unknown.abandon();
        assert_eq!(unknown.waited(), UploadWait::Unknown);
    }
}
