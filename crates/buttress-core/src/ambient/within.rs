use std::marker::PhantomData;

use self::sealed::Sealed;

/// Evaluates an expression, such as a call or a poll, under ambient values.
///
/// `within!(values, expression)` does what [`Deadline::with`](crate::Deadline::with),
/// [`Criticality::with`](crate::Criticality::with) and [`SharedCount::run`](crate::SharedCount::run)
/// do with a closure. The former values are restored, also if the expression panics or returns
/// early. A closure would copy a request that it captures, and this macro copies nothing.
///
/// | `values` | ambient for the expression |
/// |---|---|
/// | `Option<Deadline>` | the deadline |
/// | `Criticality` | the criticality |
/// | `(SharedCount, Attempt)` | the attempt, in a layer with this count |
///
/// ```
/// use buttress_core::{Deadline, within};
/// use std::time::Duration;
///
/// let limit = Deadline::after(Duration::from_secs(2));
/// assert_eq!(within!(Some(limit), Deadline::current()), Some(limit));
/// assert_eq!(Deadline::current(), None);
/// ```
///
/// The guard that restores the values has no name outside of the macro, so it is dropped neither
/// too early nor out of order. The guard must not be held across an `.await`, because other calls
/// run on the thread meanwhile. [`Deadline::around`](crate::Deadline::around) is for futures. A future
/// that awaits inside `within!` is not `Send`:
///
/// ```compile_fail
/// use buttress_core::{Criticality, within};
///
/// tokio::spawn(async { within!(Criticality::Sheddable, tokio::task::yield_now().await) });
/// ```
#[macro_export]
macro_rules! within {
    ($values:expr, $run:expr) => {{
        let _restore = $crate::AmbientValues::enter($values);
        $run
    }};
}

/// The values that [`within!`](crate::within) takes. Sealed.
pub trait AmbientValues: Sealed {
    /// Restores the former values on drop.
    #[doc(hidden)]
    type Restore;

    /// Makes these values the ambient ones.
    #[doc(hidden)]
    fn enter(self) -> Self::Restore;
}

/// Keeps a guard on the thread whose values it restores.
pub(super) type ThreadBound = PhantomData<*const ()>;

pub(super) mod sealed {
    pub trait Sealed {}
}
