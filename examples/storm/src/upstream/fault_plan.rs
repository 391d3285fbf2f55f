//! The deck: which fault the next request meets.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};

/// Shuffled blocks of forty cards, one card for each request in the order of arrival.
///
/// Every block holds the same faults, so a run of any length meets them in the stated shares; only
/// their order and the latencies depend on the seed.
pub(crate) struct Deck {
    random: Xoshiro256PlusPlus,
    block: Vec<Card>,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Card {
    /// Answered after this long.
    Healthy(Duration),
    /// Answered, but only after this long: far more than anyone should wait.
    Slow(Duration),
    /// Answered at once with this status.
    Status(u16),
    /// The connection is reset while the request still lies unread in the socket.
    ResetBefore,
    /// The connection is reset once the request has been read.
    ResetAfter,
    /// Nothing is said until the connection is reset, [`SILENCE`] later.
    Silent,
}

impl Deck {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(seed), block: Vec::new() }
    }

    pub(crate) fn deal(&mut self) -> Card {
        loop {
            if let Some(card) = self.block.pop() {
                return card;
            }
            self.refill();
        }
    }

    fn refill(&mut self) {
        self.block.extend(FAULTS);
        for _ in 0..SLOW {
            let seconds = self.random.random_range(SLOW_SECONDS);
            self.block.push(Card::Slow(Duration::from_secs_f64(seconds)));
        }
        while self.block.len() < BLOCK {
            let latency = latency(&mut self.random);
            self.block.push(Card::Healthy(latency));
        }
        self.block.shuffle(&mut self.random);
    }
}

/// 40 ms times a lognormal factor of median 1.
fn latency(random: &mut Xoshiro256PlusPlus) -> Duration {
    let factor = LogNormal::new(0.0, SIGMA).map_or(1.0, |factors| factors.sample(random));
    MEDIAN.mul_f64(factor)
}

/// How long a silent request is left open before the upstream cuts it.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

const BLOCK: usize = 40;
const SLOW: usize = 2;
const SLOW_SECONDS: std::ops::Range<f64> = 2.0..3.0;
const MEDIAN: Duration = Duration::from_millis(40);
const SIGMA: f64 = 0.25;

/// The three 5xx are those a network in front of a service answers with.
const FAULTS: [Card; 8] = [
    Card::Status(502),
    Card::Status(503),
    Card::Status(504),
    Card::ResetBefore,
    Card::ResetBefore,
    Card::ResetAfter,
    Card::ResetAfter,
    Card::Silent,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(seed: u64, number: usize) -> Vec<Card> {
        let mut deck = Deck::new(seed);
        (0..number).map(|_| deck.deal()).collect()
    }

    #[test]
    fn every_block_of_forty_holds_exactly_the_stated_faults() {
        for block in cards(7, 100 * BLOCK).chunks(BLOCK) {
            let count = |of: fn(&Card) -> bool| block.iter().filter(|card| of(card)).count();
            assert_eq!(count(|card| matches!(card, Card::Status(500..=599))), 3);
            assert_eq!(count(|card| matches!(card, Card::ResetBefore)), 2);
            assert_eq!(count(|card| matches!(card, Card::ResetAfter)), 2);
            assert_eq!(count(|card| matches!(card, Card::Silent)), 1);
            assert_eq!(count(|card| matches!(card, Card::Slow(_))), 2);
            assert_eq!(count(|card| matches!(card, Card::Healthy(_))), 30);
        }
    }

    #[test]
    fn slow_answers_take_two_to_three_seconds_and_healthy_ones_forty_milliseconds_in_the_median() {
        let mut healthy = Vec::new();
        for card in cards(7, 1000 * BLOCK) {
            match card {
                Card::Slow(after) => assert!((2.0..3.0).contains(&after.as_secs_f64())),
                Card::Healthy(after) => healthy.push(after),
                _ => {}
            }
        }
        healthy.sort_unstable();
        let at = |share: usize| healthy[healthy.len() * share / 100].as_secs_f64();
        assert!((0.039..0.041).contains(&at(50)), "the median is {}", at(50));
        // One standard deviation above the median: 40 ms × e^.25.
        assert!((0.050..0.053).contains(&at(84)), "the 84th percentile is {}", at(84));
    }

    #[test]
    fn the_same_seed_deals_the_same_cards_and_another_seed_others() {
        assert_eq!(cards(7, 400), cards(7, 400));
        assert_ne!(cards(7, 400), cards(8, 400));
    }
}
