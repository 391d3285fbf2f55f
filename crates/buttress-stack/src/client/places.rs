use super::Client;
use crate::place::{
    AttemptPlace, BreakerPlace, DeadlinePlace, DedupPlace, FallbackPlace, HedgePlace, Off,
    OrderPlace, RetryPlace, ThrottlePlace,
};

/// Writes the three methods of each place. `$kept` are the other places, and `$Client` the type with
/// layer `L` in this place.
macro_rules! places {
    ($(
        $what:literal
        $place:ident $edit:ident $without:ident: $Place:ident, $Old:ident, $number:literal,
        [$($kept:ident)*] -> $Client:ty | $Empty:ty;
    )*) => {$(
        #[doc = concat!("Puts `layer` into the place of ", $what, ".")]
        pub fn $place<L: $Place>(self, layer: L) -> $Client {
            self.$edit(|_| layer)
        }

        #[doc = concat!("Changes the layer in the place of ", $what, ".")]
        pub fn $edit<L: $Place>(self, edit: impl FnOnce($Old) -> L) -> $Client {
            let layer = edit(self.$place).renamed(self.setup.name_of(stringify!($place)));
            let layer = self.setup.reseeded($number, layer);
            Client { $($kept: self.$kept,)* $place: layer, setup: self.setup.changed() }
                .with_one_budget()
        }

        #[doc = concat!("Empties the place of ", $what, ".")]
        pub fn $without(self) -> $Empty {
            self.$place(Off)
        }
    )*};
}

impl<F, D, U, O, R, H, B, T, A> Client<F, D, U, O, R, H, B, T, A>
where
    F: FallbackPlace,
    D: DeadlinePlace,
    U: DedupPlace,
    O: OrderPlace,
    R: RetryPlace,
    H: HedgePlace,
    B: BreakerPlace,
    T: ThrottlePlace,
    A: AttemptPlace,
{
    places! {
        "the fallback"
        fallback edit_fallback without_fallback: FallbackPlace, F, 0,
        [deadline dedup order retry hedge breaker throttle attempt]
        -> Client<L, D, U, O, R, H, B, T, A> | Client<Off, D, U, O, R, H, B, T, A>;

        "the deadline of the whole call"
        deadline edit_deadline without_deadline: DeadlinePlace, D, 1,
        [fallback dedup order retry hedge breaker throttle attempt]
        -> Client<F, L, U, O, R, H, B, T, A> | Client<F, Off, U, O, R, H, B, T, A>;

        "request coalescing and the cache"
        dedup edit_dedup without_dedup: DedupPlace, U, 2,
        [fallback deadline order retry hedge breaker throttle attempt]
        -> Client<F, D, L, O, R, H, B, T, A> | Client<F, D, Off, O, R, H, B, T, A>;

        "ordering by key"
        order edit_order without_order: OrderPlace, O, 3,
        [fallback deadline dedup retry hedge breaker throttle attempt]
        -> Client<F, D, U, L, R, H, B, T, A> | Client<F, D, U, Off, R, H, B, T, A>;

        "the retry"
        retry edit_retry without_retry: RetryPlace, R, 4,
        [fallback deadline dedup order hedge breaker throttle attempt]
        -> Client<F, D, U, O, L, H, B, T, A> | Client<F, D, U, O, Off, H, B, T, A>;

        "hedging"
        hedge edit_hedge without_hedge: HedgePlace, H, 5,
        [fallback deadline dedup order retry breaker throttle attempt]
        -> Client<F, D, U, O, R, L, B, T, A> | Client<F, D, U, O, R, Off, B, T, A>;

        "the circuit breaker"
        breaker edit_breaker without_breaker: BreakerPlace, B, 6,
        [fallback deadline dedup order retry hedge throttle attempt]
        -> Client<F, D, U, O, R, H, L, T, A> | Client<F, D, U, O, R, H, Off, T, A>;

        "the throttle"
        throttle edit_throttle without_throttle: ThrottlePlace, T, 7,
        [fallback deadline dedup order retry hedge breaker attempt]
        -> Client<F, D, U, O, R, H, B, L, A> | Client<F, D, U, O, R, H, B, Off, A>;

        "the deadline of each attempt"
        attempt edit_attempt without_attempt: AttemptPlace, A, 8,
        [fallback deadline dedup order retry hedge breaker throttle]
        -> Client<F, D, U, O, R, H, B, T, L> | Client<F, D, U, O, R, H, B, T, Off>;
    }
}
