//! `DeadlineLayer` and `RetryLayer` around an async function, without HTTP or sockets.
//!
//! Prints the result and the number of calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{Backoff, BoxError, DeadlineLayer, RetryLayer};
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    // Fails twice, then returns the square.
    let square = service_fn(move |x: u64| {
        let call = counter.fetch_add(1, Ordering::Relaxed) + 1;
        async move { if call < 3 { Err(BoxError::from("not now")) } else { Ok(x * x) } }
    });

    let service = ServiceBuilder::new()
        // The time of the whole call, including the backoff.
        .layer(DeadlineLayer::new(Duration::from_secs(2)))
        // At most three attempts. Without `classify`, every error is retried.
        .layer(RetryLayer::new(3).backoff(Backoff::constant(Duration::from_millis(20))))
        .service(square);

    let squared = service.oneshot(12).await?;
    assert_eq!((squared, calls.load(Ordering::Relaxed)), (144, 3));
    println!("12 squared is {squared}, after {} calls", calls.load(Ordering::Relaxed));
    Ok(())
}
