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

/// The body of a request on its way to the service, and how long the service had to wait for it.
///
/// The body reports to one clone what becomes of it. A layer asks another clone when the call has ended,
/// because the time a caller needs to send its request is not the service's.
///
/// The clock is read only when the service begins to wait and when that wait ends.
#[derive(Clone, Debug)]
pub struct Upload(Arc<UploadProgress>);

#[derive(Debug)]
struct UploadProgress {
    epoch: Instant,
    /// When the wait that goes on began, in nanoseconds after the epoch and one more; 0 without one.
    since: AtomicU64,
    /// How long all waits took that are over, in nanoseconds.
    waited: AtomicU64,
    // Written last and read first, so that whoever sees an end also sees what was waited for it.
    stage: AtomicU8,
}

/// The share of an [`Upload`] in the time of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadWait {
    /// The service waited this long for the body. The rest of the time is its own.
    For(Duration),
    /// The service still waits, or got on without the rest: its own time is unknown.
    Ongoing,
    /// The body failed: the call ended for its caller's sake.
    Failed,
    /// The body cannot be watched.
    Unknown,
}

impl Upload {
    /// An upload that begins now.
    pub fn begin() -> Self {
        Self::at(SENDING)
    }

    /// The upload of a body that is not watched.
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

    /// The service asked for more of the body, and there is none yet.
    #[inline]
    pub fn pause(&self) {
        if self.0.since.load(Relaxed) == 0 {
            self.0.since.store(self.now().saturating_add(1), Relaxed);
        }
    }

    /// The service has got more of the body.
    #[inline]
    pub fn resume(&self) {
        let since = self.0.since.load(Relaxed);
        if since != 0 {
            // There is one body, so nobody else adds to this.
            let waited = self.0.waited.load(Relaxed);
            self.0
                .waited
                .store(waited + self.now().saturating_add(1).saturating_sub(since), Relaxed);
            self.0.since.store(0, Release);
        }
    }

    /// The service has got all of the body.
    pub fn finish(&self) {
        self.resume();
        self.end_as(ENDED);
    }

    /// The body failed.
    pub fn fail(&self) {
        self.end_as(FAILED);
    }

    /// The body is gone: if the service was not waiting for it, it needed no more.
    pub fn abandon(&self) {
        if self.0.since.load(Relaxed) == 0 {
            self.end_as(ENDED);
        }
    }

    fn end_as(&self, stage: u8) {
        let _ = self.0.stage.compare_exchange(SENDING, stage, Release, Relaxed);
    }

    /// How long the service has waited for the body until now.
    pub fn waited(&self) -> UploadWait {
        let waited = || Duration::from_nanos(self.0.waited.load(Relaxed));
        match self.0.stage.load(Acquire) {
            ENDED => UploadWait::For(waited()),
            FAILED => UploadWait::Failed,
            UNKNOWN => UploadWait::Unknown,
            // A service that has not waited for the body until now had all the time for itself.
            _ if self.0.since.load(Acquire) == 0 && waited().is_zero() => {
                UploadWait::For(Duration::ZERO)
            }
            _ => UploadWait::Ongoing,
        }
    }

    /// Returns the time since the upload began without what the service waited for it, if that is known.
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
    async fn the_times_of_all_waits_add_up() {
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
    async fn a_body_that_nobody_waited_for_took_no_time() {
        let upload = Upload::begin();
        advance(MILLI).await;
        assert_eq!(upload.waited(), UploadWait::For(Duration::ZERO));
        upload.resume();
        upload.abandon();
        assert_eq!(upload.waited(), UploadWait::For(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn what_became_of_a_body_first_is_what_counts() {
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
