use std::time::Duration;

/// Whether a cached value should be recomputed before it expires.
///
/// When a value that many ask for expires, all of them miss it at once. So each that finds it asks
/// here, and the nearer the expiry and the longer the value takes to make, the likelier one of them is
/// to renew it in time: `XFetch`, of Vattani, Chierichetti and Lowenstein,
/// [*Optimal Probabilistic Cache Stampede Prevention*](https://www.vldb.org/pvldb/vol8/p886-vattani.pdf),
/// VLDB 2015. It is due if `took · beta · −ln(chance) ≥ left`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias("XFetch", "cache stampede"))]
pub struct EarlyRefresh {
    beta: f64,
}

impl EarlyRefresh {
    /// The optimum of the paper.
    pub const OPTIMAL: Self = Self { beta: 1.0 };

    /// Earlier for a `beta` above 1, later for one below. What is not a positive number counts as 0:
    /// never before the value expires.
    pub const fn new(beta: f64) -> Self {
        Self { beta: if beta > 0.0 && beta.is_finite() { beta } else { 0.0 } }
    }

    /// Whether a value that took `took` to make, and has `left` until it expires, is to be renewed by
    /// whoever drew `chance`, a number above 0 and up to 1.
    pub fn is_due(self, left: Duration, took: Duration, chance: f64) -> bool {
        let ahead = took.as_secs_f64() * self.beta * -chance.clamp(f64::MIN_POSITIVE, 1.0).ln();
        ahead >= left.as_secs_f64()
    }
}
