use std::time::Duration;

/// Decides whether to recompute a cached value before it expires.
///
/// When a popular value expires, all its readers miss it at once. So each reader asks here. The
/// nearer the expiry, and the longer the value takes to compute, the likelier a reader is to renew
/// the value in time. This is `XFetch`, of Vattani, Chierichetti and Lowenstein, [*Optimal
/// Probabilistic Cache Stampede Prevention*](https://www.vldb.org/pvldb/vol8/p886-vattani.pdf),
/// VLDB 2015. A refresh is due if `took · beta · −ln(chance) ≥ left`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias("XFetch", "cache stampede"))]
pub struct EarlyRefresh {
    beta: f64,
}

impl EarlyRefresh {
    /// The optimum of the paper: a `beta` of 1.
    pub const OPTIMAL: Self = Self { beta: 1.0 };

    /// Sets `beta`. Above 1 values are renewed earlier, below 1 later. A value that is not a
    /// positive finite number counts as 0: never before the value expires.
    pub const fn new(beta: f64) -> Self {
        Self { beta: if beta > 0.0 && beta.is_finite() { beta } else { 0.0 } }
    }

    /// Returns whether to renew a value that took `took` to compute and has `left` until it
    /// expires. `chance` is a draw above 0 and up to 1.
    pub fn is_due(self, left: Duration, took: Duration, chance: f64) -> bool {
        let ahead = took.as_secs_f64() * self.beta * -chance.clamp(f64::MIN_POSITIVE, 1.0).ln();
        ahead >= left.as_secs_f64()
    }
}
