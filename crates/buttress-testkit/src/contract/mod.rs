use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tower_layer::Layer;

use self::{
    handle_use::HandleUse,
    trial::{CheckResult, ProbeOf, Trial},
};

mod caller;
mod checks;
mod clause;
mod dialect;
mod handle_use;
mod subject;
mod trial;
mod wake_flag;

pub(crate) use self::trial::settle;
pub use self::{
    clause::Clause,
    dialect::{Answer, Dialect, Failure, Heard, Numbers, Understand},
    subject::Subject,
};

/// Checks that the layers which `layer` makes keep the contract of a tower layer, [clause](Clause)
/// by clause. Await the result.
///
/// Each check puts a new layer over a [`Probe`](crate::Probe). All checks run twice: on one
/// long-lived handle, as a client has, and on a clone per call, as servers make.
///
/// The contract needs a current-thread runtime with paused time, and a layer that has room. Checks
/// make up to 48 calls at once or in a row, which a layer may reject. The layer must admit single
/// calls, three in a row.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use std::time::Duration;
/// use tower::timeout::TimeoutLayer;
///
/// buttress_testkit::contract(|| TimeoutLayer::new(Duration::from_secs(1))).await;
/// # }
/// ```
///
/// # Panics
///
/// If a clause is broken, with the clause and how it shows. If time is not paused.
#[doc(alias("test a layer", "cancellation safety"))]
pub fn contract<F>(layer: F) -> Contract<F> {
    Contract { layer, dialect: Arc::new(Numbers), without: Vec::new() }
}

/// A [`contract`] that is checked when it is awaited.
#[derive(Clone, Debug)]
#[must_use = "nothing is checked unless it is awaited"]
pub struct Contract<F, D = Numbers> {
    layer: F,
    dialect: Arc<D>,
    without: Vec<Clause>,
}

impl<F, D> Contract<F, D> {
    /// Leaves out a clause that the layer does not keep by its documentation.
    pub fn without(mut self, clause: Clause) -> Self {
        self.without.push(clause);
        self
    }

    /// Sets the dialect, for a layer that needs the requests and responses of a protocol.
    pub fn dialect<D2: Dialect>(self, dialect: D2) -> Contract<F, D2> {
        Contract { layer: self.layer, dialect: Arc::new(dialect), without: self.without }
    }
}

impl<F, L, D> IntoFuture for Contract<F, D>
where
    F: Fn() -> L + 'static,
    L: Layer<ProbeOf<D>>,
    L::Service: Subject<D>,
    D: Dialect,
{
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()>>>;

    #[expect(clippy::panic, reason = "this is what the crate is for")]
    fn into_future(self) -> Self::IntoFuture {
        // A check is a single task that makes many calls, which must not use up its cooperative
        // budget.
        Box::pin(tokio::task::unconstrained(async move {
            // Panics if time is not paused, which every check needs.
            tokio::time::advance(Duration::ZERO).await;
            let without: Rc<[Clause]> = self.without.into();
            for handle_use in [HandleUse::LongLived, HandleUse::PerCall] {
                let trial = || {
                    Trial::new(&(self.layer)(), self.dialect.clone(), handle_use, without.clone())
                };
                if let Err(breach) = check(trial).await {
                    panic!("{} ({handle_use}): {}", breach.clause, breach.how);
                }
            }
        }))
    }
}

async fn check<D, S>(trial: impl Fn() -> Trial<D, S>) -> CheckResult
where
    D: Dialect,
    S: Subject<D>,
{
    trial().answers().await?;
    trial().failures().await?;
    trial().breakdown().await?;
    trial().clones().await?;
    trial().backpressure().await?;
    for timeout in [None, Some(Duration::from_secs(1))] {
        trial().lateness(timeout, false).await?;
        trial().lateness(timeout, true).await?;
    }
    trial().expired().await?;
    trial().series(false).await?;
    trial().series(true).await?;
    trial().crowd().await?;
    trial().drops().await?;
    trial().wakes().await?;
    trial().quiet().await?;
    trial().waiters(None).await?;
    trial().waiters(Some(1)).await?;
    trial().surroundings().await?;
    trial().signals(false).await?;
    trial().signals(true).await
}
