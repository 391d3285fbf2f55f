//! Cells of rates.

mod reply;

use std::{fmt, sync::LazyLock, time::Duration};

use buttress_core::StoreKey;
use buttress_state::{Ask, CellRate, Grant, QuotaStore, StoreError, StoreSnapshot, quota_key};
use redis::{Cmd, RedisWrite};

use crate::{
    connection::{Connection, LuaScript, Operation},
    names::{Names, Tag},
};

/// The rates that processes share. Clones share the connection.
///
/// A bucket is a small string that expires when the bucket is full. One script takes the cells of
/// all rates of a key together, by the clock of the store. An operation that failed may have
/// debited, and is never sent again.
#[derive(Clone)]
pub struct RedisQuotas {
    connection: Connection,
    names: Names,
    time_limit: Duration,
}

impl RedisQuotas {
    pub(crate) fn new(connection: Connection, names: Names, time_limit: Duration) -> Self {
        Self { connection, names, time_limit }
    }

    /// Returns the name of a bucket in the store: that of the rate with the number `rate`, from 0, in
    /// the layer of the name `instance`.
    ///
    /// `key` is that of a limit per key, `Some(&())` for a layer without keys, and `None` for the limit
    /// that keys without room share, as for [`quota_key`].
    ///
    /// For operators: `GET` shows the bucket. After `DEL` the bucket starts empty if the next replica
    /// that asks expects the bucket, and full otherwise. A replica expects a bucket from a grant on
    /// until the bucket would be full.
    pub fn bucket_name<K: StoreKey + ?Sized>(
        &self,
        instance: &str,
        key: Option<&K>,
        rate: usize,
    ) -> String {
        let tag = tag_of(&quota_key(instance, key));
        self.names.name(tag, Bucket(rate)).to_string()
    }

    fn operation(&self, ask: &Ask<'_>) -> Operation<'static> {
        let tag = tag_of(ask.key);
        let buckets = (0..ask.rates.len()).map(|rate| self.names.name(tag, Bucket(rate)));
        let mut command = SCRIPT.call(buckets, 3 + 3 * ask.rates.len());
        command.arg(ask.want).arg(ask.min.max(1)).arg(ask.debt);
        for rate in ask.rates {
            add_rate(&mut command, rate);
        }
        Operation::script(self.names.name(tag, Bucket(0)), &SCRIPT, command)
    }
}

/// The end of the name of a bucket: the number of its rate.
struct Bucket(usize);

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

impl QuotaStore for RedisQuotas {
    async fn acquire(&self, ask: Ask<'_>) -> Result<Grant, StoreError> {
        if ask.rates.is_empty() {
            return Ok(Grant::new(ask.want, Duration::ZERO, Box::default(), u64::MAX));
        }
        let trips = self.connection.trips();
        let deadline = trips.deadline(self.time_limit);
        let granted = trips.run(self.operation(&ask), deadline, |value| reply::grant(value, &ask));
        Ok(granted.await?)
    }

    fn snapshot(&self) -> StoreSnapshot {
        self.connection.snapshot()
    }

    fn time_limit(&self) -> Duration {
        self.time_limit
    }
}

impl fmt::Debug for RedisQuotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQuotas")
            .field("namespace", &self.names)
            .field("time_limit", &self.time_limit)
            .field("connection", &self.connection)
            .finish()
    }
}

fn tag_of(key: &[u8]) -> Tag {
    Tag::of("quota", &[key])
}

/// Numbers within which the script is exact: a microsecond between cells, and 31 years until full.
fn add_rate(command: &mut Cmd, rate: &CellRate) {
    let interval = rate.interval.clamp(SHORTEST_INTERVAL, LONGEST_FILL);
    let most = LONGEST_FILL.as_nanos() / interval.as_nanos();
    let burst = u128::from(rate.burst.max(1)).min(most);
    let (micros, nanos) = (interval.as_micros(), interval.subsec_nanos() % 1000);
    command.write_arg_fmt(format_args!("{micros}.{nanos:03}"));
    command.write_arg_fmt(burst);
    command.arg(u8::from(rate.expect));
}

static SCRIPT: LazyLock<LuaScript> = LazyLock::new(|| LuaScript::new(include_str!("acquire.lua")));

const SHORTEST_INTERVAL: Duration = Duration::from_micros(1);
const LONGEST_FILL: Duration = Duration::from_secs(1_000_000_000);
