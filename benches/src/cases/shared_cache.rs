//! A hit in the memory in front of a store that replicas share. No hit waits for the store.

use std::{cell::OnceCell, time::Duration};

use buttress::{
    dedup::{Cache, DedupLayer, SharedCache},
    layer_api::Codec,
};
use buttress_state::{Begun, Ending, Finished, FlightStore, Slot, StoreError, Token};
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tower::{Layer, ServiceExt};

use crate::{Case, Inner, Pattern, Source, Workload, drive_plain, enter_runtime};

pub(crate) fn hit() -> Case {
    let layer = OnceCell::new();
    let plain = Workload::Plain;
    Case::new(Pattern::CacheHit, "buttress, `SharedCache`", plain, move |inner, calls| {
        let layer = layer.get_or_init(|| {
            let shared = SharedCache::new(Leads, Number).local_ttl(HOUR);
            let layer = DedupLayer::new().cache(Cache::new(HOUR).store(shared));
            enter_runtime().block_on(async {
                let _ = layer.layer(Source::new(Inner::Ready)).oneshot(7_u64).await;
                // Lets the task end that gives the response to the store.
                tokio::task::yield_now().await;
            });
            layer
        });
        drive_plain(layer.layer(Source::new(inner)), calls)
    })
}

/// An empty store that takes each value at once.
#[derive(Clone, Copy, Debug)]
struct Leads;

impl FlightStore for Leads {
    async fn begin(&self, _: Slot<'_>, _: Option<[u8; 16]>) -> Result<Begun, StoreError> {
        Ok(Begun::Lead(Token::new([0; 16], [1; 16])))
    }

    async fn renew(&self, _: Slot<'_>, _: &Token) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn finish(&self, _: Slot<'_>, _: &Token, _: Ending) -> Result<Finished, StoreError> {
        Ok(Finished::Stored)
    }

    async fn invalidate(&self, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn changed(&self, _: Slot<'_>, until: Instant) {
        sleep_until(until).await;
    }
}

/// Writes a response as its eight bytes.
#[derive(Clone, Copy, Debug)]
struct Number;

impl Codec<u64> for Number {
    const ID: u32 = 1;

    fn encode(&self, value: &u64, out: &mut Vec<u8>, max: usize) -> bool {
        out.extend_from_slice(&value.to_be_bytes());
        size_of::<u64>() <= max
    }

    fn decode(&self, bytes: Bytes) -> Option<u64> {
        Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?))
    }
}

/// Longer than a case runs.
const HOUR: Duration = Duration::from_secs(3600);
