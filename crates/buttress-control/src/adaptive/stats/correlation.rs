/// The correlation of two numbers over the last fifty rounds, as in [failsafe-go's
/// `CorrelationWindow`][failsafe].
///
/// [failsafe]: https://github.com/failsafe-go/failsafe-go/blob/master/internal/util/windows.go
#[derive(Clone, Debug)]
pub(crate) struct Correlation {
    pairs: [(f64, f64); WINDOW],
    count: usize,
    /// The index of the oldest pair once the window is full.
    next: usize,
}

impl Correlation {
    pub(crate) const EMPTY: Self = Self { pairs: [(0.0, 0.0); WINDOW], count: 0, next: 0 };

    pub(crate) fn add(&mut self, x: f64, y: f64) -> Relation {
        if let Some(oldest) = self.pairs.get_mut(self.next) {
            *oldest = (x, y);
        }
        self.next = (self.next + 1) % WINDOW;
        self.count = (self.count + 1).min(WINDOW);
        if self.count < WARM_UP { Relation::NONE } else { self.relation() }
    }

    fn relation(&self) -> Relation {
        let pairs = || self.pairs.iter().take(self.count);
        let mean = |of: fn(f64, f64) -> f64| average(pairs().map(|(x, y)| of(*x, *y)));
        let (mean_x, mean_y) = (mean(|x, _| x), mean(|_, y| y));
        let centred = || pairs().map(|(x, y)| (x - mean_x, y - mean_y));
        let deviation_x = average(centred().map(|(x, _)| x * x)).sqrt();
        let deviation_y = average(centred().map(|(_, y)| y * y)).sqrt();
        let covariance = average(centred().map(|(x, y)| x * y));
        let variation = deviation_y / mean_y;
        let moves = deviation_x / mean_x >= STILL && variation >= STILL;
        let coefficient = if moves { covariance / (deviation_x * deviation_y) } else { 0.0 };
        Relation { coefficient, variation }
    }
}

/// The result of a [`Correlation`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relation {
    /// Pearson's coefficient, from −1 to 1. 0 if one of the numbers hardly moves, or too few pairs
    /// were seen.
    pub(crate) coefficient: f64,
    /// The standard deviation of the second number as a share of its mean.
    pub(crate) variation: f64,
}

impl Relation {
    const NONE: Self = Self { coefficient: 0.0, variation: 0.0 };
}

fn average(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

const WINDOW: usize = 50;

const WARM_UP: usize = 10;

/// A number that varies by less than a hundredth counts as constant.
const STILL: f64 = 0.01;
