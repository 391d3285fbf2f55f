use buttress_core::{Measure, Metric, Reading};

use crate::{HedgeHandle, HedgeSnapshot, WithheldReason};

/// The [metrics](crate#metrics) of the layer.
impl Measure for HedgeHandle {
    fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
        [&CALLS, &SENT, &WON, &REFUSED, &WITHHELD, &DELAY, &BUDGET].into_iter().for_each(define);
    }

    fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
        let HedgeSnapshot { calls, sent, won, refused, withheld, delay, budget } = self.snapshot();
        let instance = self.origin.name();
        read(Reading::count(&CALLS, instance, calls));
        read(Reading::count(&SENT, instance, sent));
        read(Reading::count(&WON, instance, won));
        read(Reading::count(&REFUSED, instance, refused));
        for reason in WithheldReason::ALL {
            let count = Reading::count(&WITHHELD, instance, withheld.get(*reason));
            read(count.labelled(reason.as_str()));
        }
        if let Some(delay) = delay {
            read(Reading::gauge(&DELAY, instance, delay.as_secs_f64()));
        }
        if let Some(budget) = budget {
            read(Reading::number(&BUDGET, instance, budget));
        }
    }
}

static CALLS: Metric =
    Metric::counter("buttress.hedge.calls", "{call}", "Calls. Their hedges are not among them.");

static SENT: Metric = Metric::counter(
    "buttress.hedge.sent",
    "{hedge}",
    "Hedges that were sent, or would be if the layer only observes.",
);

static WON: Metric =
    Metric::counter("buttress.hedge.won", "{hedge}", "Hedges whose outcome their call returned.");

static REFUSED: Metric =
    Metric::counter("buttress.hedge.refused", "{hedge}", "Sent hedges that a layer below refused.");

static WITHHELD: Metric =
    Metric::counter("buttress.hedge.withheld", "{call}", "Calls whose hedge was not sent.")
        .split_by("reason");

static DELAY: Metric =
    Metric::gauge("buttress.hedge.delay", "s", "Delay after which a call is hedged now.");

static BUDGET: Metric = Metric::gauge(
    "buttress.hedge.budget",
    "{token}",
    "Balance of the budget that pays for the hedges.",
);
