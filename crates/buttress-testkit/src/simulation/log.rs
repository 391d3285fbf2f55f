use std::fmt;

/// The events of a [simulation](crate::simulate) as text, a line each, with the virtual time.
#[derive(Clone, PartialEq, Eq)]
pub struct SimulationLog {
    seed: u64,
    text: String,
}

impl SimulationLog {
    pub(super) const fn new(seed: u64, text: String) -> Self {
        Self { seed, text }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the seed of the simulation.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the first line that differs from `other`, or `None` if the texts are the same.
    pub fn first_difference<'a>(&'a self, other: &'a Self) -> Option<LogDifference<'a>> {
        let (mut left, mut right) = (self.text.lines(), other.text.lines());
        for line in 1.. {
            match (left.next(), right.next()) {
                (None, None) => return None,
                (left, right) if left == right => {}
                (left, right) => return Some(LogDifference { line, left, right }),
            }
        }
        None
    }

    /// Checks that `other` is the same text.
    ///
    /// # Panics
    ///
    /// If not: names the seeds and the first line that differs.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        if let Some(difference) = self.first_difference(other) {
            let (seed, other) = (self.seed, other.seed);
            assert!(seed != other, "two runs with seed {seed} differ in {difference}");
            assert!(
                seed == other,
                "the runs with the seeds {seed} and {other} differ in {difference}"
            );
        }
    }
}

impl fmt::Display for SimulationLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SimulationLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        f.write_str(&self.text)
    }
}

/// The first line in which two logs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDifference<'a> {
    /// The number of the line, from 1.
    pub line: usize,
    /// The line of the first log, or `None` if that log has ended.
    pub left: Option<&'a str>,
    /// The line of the second log, or `None` if that log has ended.
    pub right: Option<&'a str>,
}

impl fmt::Display for LogDifference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |line: Option<&'_ str>| line.map_or("(ended)".to_owned(), str::to_owned);
        write!(f, "line {}:\n  {}\n  {}", self.line, line(self.left), line(self.right))
    }
}
