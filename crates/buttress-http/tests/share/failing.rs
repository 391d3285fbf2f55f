//! The callers of a body that fails.

use std::io;

use buttress_core::{Origin, Progress, Reason, Rejection};

use crate::{
    callers::{Caller, Got, error_of, progress, read, share, text},
    source::{Feed, Step},
};

#[test]
fn error_reaches_every_reader_after_the_earlier_frames() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    feed.text("one");
    feed.put(Step::Fail(Box::new(io::Error::other("the connection is gone"))));
    assert_eq!(first.read(), text("one"));
    let error = error_of(first.try_read());
    assert_eq!(error.source().unwrap().to_string(), "the connection is gone");
    assert!(error.source().unwrap().is::<io::Error>());
    assert!(feed.is_dropped());
    assert_eq!(progress(&shared), Progress::Lost);
    assert_eq!(first.read(), Got::End);

    assert_eq!(later.read(), text("one"));
    assert!(!later.is_end_stream());
    let error = error_of(later.try_read());
    assert!(error.source().unwrap().is::<io::Error>());
    assert!(later.is_end_stream());
}

#[test]
fn waiting_reader_is_woken_if_the_body_fails() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut callers = [Caller::first(&shared), Caller::later(&shared), Caller::later(&shared)];
    for caller in &mut callers {
        assert_eq!(caller.read(), Got::Nothing);
    }
    feed.put(Step::Fail("broken".into()));
    assert_eq!(callers[0].read(), Got::Failed);
    for caller in &mut callers[1..] {
        assert!(caller.is_woken());
        assert_eq!(caller.read(), Got::Failed);
    }
}

#[test]
fn rejection_is_found_in_the_error_of_every_reader() {
    let why = Rejection::new(Reason::DeadlineExceeded, Origin::new("deadline").named("db"));
    let feed = Feed::new();
    let shared = share(&feed);
    feed.put(Step::Fail(Box::new(io::Error::from(why.clone()))));
    for mut caller in [Caller::first(&shared), Caller::later(&shared)] {
        assert_eq!(Rejection::find(&error_of(caller.try_read())), Some(&why));
    }
}

#[test]
fn panic_reaches_every_reader_as_a_rejection() {
    let feed = Feed::new();
    let shared = share(&feed);
    let mut first = Caller::first(&shared);
    let mut later = Caller::later(&shared);
    feed.text("one");
    assert_eq!(first.read_on(), read("one", Got::Nothing));
    assert_eq!(later.read_on(), read("one", Got::Nothing));
    feed.put(Step::Panic);
    for caller in [&mut first, &mut later] {
        assert!(caller.is_woken());
        let error = error_of(caller.try_read());
        let why = error.downcast_ref::<Rejection>().unwrap();
        assert_eq!(why.reason(), Reason::Panicked);
        assert_eq!(why.origin(), &Origin::new("dedup"));
        assert_eq!(caller.read(), Got::End);
    }
    assert!(feed.is_dropped());
    assert_eq!(progress(&shared), Progress::Lost);
}
