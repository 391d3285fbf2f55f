/// The options that every adaptive law has, and what it tells of itself.
macro_rules! limit_options {
    () => {
        /// The limit to start with, 20 by default. Outside of the lowest and the highest it counts as the nearer.
        pub fn initial(mut self, limit: u32) -> Self {
            self.bounds.initial = limit;
            self.limit = self.bounds.start().into();
            self
        }

        /// The lowest limit, also while probing: 1 by default, and 0 counts as 1.
        pub fn min(mut self, limit: u32) -> Self {
            self.bounds.min = limit;
            self.limit = self.bounds.start().into();
            self
        }

        /// The highest limit, 1000 by default. Below the lowest it counts as the lowest.
        pub fn max(mut self, limit: u32) -> Self {
            self.bounds.max = limit;
            self.limit = self.bounds.start().into();
            self
        }

        /// The fewest calls in a round: 100 by default, and fewer than 10 count as 10.
        ///
        /// Fewer calls make a law that answers sooner and errs more.
        pub const fn round(mut self, calls: u32) -> Self {
            self.rounds.set_round_size(calls);
            self
        }

        /// Learns from each call by itself, without rounds and without probes, as the original does.
        ///
        /// For comparison: where the times of calls vary, such a law follows chance.
        pub const fn each_call(mut self) -> Self {
            self.rounds.use_single_samples();
            self
        }

        /// What a call takes that waits for nobody, where that is known before the first call; zero counts as
        /// unknown. It is corrected by what is measured.
        pub fn baseline(mut self, rtt: std::time::Duration) -> Self {
            self.rounds.know($crate::nanos::to_float(rtt));
            self
        }

        /// What a call takes that waits for nobody, as far as it is known.
        pub fn learned(&self) -> Option<std::time::Duration> {
            self.rounds.baseline().map($crate::nanos::from_float)
        }
    };
}

pub(crate) use limit_options;
