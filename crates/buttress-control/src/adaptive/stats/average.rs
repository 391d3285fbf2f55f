/// An exponentially weighted average that begins as the plain mean of its first values.
///
/// The law of [Netflix's `ExpAvgMeasurement`][netflix] and [failsafe-go's
/// `MovingAverage`][failsafe].
///
/// [netflix]: https://github.com/Netflix/concurrency-limits/blob/main/concurrency-limits-core/src/main/java/com/netflix/concurrency/limits/limit/measurement/ExpAvgMeasurement.java
/// [failsafe]: https://github.com/failsafe-go/failsafe-go/blob/master/internal/util/average.go
#[derive(Clone, Copy, Debug)]
pub(crate) struct Average {
    value: f64,
    count: u32,
    /// The weight of a value after the first ones.
    weight: f64,
}

impl Average {
    /// An average that mostly remembers `age` values: each has the weight `2 / (age + 1)`.
    pub(crate) fn over(age: u32) -> Self {
        Self { value: 0.0, count: 0, weight: 2.0 / (f64::from(age.max(1)) + 1.0) }
    }

    /// Takes this value as the mean of the first values, if there were none.
    pub(crate) fn begin_at(&mut self, value: Option<f64>) {
        if let Some(value) = value
            && self.count == 0
        {
            (self.value, self.count) = (value, WARM_UP);
        }
    }

    pub(crate) fn add(&mut self, value: f64) -> f64 {
        let weight = if self.count < WARM_UP {
            self.count += 1;
            1.0 / f64::from(self.count)
        } else {
            self.weight
        };
        self.value += (value - self.value) * weight;
        self.value
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        self.value *= factor;
    }
}

const WARM_UP: u32 = 10;

#[cfg(test)]
mod tests {
    use super::Average;

    /// Netflix concurrency-limits, `ExpAvgMeasurementTest`.
    #[test]
    fn mean_of_ten_values_turns_into_the_weighted_average() {
        let mut average = Average::over(100);
        for step in 0..10_u32 {
            let mean = average.add(10.0 + f64::from(step));
            assert!((mean - (10.0 + 0.5 * f64::from(step))).abs() < 0.01, "{mean}");
        }
        let weighted = average.add(100.0);
        assert!((weighted - 16.2).abs() < 0.1, "{weighted}");
    }
}
