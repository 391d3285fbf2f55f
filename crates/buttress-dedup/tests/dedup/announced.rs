//! A mode of the user. Its responses are in progress when their heads arrive.

use std::{
    future::{Ready, ready},
    panic::resume_unwind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use buttress_core::{
    Bind, ByteBudget, Classify, Guard, KeyOf, Plain, Progress, Reader, Rejection, Respond, Share,
    Verdict,
};
use buttress_dedup::{DedupHandle, DedupLayer};
use tokio::time::advance;
use tower::{Layer, Service, util::BoxCloneSyncService};

use crate::support::{Failure, PANICKED, call, ms, outcome, taking, waiting};

/// A mode that counts the announced callers, and runs a hook when it is asked.
#[derive(Clone, Default)]
struct Streaming {
    announced: Arc<AtomicUsize>,
    on_expect: Hook,
    on_progress: Hook,
}

/// Code that runs once.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Option<Run>>>);

type Run = Box<dyn FnOnce() + Send>;

impl Hook {
    fn set(&self, run: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(run));
    }

    fn run(&self) {
        let hook = self.0.lock().unwrap().take();
        if let Some(run) = hook {
            run();
        }
    }
}

impl KeyOf<u32> for Streaming {
    type Key = u32;

    fn key(&self, n: &u32) -> Option<u32> {
        Some(*n)
    }
}

impl Share<usize> for Streaming {
    type Shared = usize;
    type Response = usize;
    type Finish = Ready<()>;
    const IS_COMPLETE: bool = false;

    fn share(&self, response: usize, _: &Arc<ByteBudget>) -> Result<usize, usize> {
        Ok(response)
    }

    fn own(&self, response: usize) -> usize {
        response
    }

    fn restore(&self, shared: &usize, _: Reader) -> usize {
        *shared
    }

    fn progress(&self, _: &usize) -> Progress {
        self.on_progress.run();
        Progress::Streaming
    }

    fn expect_callers(&self, _: &usize, callers: usize) {
        self.announced.fetch_add(callers, SeqCst);
        self.on_expect.run();
    }

    fn finish(&self, _: &usize) -> Ready<()> {
        ready(())
    }
}

/// A response that holds its flight, because its body is not read.
struct Streamed {
    number: usize,
    _guard: Box<dyn Send + Sync>,
}

impl Respond<u32, usize, Failure> for Streaming {
    type Seed = ();
    type Response<G: Guard> = Streamed;

    fn seed(&self, _: &u32) {}

    fn admit<G: Guard>(&self, (): (), number: usize, guard: Option<G>) -> Streamed {
        Streamed { number, _guard: Box::new(guard) }
    }

    fn reject<G: Guard>(&self, (): (), why: Rejection) -> Result<Streamed, Failure> {
        Err(why.into())
    }
}

impl Classify<u32, usize, Failure> for Streaming {
    type Seed = ();

    fn seed(&self, _: &u32) {}

    fn classify(&self, (): &(), outcome: Result<&usize, &Failure>) -> Verdict {
        Classify::<u32, _, _>::classify(&Plain, &(), outcome)
    }
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.number.fmt(f)
    }
}

type Calls = BoxCloneSyncService<u32, Streamed, Failure>;

/// An upstream that takes 50 ms, under a layer of this mode.
fn streaming(mode: &Streaming) -> (Calls, DedupHandle) {
    let layer = DedupLayer::new().bind(mode.clone());
    (BoxCloneSyncService::new(layer.layer(taking(ms(50)))), layer.handle())
}

#[tokio::test(start_paused = true)]
async fn caller_that_joins_while_the_callers_are_announced_is_announced_too() {
    let mode = Streaming::default();
    let (service, handle) = streaming(&mode);
    let leader = waiting(&service, 7);
    let (joins, joined) = mpsc::channel();
    let mut joining = service.clone();
    mode.on_expect.set(move || {
        // On another thread, because a call inside of the work bypasses the flight.
        joins.send(thread::spawn(move || joining.call(7)).join().unwrap()).unwrap();
    });
    advance(ms(50)).await;
    let first = outcome(leader).unwrap();
    let second = joined.recv().unwrap().await.unwrap();
    assert_eq!([first.number, second.number], [1, 1]);
    assert_eq!(handle.waiters(), 2);
    assert_eq!(mode.announced.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn mode_may_call_the_layer_while_a_caller_joins_a_response_in_progress() {
    let mode = Streaming::default();
    for hook in [mode.on_progress.clone(), mode.on_expect.clone()] {
        let (service, handle) = streaming(&mode);
        let leader = waiting(&service, 7);
        advance(ms(50)).await;
        // Never dropped: after a deadlock the drop would wait for ever.
        std::mem::forget(outcome(leader).unwrap());
        let (mut inside, mut outside) = (service.clone(), service);
        hook.set(move || drop(inside.call(7)));
        let (ends, ended) = mpsc::channel();
        thread::spawn(move || ends.send(outside.call(7)));
        // The time limit is for a deadlock.
        let joined = ended.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(joined.await.unwrap().number, 1);
        assert_eq!(handle.followers(), 2);
        assert_eq!(handle.waiters(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn caller_whose_announcement_panics_leaves_the_flight() {
    let mode = Streaming::default();
    let (service, handle) = streaming(&mode);
    let leader = waiting(&service, 7);
    advance(ms(50)).await;
    let first = outcome(leader).unwrap();
    for hook in [&mode.on_progress, &mode.on_expect] {
        hook.set(|| resume_unwind(Box::new("as told")));
        assert_eq!(call(&service, 7).await.unwrap_err(), PANICKED);
        assert_eq!(handle.waiters(), 1);
    }
    assert_eq!(call(&service, 7).await.unwrap().number, 1);
    drop(first);
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn panicking_announcement_of_the_members_rejects_all_of_them() {
    let mode = Streaming::default();
    let (service, handle) = streaming(&mode);
    let calls = [(); 3].map(|()| waiting(&service, 7));
    mode.on_expect.set(|| resume_unwind(Box::new("as told")));
    advance(ms(50)).await;
    for call in calls {
        assert_eq!(outcome(call).unwrap_err(), PANICKED);
    }
    assert_eq!(handle.panics(), 1);
    assert_eq!(handle.in_flight(), 0);
}
