use std::time::Duration;

use crate::simulation::weather::Condition;

/// A failure that a [`WeatherLayer`](crate::WeatherLayer) injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectedFault {
    /// The hint of a call that the upstream refused, for a header such as `Retry-After`. `None` for
    /// a fault and in an outage.
    pub retry_after: Option<Duration>,
}

impl InjectedFault {
    pub(super) const fn of(condition: Condition) -> Option<Self> {
        match condition {
            Condition::Fault(_) => Some(Self { retry_after: None }),
            Condition::Throttled { retry_after, .. } => {
                Some(Self { retry_after: Some(retry_after) })
            }
            Condition::Clear(_) | Condition::Hang => None,
        }
    }
}

/// Makes the outcome of a call that fails. Closures `Fn(InjectedFault) -> Result<Response, Error>`
/// implement this trait, and so does [`PassOn`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no failure of this service",
    note = "`fail` is a closure `|fault: InjectedFault| -> Result<{Res}, {E}>`"
)]
pub trait Fail<Res, E> {
    /// Returns the outcome, or `None` to pass the call on.
    fn fail(&self, fault: InjectedFault) -> Option<Result<Res, E>>;
}

#[diagnostic::do_not_recommend]
impl<F, Res, E> Fail<Res, E> for F
where
    F: Fn(InjectedFault) -> Result<Res, E>,
{
    fn fail(&self, fault: InjectedFault) -> Option<Result<Res, E>> {
        Some(self(fault))
    }
}

/// Passes a call that would fail on to the inner service.
#[derive(Clone, Copy, Debug)]
pub struct PassOn;

impl<Res, E> Fail<Res, E> for PassOn {
    fn fail(&self, _: InjectedFault) -> Option<Result<Res, E>> {
        None
    }
}
