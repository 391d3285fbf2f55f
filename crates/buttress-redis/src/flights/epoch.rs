use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_state::sync::lock;
use tokio::time::Instant;

use super::{group::GENERATION_MILLIS, reply, scripts::EPOCH};
use crate::{
    connection::{Failure, IsRunning, Operation, Trips},
    names::Names,
    random::random_bits,
};

/// The epoch of the namespace, which is part of every name. Another epoch invalidates everything.
#[derive(Debug)]
pub(super) struct Epoch {
    name: String,
    read: Mutex<Option<([u8; 16], Instant)>>,
    is_reading: IsRunning,
}

impl Epoch {
    pub(super) fn new(names: &Names) -> Self {
        let name = names.name("epoch", 'e').to_string();
        Self { name, read: Mutex::default(), is_reading: IsRunning::default() }
    }

    /// Returns the epoch, read at most [`OLDEST`] ago.
    pub(super) async fn get(
        &self,
        trips: &Arc<Trips>,
        deadline: Instant,
    ) -> Result<[u8; 16], Failure> {
        let known = *lock(&self.read);
        let known = known.map(|(epoch, at)| (epoch, at.elapsed()));
        if let Some((epoch, _)) = known.filter(|(_, age)| *age < OLD) {
            return Ok(epoch);
        }
        let claim = self.is_reading.claim();
        if let Some((epoch, _)) = known.filter(|(_, age)| *age < OLDEST && claim.is_none()) {
            return Ok(epoch);
        }
        self.update(trips, deadline, false).await
    }

    /// Returns the epoch as it was last read.
    pub(super) fn known(&self) -> Option<[u8; 16]> {
        lock(&self.read).map(|(epoch, _)| epoch)
    }

    /// Begins another epoch.
    pub(super) async fn change(
        &self,
        trips: &Arc<Trips>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        self.update(trips, deadline, true).await.map(drop)
    }

    async fn update(
        &self,
        trips: &Arc<Trips>,
        deadline: Instant,
        is_new: bool,
    ) -> Result<[u8; 16], Failure> {
        let mut command = EPOCH.call([&self.name].into_iter(), 3);
        command.arg(&random_bits()).arg(GENERATION_MILLIS).arg(u8::from(is_new));
        let operation = Operation::script(&self.name, &EPOCH, command);
        let sent = Instant::now();
        let epoch = trips.run(operation, deadline, |value| reply::bits(&value)).await?;
        let mut read = lock(&self.read);
        // A reply to an older request may come later.
        if read.is_none_or(|(_, at)| at <= sent) {
            *read = Some((epoch, sent));
        }
        Ok(epoch)
    }
}

/// The age at which one caller reads the epoch again.
const OLD: Duration = Duration::from_millis(900);
/// The age at which no caller uses the epoch any more.
const OLDEST: Duration = Duration::from_secs(1);
