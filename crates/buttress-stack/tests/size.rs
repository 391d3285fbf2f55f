//! What a call of a ready-made client holds, and what it allocates.

use std::{
    future::Ready,
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_core::BoxError;
use buttress_stack::{HedgeLayer, client, server};
use tower::{Service, service_fn};

fn answer(row: u32) -> Ready<Result<u32, BoxError>> {
    std::future::ready(Ok(row))
}

/// The bytes of a call over those of the inner call.
fn size_over_bare<S: Service<u32>>(mut service: S) -> usize {
    let _ = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    size_of_val(&service.call(7)) - size_of::<Ready<Result<u32, BoxError>>>()
}

#[tokio::test(start_paused = true)]
async fn empty_places_take_no_room_in_a_call() {
    let five = size_over_bare(client().service(service_fn(answer)));
    let again = client().hedge(HedgeLayer::learned()).without_hedge();
    assert_eq!(size_over_bare(again.service(service_fn(answer))), five);
    assert!(five <= FIVE, "{five} bytes");
    let two = size_over_bare(server().service(service_fn(answer)));
    assert!(two < five, "{two} bytes");
}

#[tokio::test(start_paused = true)]
async fn call_that_is_answered_at_once_allocates_nothing() {
    let mut service = client().service(service_fn(answer));
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = || {
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut call = pin!(service.call(7));
        assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(7))));
    };
    // The first call of a thread makes the thread's part of each layer.
    call();
    let counts = allocation_counter::measure(|| (0..1_000).for_each(|_| call()));
    assert_eq!(counts.count_total, 0);
}

/// The bytes of a call through five layers, over those of the inner call.
const FIVE: usize = 304;
