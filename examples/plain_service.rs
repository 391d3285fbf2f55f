//! A deadline and retries around any async function: no HTTP, no sockets.

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
    let counted = Arc::clone(&calls);
    // Fails twice, and then squares.
    let square = service_fn(move |x: u64| {
        let call = counted.fetch_add(1, Ordering::Relaxed) + 1;
        async move { if call < 3 { Err(BoxError::from("not now")) } else { Ok(x * x) } }
    });

    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(2)))
        .layer(RetryLayer::new(3).backoff(Backoff::constant(Duration::from_millis(20))))
        .service(square);

    let squared = service.oneshot(12).await?;
    assert_eq!((squared, calls.load(Ordering::Relaxed)), (144, 3));
    println!("12 squared is {squared}, after {} calls", calls.load(Ordering::Relaxed));
    Ok(())
}
