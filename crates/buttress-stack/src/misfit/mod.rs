use std::{borrow::Cow, error::Error, fmt, slice};

mod contradictions;
mod facts;
mod fleet;
mod ranges;

#[cfg(feature = "serde")]
pub(crate) use self::contradictions::contradictions_within;
pub(crate) use self::{
    contradictions::contradictions,
    facts::{Facts, FleetFacts},
    ranges::ranges,
};

/// Settings that contradict each other, or a setting that cannot be right.
///
/// Prints the settings, and says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    settings: Vec<Cow<'static, str>>,
    remedy: String,
}

impl Misfit {
    pub(crate) fn new(
        settings: impl IntoIterator<Item = impl Into<Cow<'static, str>>>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { settings: settings.into_iter().map(Into::into).collect(), remedy: remedy.into() }
    }

    /// Returns the paths of the settings, as in a file: `attempt.timeout`.
    pub fn settings(&self) -> impl ExactSizeIterator<Item = &str> {
        self.settings.iter().map(AsRef::as_ref)
    }

    /// Returns what is wrong and what to do, in sentences.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.settings.join(", "), self.remedy)
    }
}

/// All misfits of a stack or a configuration. Prints one in each line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfits(Vec<Misfit>);

impl Misfits {
    /// `None` if nothing is wrong.
    pub(crate) fn of(misfits: Vec<Misfit>) -> Option<Self> {
        (!misfits.is_empty()).then_some(Self(misfits))
    }

    /// Returns the misfits, at least one.
    pub fn iter(&self) -> slice::Iter<'_, Misfit> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Misfits {
    type Item = &'a Misfit;
    type IntoIter = slice::Iter<'a, Misfit>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Error for Misfits {}

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, misfit) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{misfit}")?;
        }
        Ok(())
    }
}
