use std::{
    fmt::Debug,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use buttress_state::{Begun, Ending, Finished, FlightStore, Slot, StoreError, Token};
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

/// Checks that a store keeps the contract of [`FlightStore`]: one caller leads, its value is found
/// until it ends or is invalidated, and a leader that lost its lock replaces nothing.
///
/// The store must be reachable, and its lease must be at least 1 s. The check invalidates all groups
/// of the store. Under paused time and in real time, the check takes less than a second.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// buttress_testkit::flight_contract(buttress_testkit::FakeStore::new()).await;
/// # }
/// ```
///
/// # Panics
///
/// If the contract is broken, with what the store answered. If a call fails.
#[expect(clippy::panic, reason = "this is how a check fails")]
pub async fn flight_contract<S: FlightStore>(store: S) {
    let trial = Trial { store, run: RandomState::new().hash_one(0) };
    let checks = [
        trial.lets_one_caller_lead().await,
        trial.lets_one_of_many_callers_lead().await,
        trial.finds_the_value_of_the_leader().await,
        trial.finds_any_bytes_under_any_key().await,
        trial.asks_for_a_newer_value().await,
        trial.drops_a_value_after_its_time().await,
        trial.lets_the_next_caller_lead_after_an_abandoned_flight().await,
        trial.tells_that_a_value_is_not_shared().await,
        trial.renews_the_lock_of_its_owner_only().await,
        trial.fills_an_empty_slot_late().await,
        trial.supersedes_a_flight_of_an_invalidated_group().await,
        trial.invalidates_one_group().await,
        trial.tells_of_changes_until_a_time().await,
        trial.clears_all_groups().await,
    ];
    for check in checks {
        if let Err(how) = check {
            panic!("the contract of a flight store is broken: {how}");
        }
    }
}

struct Trial<S> {
    store: S,
    /// Random, so that each run has slots of its own.
    run: u64,
}

type Check = Result<(), String>;

fn holds(does_hold: bool, clause: &str, answer: impl Debug) -> Check {
    if does_hold { Ok(()) } else { Err(format!("{clause}, but got {answer:?}")) }
}

#[expect(clippy::needless_pass_by_value, reason = "passed to `map_err` by name")]
fn failed(error: StoreError) -> String {
    format!("a call failed: {error:?}")
}

fn value(bytes: &'static [u8]) -> Ending {
    Ending::value(Bytes::from_static(bytes), LONG)
}

const LONG: Duration = Duration::from_secs(3600);

impl<S: FlightStore> Trial<S> {
    fn key(&self, key: &str) -> Vec<u8> {
        format!("{}/{key}", self.run).into_bytes()
    }

    async fn begin(&self, key: &str) -> Result<Begun, String> {
        self.begin_newer(key, None).await
    }

    async fn begin_newer(&self, key: &str, than: Option<[u8; 16]>) -> Result<Begun, String> {
        let key = self.key(key);
        self.store.begin(Slot::new(&key, &key), than).await.map_err(failed)
    }

    async fn lead(&self, key: &str) -> Result<Token, String> {
        match self.begin(key).await? {
            Begun::Lead(token) => Ok(token),
            other => Err(format!("a caller of an empty slot leads, but got {other:?}")),
        }
    }

    async fn finish(&self, key: &str, token: &Token, ending: Ending) -> Result<Finished, String> {
        let key = self.key(key);
        self.store.finish(Slot::new(&key, &key), token, ending).await.map_err(failed)
    }

    async fn renew(&self, key: &str, token: &Token) -> Result<bool, String> {
        let key = self.key(key);
        self.store.renew(Slot::new(&key, &key), token).await.map_err(failed)
    }

    async fn lets_one_caller_lead(&self) -> Check {
        self.lead("one").await?;
        let next = self.begin("one").await?;
        let is_busy = matches!(next, Begun::Busy(left) if !left.is_zero() && left <= LONG);
        holds(is_busy, "the second caller waits for the lock", next)
    }

    async fn lets_one_of_many_callers_lead(&self) -> Check {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (store, key) = (self.store.clone(), self.key("many"));
            calls.spawn(async move { store.begin(Slot::new(&key, &key), None).await });
        }
        let begun = calls.join_all().await;
        let leaders = begun.iter().filter(|begun| matches!(begun, Ok(Begun::Lead(_)))).count();
        holds(leaders == 1, "one of 20 callers leads", &begun)
    }

    async fn finds_the_value_of_the_leader(&self) -> Check {
        let token = self.lead("value").await?;
        let finished = self.finish("value", &token, value(b"found")).await?;
        holds(finished == Finished::Stored, "the value of the leader is stored", finished)?;
        let begun = self.begin("value").await?;
        let is_hit = matches!(&begun, Begun::Hit { bytes, ttl, stamp, .. }
            if &**bytes == b"found" && *ttl <= LONG && *ttl > LONG / 2 && *stamp == token.owner);
        holds(is_hit, "the value is found, with its time and the stamp of its leader", begun)
    }

    async fn finds_any_bytes_under_any_key(&self) -> Check {
        let long = "x".repeat(100_000);
        for key in ["any", "any:", "{any}", "\0", "\r\n", "ä", &long] {
            for length in [0, 1, 256 * 1024] {
                let bytes: Vec<u8> = (0_u8..=255).cycle().take(length).collect();
                let key = format!("{length}/{key}");
                let token = self.lead(&key).await?;
                let ending = Ending::value(Bytes::from(bytes.clone()), LONG);
                self.finish(&key, &token, ending).await?;
                let begun = self.begin(&key).await?;
                let is_hit = matches!(&begun, Begun::Hit { bytes: found, .. } if *found == bytes);
                holds(is_hit, &format!("{length} bytes are found unchanged"), is_hit)?;
            }
        }
        Ok(())
    }

    async fn asks_for_a_newer_value(&self) -> Check {
        let old = self.lead("newer").await?;
        self.finish("newer", &old, value(b"old")).await?;
        let begun = self.begin_newer("newer", Some([0xff; 16])).await?;
        holds(matches!(begun, Begun::Hit { .. }), "a value of another stamp is newer", begun)?;
        let begun = self.begin_newer("newer", Some(old.owner)).await?;
        let Begun::Lead(new) = begun else {
            return Err(format!("a caller that knows the value leads, but got {begun:?}"));
        };
        let begun = self.begin("newer").await?;
        holds(matches!(begun, Begun::Hit { .. }), "the old value is found meanwhile", begun)?;
        let finished = self.finish("newer", &new, value(b"new")).await?;
        holds(finished == Finished::Stored, "the new value replaces the old one", finished)?;
        let begun = self.begin_newer("newer", Some(old.owner)).await?;
        let is_new = matches!(&begun, Begun::Hit { bytes, .. } if &**bytes == b"new");
        holds(is_new, "the new value is found", begun)
    }

    async fn drops_a_value_after_its_time(&self) -> Check {
        let token = self.lead("ends").await?;
        let short = Duration::from_millis(20);
        self.finish("ends", &token, Ending::value(Bytes::from_static(b"x"), short)).await?;
        sleep(3 * short).await;
        self.lead("ends").await.map(drop)
    }

    async fn lets_the_next_caller_lead_after_an_abandoned_flight(&self) -> Check {
        let token = self.lead("abandon").await?;
        let finished = self.finish("abandon", &token, Ending::Abandon).await?;
        holds(finished == Finished::Stored, "the leader abandons its own flight", finished)?;
        self.lead("abandon").await.map(drop)
    }

    async fn tells_that_a_value_is_not_shared(&self) -> Check {
        let token = self.lead("unshared").await?;
        self.finish("unshared", &token, Ending::Unshared).await?;
        let begun = self.begin("unshared").await?;
        // On a slow machine, the second in which the note stays can be over.
        let is_unshared = matches!(begun, Begun::Unshared | Begun::Lead(_));
        holds(is_unshared, "callers go alone for a second", begun)
    }

    async fn renews_the_lock_of_its_owner_only(&self) -> Check {
        let token = self.lead("renew").await?;
        holds(self.renew("renew", &token).await?, "the leader renews its lock", false)?;
        let stranger = Token::new(token.generation, [0xee; 16]);
        holds(!self.renew("renew", &stranger).await?, "no other owner renews the lock", true)?;
        self.finish("renew", &token, Ending::Abandon).await?;
        holds(!self.renew("renew", &token).await?, "a lock that is gone is not renewed", true)
    }

    async fn fills_an_empty_slot_late(&self) -> Check {
        let first = self.lead("late").await?;
        self.finish("late", &first, Ending::Abandon).await?;
        let finished = self.finish("late", &first, value(b"late")).await?;
        holds(
            finished == Finished::StoredLate,
            "a leader without a lock fills an empty slot",
            finished,
        )?;
        let stranger = Token::new(first.generation, [0xdd; 16]);
        let finished = self.finish("late", &stranger, value(b"later")).await?;
        holds(finished == Finished::Superseded, "and replaces no value", finished)?;
        let begun = self.begin("late").await?;
        let is_first = matches!(&begun, Begun::Hit { bytes, .. } if &**bytes == b"late");
        holds(is_first, "the first value stays", begun)
    }

    async fn supersedes_a_flight_of_an_invalidated_group(&self) -> Check {
        let old = self.lead("superseded").await?;
        self.store.invalidate(&self.key("superseded")).await.map_err(failed)?;
        let new = self.lead("superseded").await?;
        let finished = self.finish("superseded", &old, value(b"old")).await?;
        holds(finished == Finished::Superseded, "an invalidated flight stores nothing", finished)?;
        let begun = self.begin("superseded").await?;
        holds(matches!(begun, Begun::Busy(_)), "the lock of the new leader stays", begun)?;
        let finished = self.finish("superseded", &new, value(b"new")).await?;
        holds(finished == Finished::Stored, "the new leader stores its value", finished)
    }

    async fn invalidates_one_group(&self) -> Check {
        let (group, other) = (self.key("group"), self.key("other"));
        for (group, key) in [(&group, b"a"), (&group, b"b"), (&other, b"a")] {
            let slot = Slot::new(group, key);
            let Begun::Lead(token) = self.store.begin(slot, None).await.map_err(failed)? else {
                return Err("a caller of an empty slot leads".to_owned());
            };
            self.store.finish(slot, &token, value(b"x")).await.map_err(failed)?;
        }
        self.store.invalidate(&group).await.map_err(failed)?;
        for key in [b"a", b"b"] {
            let begun = self.store.begin(Slot::new(&group, key), None).await.map_err(failed)?;
            holds(matches!(begun, Begun::Lead(_)), "each value of the group is a miss", begun)?;
        }
        let begun = self.store.begin(Slot::new(&other, b"a"), None).await.map_err(failed)?;
        holds(matches!(begun, Begun::Hit { .. }), "the values of other groups stay", begun)
    }

    async fn tells_of_changes_until_a_time(&self) -> Check {
        let key = self.key("changed");
        let until = Instant::now() + Duration::from_millis(30);
        let end = timeout(LONG, self.store.changed(Slot::new(&key, &key), until)).await;
        holds(end.is_ok(), "the wait for a change ends at its time", end)
    }

    async fn clears_all_groups(&self) -> Check {
        let token = self.lead("clear").await?;
        self.finish("clear", &token, value(b"x")).await?;
        let flying = self.lead("flying").await?;
        self.store.clear().await.map_err(failed)?;
        let finished = self.finish("flying", &flying, value(b"y")).await?;
        holds(finished == Finished::Superseded, "a flight from before stores nothing", finished)?;
        self.lead("clear").await.map(drop)
    }
}
