/// The options and getters that every adaptive law has.
macro_rules! limit_options {
    () => {
        /// Sets the initial limit. Default: 20. A value outside of [`min`](Self::min) and
        /// [`max`](Self::max) counts as the nearer bound.
        pub fn initial(mut self, limit: u32) -> Self {
            self.bounds.initial = limit;
            self.limit = self.bounds.start().into();
            self
        }

        /// Sets the lowest limit, also while probing. Default: 1. 0 counts as 1.
        pub fn min(mut self, limit: u32) -> Self {
            self.bounds.min = limit;
            self.limit = self.bounds.start().into();
            self
        }

        /// Sets the highest limit. Default: 1000. A value below the lowest limit counts as the
        /// lowest limit.
        pub fn max(mut self, limit: u32) -> Self {
            self.bounds.max = limit;
            self.limit = self.bounds.start().into();
            self
        }

        /// Sets the minimum number of calls in a round. Default: 100. Less than 10 counts as 10.
        ///
        /// With fewer calls, the law reacts sooner and errs more.
        pub const fn round(mut self, calls: u32) -> Self {
            self.rounds.set_round_size(calls);
            self
        }

        /// Learns from each call by itself, without rounds and probes, as the original law does.
        /// Default: off.
        ///
        /// This option is for comparison. If the times of calls vary, such a law follows chance.
        pub const fn each_call(mut self) -> Self {
            self.rounds.use_single_samples();
            self
        }

        /// Sets the time of a call that waits for no other, if known before the first call. Default
        /// and zero: unknown. Measurements correct this value.
        pub fn baseline(mut self, rtt: std::time::Duration) -> Self {
            self.rounds.know($crate::numbers::nanos::to_float(rtt));
            self
        }

        /// Returns the time of a call that waits for no other, if known.
        pub fn learned(&self) -> Option<std::time::Duration> {
            self.rounds.baseline().map($crate::numbers::nanos::from_float)
        }
    };
}

pub(crate) use limit_options;
