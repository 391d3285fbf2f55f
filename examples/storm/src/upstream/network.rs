//! The weather: what becomes of a request, decided by when and as which one it arrives, never by whom
//! it comes from.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::upstream::fault_plan::{Card, Deck};

/// The state of the sky over one upstream.
///
/// Calm until [`begin`](Self::begin): requests are held, for the measurement of memory. From then on
/// each request gets the deck's next card, unless an outage or the overload gate takes it first.
pub(crate) struct Weather {
    deck: Deck,
    gate: Gate,
    began: Option<Instant>,
    released: bool,
    tally: Tally,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// As the deck says.
    Dealt(Card),
    /// Reset before it is read: nothing gets through now.
    Outage,
    /// Refused with `503` and `Retry-After: 1`: too many requests a second.
    Overloaded,
    /// Answered as soon as the upstream lets go of all it holds.
    Held,
}

/// What the upstream saw since the weather began, by fate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Tally {
    /// All requests that arrived.
    pub(crate) requests: u64,
    pub(crate) healthy: u64,
    pub(crate) slow: u64,
    pub(crate) status: u64,
    pub(crate) reset_before: u64,
    pub(crate) reset_after: u64,
    pub(crate) silent: u64,
    pub(crate) outage: u64,
    pub(crate) overloaded: u64,
    /// Requests held in the calm before, when all were let go at once.
    pub(crate) held: u64,
}

impl Weather {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            deck: Deck::new(seed),
            gate: Gate::default(),
            began: None,
            released: false,
            tally: Tally::default(),
        }
    }

    /// In the calm before, nothing is held any more.
    pub(crate) fn release(&mut self) {
        self.released = true;
    }

    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The fate of the request that arrives now. Each arrival takes a card, whatever becomes of it.
    pub(crate) fn arrival(&mut self, now: Instant) -> Fate {
        let Some(began) = self.began else {
            self.tally.held += u64::from(!self.released);
            return Fate::Held;
        };
        let since = now.saturating_duration_since(began);
        let card = self.deck.deal();
        let fate = if outage(since) {
            Fate::Outage
        } else if self.gate.is_shut(since) {
            Fate::Overloaded
        } else {
            Fate::Dealt(card)
        };
        self.tally.count(fate);
        fate
    }

    /// When the next outage starts.
    pub(crate) fn next_outage(&self, now: Instant) -> Option<Instant> {
        let began = self.began?;
        let mut start = FIRST_OUTAGE;
        while began + start <= now {
            start += EVERY;
        }
        Some(began + start)
    }
}

impl Tally {
    fn count(&mut self, fate: Fate) {
        self.requests += 1;
        let counter = match fate {
            Fate::Dealt(Card::Healthy(_)) => &mut self.healthy,
            Fate::Dealt(Card::Slow(_)) => &mut self.slow,
            Fate::Dealt(Card::Status(_)) => &mut self.status,
            Fate::Dealt(Card::ResetBefore) => &mut self.reset_before,
            Fate::Dealt(Card::ResetAfter) => &mut self.reset_after,
            Fate::Dealt(Card::Silent) => &mut self.silent,
            Fate::Outage => &mut self.outage,
            Fate::Overloaded => &mut self.overloaded,
            Fate::Held => &mut self.held,
        };
        *counter += 1;
    }
}

/// Whether an outage lasts at this time since the weather began.
fn outage(since: Duration) -> bool {
    outages(since).last().is_some_and(|(_, end)| since < end)
}

/// The outages that start up to this time since the weather began, as start and end.
pub(crate) fn outages(until: Duration) -> impl Iterator<Item = (Duration, Duration)> {
    std::iter::successors(Some(FIRST_OUTAGE), |start| Some(*start + EVERY))
        .take_while(move |start| *start <= until)
        .map(|start| (start, start + LASTS))
}

/// At most 1000 requests a second, 200 at once: a generic cell rate algorithm, where `full` is the
/// time at which a bucket that leaks a request per millisecond would be empty again.
#[derive(Default)]
struct Gate {
    full: Duration,
}

impl Gate {
    fn is_shut(&mut self, since: Duration) -> bool {
        let full = self.full.max(since) + PER_REQUEST;
        if full > since + BURST {
            return true;
        }
        self.full = full;
        false
    }
}

const FIRST_OUTAGE: Duration = Duration::from_millis(2_500);
const EVERY: Duration = Duration::from_secs(5);
const LASTS: Duration = Duration::from_millis(300);
const PER_REQUEST: Duration = Duration::from_millis(1);
const BURST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(seed: u64) -> (Weather, Instant) {
        let began = Instant::now();
        let mut weather = Weather::new(seed);
        weather.begin(began);
        (weather, began)
    }

    #[test]
    fn an_outage_lasts_three_hundred_milliseconds_every_five_seconds_from_two_and_a_half_on() {
        for (millis, lasts) in [
            (0, false),
            (2_499, false),
            (2_500, true),
            (2_799, true),
            (2_800, false),
            (7_500, true),
        ] {
            assert_eq!(outage(Duration::from_millis(millis)), lasts, "at {millis} ms");
        }
    }

    #[test]
    fn a_fate_depends_on_the_number_of_the_arrival_alone() {
        let (mut slowly, began) = begun(5);
        let (mut at_once, _) = begun(5);
        for number in 0..200 {
            assert_eq!(
                slowly.arrival(began + Duration::from_millis(number * 10)),
                at_once.arrival(began)
            );
        }
    }

    #[test]
    fn more_than_two_hundred_at_once_or_a_thousand_a_second_are_refused() {
        let (mut weather, began) = begun(5);
        let refused = |weather: &mut Weather, at: u64| {
            (0..1000)
                .filter(|_| weather.arrival(began + Duration::from_millis(at)) == Fate::Overloaded)
                .count()
        };
        assert_eq!(refused(&mut weather, 0), 800);
        assert_eq!(refused(&mut weather, 50), 950);
        assert_eq!(refused(&mut weather, 2_000), 800);
    }

    #[test]
    fn an_outage_takes_cards_too_so_that_later_arrivals_meet_the_same_faults() {
        let (mut through, began) = begun(5);
        let (mut around, _) = begun(5);
        for _ in 0..100 {
            through.arrival(began + Duration::from_millis(2_600));
            around.arrival(began + Duration::from_secs(2));
        }
        let later = began + Duration::from_secs(4);
        assert_eq!(through.arrival(later), around.arrival(later));
        assert_eq!(through.tally().outage, 100);
    }
}
