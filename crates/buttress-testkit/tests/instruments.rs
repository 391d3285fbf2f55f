//! The promises of the probe, the scripted upstream, the event recorder and the sweep.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{Attempt, BoxError, Criticality, Deadline, Origin, Reason, Rejection};
use buttress_testkit::{Events, Probe, Script, sweep};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt, limit::ConcurrencyLimit, service_fn};

fn probe() -> Probe<u32, u32, io::Error> {
    Probe::new(Ok)
}

fn poll_ready(service: &mut Probe<u32, u32, io::Error>) -> Poll<()> {
    service.poll_ready(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
}

#[test]
fn the_clones_of_a_probe_share_its_permits_first_come_first_served() {
    let probe = probe().permits(1);
    let (mut first, mut second, mut third) = (probe.clone(), probe.clone(), probe.clone());
    assert!(poll_ready(&mut first).is_ready());
    assert!(poll_ready(&mut second).is_pending());
    assert!(poll_ready(&mut third).is_pending());
    assert_eq!(probe.reserved(), 1);
    assert_eq!(probe.waiting(), 2);

    drop(first);
    assert!(poll_ready(&mut third).is_pending(), "the permit is the second's");
    assert!(poll_ready(&mut second).is_ready());
}

#[test]
fn an_idle_handle_that_waited_is_given_the_permit_before_a_stranger() {
    let probe = probe().permits(1);
    let holder = probe.reserve();
    let mut idle = probe.clone();
    assert!(poll_ready(&mut idle).is_pending());
    drop(holder);
    assert!(probe.reserve().is_none());
    drop(idle);
    assert!(probe.reserve().is_some());
    assert!(probe.at_rest());
}

#[test]
#[should_panic(expected = "call 1 reached an instance of the probe that was not ready")]
fn calling_a_probe_that_was_not_ready_panics() {
    let _response = probe().call(1);
}

#[test]
fn a_recording_probe_answers_and_notes_the_call() {
    let probe = probe().recording();
    let mut service = probe.clone();
    assert!(poll_ready(&mut service).is_ready());
    drop(service.call(1));
    drop(service.call(2));
    assert_eq!(probe.violations(), [2]);
    assert_eq!(probe.abandoned(), 2);
}

#[tokio::test(start_paused = true)]
async fn held_calls_are_woken_when_they_are_released() {
    let probe = probe();
    probe.hold();
    let mut call = pin!(probe.clone().oneshot(7));
    let pending = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
    assert!(pending);
    probe.release();
    assert_eq!(call.await.unwrap(), 7);
    assert_eq!(probe.polls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_script_is_followed_call_by_call_and_its_last_step_stays() {
    let why = Rejection::new(Reason::Overloaded, Origin::new("throttle"));
    let upstream = Script::new()
        .answer(|_| Err(BoxError::from("down")))
        .times(2)
        .reject(why.after(Duration::from_secs(1)))
        .delay(Duration::from_millis(30))
        .ok("slow")
        .serve(|request: u32| async move {
            sleep(Duration::from_millis(u64::from(request))).await;
            Ok("served")
        })
        .service();
    let start = Instant::now();
    let mut outcomes = Vec::new();
    for request in 1..=6 {
        let outcome = upstream.clone().oneshot(request).await;
        outcomes.push(outcome.map_err(|error| error.to_string()));
    }
    let down = || Err("down".to_owned());
    let rejected = Err("throttle: overloaded, retry after 1s".to_owned());
    assert_eq!(outcomes, [down(), down(), rejected, Ok("slow"), Ok("served"), Ok("served")]);
    assert_eq!(start.elapsed(), Duration::from_millis(30 + 5 + 6));
}

#[tokio::test(start_paused = true)]
async fn a_scripted_upstream_notes_when_what_and_under_which_deadline() {
    let upstream = Script::noting(|request: &String| request.len())
        .delay(Duration::from_millis(5))
        .ok(())
        .error("gone")
        .service();
    let first = upstream.clone().oneshot("one".to_owned());
    let deadline = Deadline::after(Duration::from_secs(1));
    assert_eq!(deadline.around(first).await, Ok(()));
    let mut service = upstream.clone();
    let second = Attempt::FIRST.next().with(|| service.call("second".to_owned()));
    assert_eq!(second.await, Err("gone"));

    let received = upstream.received();
    assert_eq!(received[0].request, 3);
    assert_eq!(received[0].deadline, Some(deadline));
    assert_eq!(received[1].request, 6);
    assert_eq!(received[1].deadline, None);
    assert_eq!(received[1].attempt.number(), 2);
    assert_eq!(upstream.times(), [Duration::ZERO, Duration::from_millis(5)]);
    assert_eq!(upstream.live(), 0);
}

#[test]
fn a_probe_notes_the_criticality_that_each_call_ran_under() {
    let probe = probe();
    let said = [Criticality::Sheddable, Criticality::default(), Criticality::CriticalPlus];
    for criticality in said {
        let mut service = probe.clone();
        assert!(poll_ready(&mut service).is_ready());
        drop(criticality.with(|| service.call(1)));
    }
    assert_eq!(probe.criticalities(), said);
}

#[tokio::test(start_paused = true)]
async fn a_scripted_upstream_can_hang_before_and_after_it_is_called() {
    let hour = Duration::from_secs(60 * 60);
    let mut hangs = Script::<u32, (), ()>::new().hang().service();
    let call = hangs.call(1);
    assert!(tokio::time::timeout(hour, call).await.is_err());
    assert_eq!(hangs.live(), 0);

    let unready = Script::<u32, (), ()>::new().ok(()).never_ready().service();
    assert!(tokio::time::timeout(hour, unready.clone().oneshot(1)).await.is_err());
    assert_eq!(unready.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_events_give_the_same_log_byte_for_byte() {
    async fn record() -> String {
        let events = Events::of("instruments");
        tracing::trace!(name: "noise", target: "elsewhere", "not recorded");
        tracing::debug!(name: "retry.scheduled", layer_name = %"db", attempt = 2, delay = ?Duration::from_millis(5));
        sleep(Duration::from_micros(1500)).await;
        tracing::info!(name: "retry.stopped", reason = "budget", "no more");
        events.log()
    }
    let log = record().await;
    assert_eq!(
        log,
        "0.000ms DEBUG retry.scheduled layer_name=db attempt=2 delay=5ms\n\
         2.000ms INFO retry.stopped message=no more reason=budget\n"
    );
    assert_eq!(record().await, log);
}

#[test]
fn events_can_be_asked_for_by_name_and_are_recorded_until_the_recorder_is_dropped() {
    let events = Events::record();
    for attempt in 1..=3 {
        tracing::debug!(name: "retry.scheduled", attempt);
    }
    tracing::warn!(name: "retry.stopped", "spent");
    assert_eq!(events.count("retry.scheduled"), 3);
    assert_eq!(events.named("retry.scheduled")[2].field("attempt"), Some("3"));
    assert_eq!(events.names().last(), Some(&"retry.stopped"));
    drop(events);
    let after = Events::record();
    assert_eq!(after.all(), []);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_drops_a_stack_at_each_await_and_finds_everything_given_back() {
    let probe = probe().permits(1).pausing(3);
    let stack = ConcurrencyLimit::new(probe.clone(), 1);
    let drops = sweep(|| stack.clone().oneshot(1)).over(&probe).await;
    assert_eq!(drops, 7);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_works_on_one_handle_too() {
    let probe = probe().permits(1).pausing(1);
    let handle = Arc::new(tokio::sync::Mutex::new(probe.clone()));
    let call = || {
        let handle = Arc::clone(&handle);
        async move {
            let mut handle = handle.lock().await;
            handle.ready().await?.call(1).await
        }
    };
    assert_eq!(sweep(call).over(&probe).await, 3);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a call was dropped after 1 polls: dropping the response drops the call")]
async fn a_sweep_finds_a_call_that_goes_on_by_itself() {
    let probe = probe().pausing(1);
    let runaway = service_fn(|request| {
        let inner = probe.clone();
        #[expect(clippy::disallowed_methods, reason = "the flaw that is shown")]
        async move {
            tokio::spawn(inner.oneshot(request)).await.unwrap()
        }
    });
    sweep(|| runaway.oneshot(1)).over(&probe).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "after 1 polls and a wake: the lock is free")]
async fn a_sweep_runs_checks_of_the_users_own() {
    let probe = probe().pausing(1);
    let lock = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let call = || async {
        lock.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let outcome = probe.clone().oneshot(1).await;
        lock.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        outcome
    };
    let free = |when: &str| {
        let held = lock.load(std::sync::atomic::Ordering::SeqCst);
        assert!(held < 2, "{when}: the lock is free");
    };
    sweep(call).also(free).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the next call does not end within a day")]
async fn sweep_finds_that_later_calls_are_not_served() {
    let spoilt = std::cell::Cell::new(false);
    let call = || async {
        if spoilt.replace(true) {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        spoilt.set(false);
    };
    sweep(call).await;
}
