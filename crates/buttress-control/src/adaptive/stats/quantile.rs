/// A quantile of a stream of numbers, kept in five markers: the P² algorithm.
///
/// R. Jain and I. Chlamtac, [The P² Algorithm for Dynamic Calculation of Quantiles and Histograms
/// Without Storing Observations][p2], Communications of the ACM 28 (10), 1985.
///
/// [p2]: https://doi.org/10.1145/4372.4378
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantile {
    share: f64,
    count: u32,
    markers: [Marker; 5],
}

impl Quantile {
    /// The value below which this share of the numbers lies, from 0 to 1.
    pub(crate) fn of(share: f64) -> Self {
        // A marker at infinity is a free place.
        let markers = [0.0, share / 2.0, share, f64::midpoint(1.0, share), 1.0];
        let markers = markers.map(|share| Marker { share, height: f64::INFINITY, rank: 0.0 });
        Self { share, count: 0, markers }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        if self.count <= 5 {
            self.fill(value);
        } else {
            self.place(value);
            self.adjust();
        }
    }

    /// The estimate, which is exact for up to five numbers. 0 for none.
    pub(crate) fn value(&self) -> f64 {
        let [.., middle, _, _] = self.markers;
        if self.count > 5 {
            return middle.height;
        }
        let rank = (self.share * f64::from(self.count)).ceil().max(1.0);
        let below = self.markers.iter().take_while(|marker| marker.rank <= rank);
        below.filter(|marker| marker.height.is_finite()).last().map_or(0.0, |marker| marker.height)
    }

    /// The first five numbers are the markers, in order.
    fn fill(&mut self, value: f64) {
        let mut heights = self.markers.map(|marker| marker.height);
        let [.., last] = &mut heights;
        *last = value;
        heights.sort_unstable_by(f64::total_cmp);
        let mut rank = 0.0;
        for (marker, height) in self.markers.iter_mut().zip(heights) {
            rank += 1.0;
            (marker.height, marker.rank) = (height, rank);
        }
    }

    fn place(&mut self, value: f64) {
        let [lowest, inner @ .., highest] = &mut self.markers;
        lowest.height = lowest.height.min(value);
        highest.height = highest.height.max(value);
        highest.rank += 1.0;
        for marker in inner {
            if value < marker.height {
                marker.rank += 1.0;
            }
        }
    }

    /// Moves each inner marker by one rank if it stands at least one rank off.
    fn adjust(&mut self) {
        let numbers = f64::from(self.count - 1);
        let [lowest, low, middle, high, highest] = &mut self.markers;
        low.adjust(numbers, *lowest, *middle);
        middle.adjust(numbers, *low, *high);
        high.adjust(numbers, *middle, *highest);
    }
}

#[derive(Clone, Copy, Debug)]
struct Marker {
    /// The quantile that the marker estimates.
    share: f64,
    height: f64,
    /// The number of values at or below the height.
    rank: f64,
}

impl Marker {
    fn adjust(&mut self, numbers: f64, left: Self, right: Self) {
        let off = 1.0 + self.share * numbers - self.rank;
        let step = if off >= 1.0 && right.rank - self.rank > 1.0 {
            1.0
        } else if off <= -1.0 && self.rank - left.rank > 1.0 {
            -1.0
        } else {
            return;
        };
        let (before, after) = (self.rank - left.rank, right.rank - self.rank);
        let rise = (self.height - left.height) / before;
        let fall = (right.height - self.height) / after;
        let bend = ((before + step) * fall + (after - step) * rise) / (right.rank - left.rank);
        let parabolic = self.height + step * bend;
        let linear = self.height + step * if step > 0.0 { fall } else { rise };
        let between = left.height < parabolic && parabolic < right.height;
        self.height = if between { parabolic } else { linear };
        self.rank += step;
    }
}

#[cfg(test)]
mod tests {
    use super::Quantile;

    fn ninety(values: impl IntoIterator<Item = u32>) -> f64 {
        let mut quantile = Quantile::of(0.9);
        values.into_iter().for_each(|value| quantile.add(f64::from(value)));
        quantile.value()
    }

    #[test]
    fn quantile_of_few_numbers_is_exact() {
        assert!(ninety([]) < 1e-9);
        assert!((ninety([7]) - 7.0).abs() < 1e-9);
        assert!((ninety([5, 1, 4, 2, 3]) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn quantile_of_many_numbers_is_near() {
        // 7919 is prime to 10,000, so this is each number below 10,000 once, well mixed.
        let mixed = (0..10_000).map(|n| n * 7919 % 10_000);
        let estimate = ninety(mixed);
        assert!((estimate - 9000.0).abs() < 50.0, "{estimate}");
    }

    /// The example of the paper, its table I: the median of twenty observations is estimated as
    /// 4.44.
    #[test]
    fn published_example_gives_the_published_estimate() {
        let values = [
            0.02, 0.15, 0.74, 3.39, 0.83, 22.37, 10.15, 15.43, 38.62, 15.92, 34.60, 10.28, 1.47,
            0.40, 0.05, 11.39, 0.27, 0.42, 0.09, 11.37,
        ];
        let mut quantile = Quantile::of(0.5);
        for value in values {
            quantile.add(value);
        }
        assert!((quantile.value() - 4.44).abs() < 0.01, "{}", quantile.value());
    }
}
