//! However callers come, read and go, each has read a beginning of the body, and all of it at the end.

use std::sync::Arc;

use buttress_core::{Allowance, Progress};
use buttress_http::Http;
use proptest::{collection::vec, prelude::*};

use crate::{
    caller::{Caller, Got, progress, share_by},
    feed::{Feed, Step},
};

proptest! {
    #[test]
    fn everybody_reads_the_body_from_its_beginning(
        moves in vec(play(), 0..80),
        ending in prop_oneof![4 => Just(Ending::End), 1 => Just(Ending::Fail), 1 => Just(Ending::Panic)],
        cap in prop_oneof![Just(usize::MAX), 0_usize..60],
    ) {
        let allowance = Arc::new(Allowance::new(1000));
        let feed = Feed::new();
        let shared = share_by(&Http::new().share_cap(cap), &feed, &allowance);
        let mut stream = String::new();
        let mut callers = vec![Reading::new(Caller::first(&shared))];
        for play in moves {
            match play {
                Play::Feed(text) => {
                    feed.text(text);
                    stream.push_str(text);
                }
                Play::Join => callers.push(Reading::new(Caller::later(&shared))),
                Play::Read(who) => {
                    let who = who.index(callers.len().max(1));
                    if let Some(caller) = callers.get_mut(who) {
                        caller.read();
                    }
                }
                Play::Leave(who) => {
                    if !callers.is_empty() {
                        callers.swap_remove(who.index(callers.len()));
                    }
                }
            }
            for caller in &callers {
                prop_assert!(stream.starts_with(&caller.read));
            }
        }
        let before = callers.len();
        callers.push(Reading::new(Caller::later(&shared)));
        feed.put(ending.step());
        // Whoever waits is polled only when it is woken.
        let mut woken = true;
        while woken {
            woken = false;
            for caller in callers.iter_mut().filter(|caller| caller.may_be_polled()) {
                woken = true;
                caller.read();
            }
        }
        let long = stream.len() > cap;
        let mut alone = 0;
        for (index, caller) in callers.iter().enumerate() {
            match &caller.last {
                Got::TooLong => prop_assert!(long),
                last if *last == ending.got() => {
                    prop_assert_eq!(&caller.read, &stream);
                    alone += 1;
                }
                // The newest came when it was whole to nobody.
                last => prop_assert!(false, "{index} of {before} ended with {last:?}"),
            }
        }
        if long {
            prop_assert!(alone <= 1);
            prop_assert_eq!(progress(&shared), Progress::Lost);
        } else {
            prop_assert_eq!(alone, callers.len());
            prop_assert_eq!(progress(&shared) == Progress::Whole, matches!(ending, Ending::End));
        }
        prop_assert!(long || feed.is_dropped());
        drop(callers);
        drop(shared);
        prop_assert!(feed.is_dropped());
        prop_assert_eq!(allowance.left(), 1000);
    }
}

#[derive(Clone, Debug)]
enum Play {
    Feed(&'static str),
    Join,
    Read(prop::sample::Index),
    Leave(prop::sample::Index),
}

fn play() -> impl Strategy<Value = Play> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        2 => prop::sample::select(vec!["a", "bc", "def", "ghij"]).prop_map(Play::Feed),
        1 => Just(Play::Join),
        6 => index().prop_map(Play::Read),
        1 => index().prop_map(Play::Leave),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    End,
    Fail,
    Panic,
}

impl Ending {
    fn step(self) -> Step {
        match self {
            Self::End => Step::End,
            Self::Fail => Step::Fail("broken".into()),
            Self::Panic => Step::Panic,
        }
    }

    fn got(self) -> Got {
        match self {
            Self::End => Got::End,
            Self::Fail | Self::Panic => Got::Failed,
        }
    }
}

/// A caller and what it has read.
struct Reading {
    caller: Caller,
    read: String,
    last: Got,
    polled: bool,
}

impl Reading {
    fn new(caller: Caller) -> Self {
        Self { caller, read: String::new(), last: Got::Nothing, polled: false }
    }

    fn read(&mut self) {
        if self.is_done() {
            return;
        }
        self.polled = true;
        self.last = self.caller.read();
        if let Got::Text(text) = &self.last {
            self.read.push_str(text);
        }
    }

    fn may_be_polled(&self) -> bool {
        let waits = self.polled && self.last == Got::Nothing;
        !self.is_done() && (!waits || self.caller.is_woken())
    }

    fn is_done(&self) -> bool {
        matches!(self.last, Got::End | Got::TooLong | Got::Failed)
    }
}
