use std::fmt;
use std::time::Duration;

use super::report::LoadReport;

/// # Assertions
///
/// Each panics if the statement of its name does not hold. The message names the seed, and shows
/// the seconds of the load.
impl LoadReport {
    /// Asserts that the upstream saw at most `limit` calls for each offered call.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn assert_amplification_within(&self, limit: f64) {
        let amplification = self.amplification();
        assert!(
            amplification <= limit,
            "{}: the upstream saw {amplification:.3} calls for each offered call, more than {limit}{}\n{self}",
            self.whose(),
            self.without_upstream()
        );
    }

    /// Asserts that in each window of this length the upstream saw at most `limit` calls for each
    /// call that was offered in the window.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn assert_amplification_within_any(&self, window: Duration, limit: f64) {
        let amplification = self.worst_amplification(window);
        assert!(
            amplification <= limit,
            "{}: in {window:?} the upstream saw {amplification:.3} calls for each offered call, more \
             than {limit}{}\n{self}",
            self.whose(),
            self.without_upstream()
        );
    }

    /// Asserts that full service begins at most `within` after `after`, the end of an outage. See
    /// [`recovery`](LoadReport::recovery).
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn assert_recovers(&self, after: Duration, within: Duration) {
        let recovery = self.recovery(after);
        assert!(
            recovery.is_some_and(|recovery| recovery <= within),
            "{}: full service begins {} after {after:?}, not within {within:?}\n{self}",
            self.whose(),
            recovery.map_or("never".to_owned(), |recovery| format!("{recovery:?}"))
        );
    }

    /// Asserts that at least this share of the offered calls was served.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn assert_goodput_at_least(&self, share: f64) {
        let goodput = self.goodput();
        assert!(
            goodput >= share,
            "{}: {goodput:.3} of the calls were served, less than {share}, and these failed: \
             {:?}\n{self}",
            self.whose(),
            self.failures()
        );
    }

    /// Asserts that 99 % of the served calls took at most `limit`. Fails if no call was served.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn assert_p99_within(&self, limit: Duration) {
        let p99 = self.quantile(0.99);
        assert!(
            p99.is_some_and(|p99| p99 <= limit),
            "{}: the 99th percentile is {p99:?}, not within {limit:?}\n{self}",
            self.whose()
        );
    }

    fn whose(&self) -> Whose {
        Whose(self.seed())
    }

    fn without_upstream(&self) -> &'static str {
        if self.amplification().is_nan() { ", because the load knows no upstream" } else { "" }
    }
}

/// Whose report it is, in a message.
struct Whose(Option<u64>);

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seed) => write!(f, "seed {seed}"),
            None => f.write_str("without a simulation"),
        }
    }
}
