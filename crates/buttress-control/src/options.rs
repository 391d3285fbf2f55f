/// The options that every adaptive law has.
macro_rules! limit_options {
    () => {
        /// The limit to start with, 20 by default; the nearer end if it is outside of [`Self::min`] and
        /// [`Self::max`].
        pub fn initial(mut self, limit: u32) -> Self {
            self.span.initial = limit;
            self.limit = self.span.start().into();
            self
        }

        /// The lowest limit, 1 by default; 0 counts as 1. It is kept while probing, too.
        pub fn min(mut self, limit: u32) -> Self {
            self.span.min = limit;
            self.limit = self.span.start().into();
            self
        }

        /// The highest limit, 1000 by default; less than the lowest counts as the lowest.
        pub fn max(mut self, limit: u32) -> Self {
            self.span.max = limit;
            self.limit = self.span.start().into();
            self
        }

        /// The fewest calls in a round, 100 by default and at least 10. A round also holds at least twice as
        /// many calls as the limit.
        pub fn round(mut self, calls: u32) -> Self {
            self.rounds = $crate::rounds::Rounds::of(calls);
            self
        }

        /// Learns from every call by itself and probes nothing, as the original does where it is not wrapped
        /// into a window.
        ///
        /// For comparison. Calls whose times vary move such a law about at random.
        pub fn each_call(mut self) -> Self {
            self.rounds = $crate::rounds::Rounds::single();
            self
        }

        /// The learned time of a call that waits for nobody; none before the first round.
        pub fn no_load(&self) -> Option<std::time::Duration> {
            self.rounds.no_load().map($crate::nanos::from_float)
        }
    };
}

pub(crate) use limit_options;
