mod average;
mod correlation;
mod quantile;

pub(super) use self::average::Average;
pub(super) use self::correlation::Correlation;
pub(super) use self::quantile::Quantile;
