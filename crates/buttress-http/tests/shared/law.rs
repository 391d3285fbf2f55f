//! However callers come, read and go, each reads the frames of the body from the first on, and all of
//! them in the end.

use std::sync::Arc;

use buttress_core::{Allowance, Progress};
use buttress_http::Http;
use http::{HeaderMap, HeaderValue};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    caller::{Caller, Got, progress, share_by, text},
    feed::{Feed, Step},
};

proptest! {
    #[test]
    fn everybody_reads_all_frames_in_order(
        moves in vec(play(), 0..80),
        ending in ending(),
        cap in prop_oneof![Just(usize::MAX), 0_usize..60],
    ) {
        let allowance = Arc::new(Allowance::new(1000));
        let feed = Feed::new();
        let shared = share_by(&Http::new().share_cap(cap), &feed, &allowance);
        let mut frames = Vec::new();
        let mut callers = vec![Reading::new(Caller::first(&shared))];
        for play in moves {
            match play {
                Play::Feed(data) => {
                    frames.push(text(data));
                    feed.text(data);
                }
                Play::Pause => feed.put(Step::Pause),
                Play::Join => callers.push(Reading::new(Caller::later(&shared))),
                Play::Read(who) if !callers.is_empty() => who.get_mut(&mut callers).read(),
                Play::Leave(who) if !callers.is_empty() => {
                    callers.swap_remove(who.index(callers.len()));
                }
                Play::Read(_) | Play::Leave(_) => {}
            }
            for caller in &callers {
                prop_assert!(frames.starts_with(&caller.read));
            }
        }
        callers.push(Reading::new(Caller::later(&shared)));
        let size = frames.iter().map(size).sum::<usize>() + ending.size();
        // What is read by one caller alone panics there, as it would without being shared.
        let ending = if size > cap && ending == Ending::Panic { Ending::Fail } else { ending };
        if ending == Ending::Trailers {
            frames.push(Got::Trailers(trailers()));
        }
        ending.puts(&feed);

        // Who waits is polled only when woken.
        while let Some(caller) = callers.iter_mut().find(|caller| caller.may_go_on()) {
            caller.read();
        }
        let read_all = callers.iter().filter(|caller| caller.last == ending.gives()).count();
        let too_long = callers.iter().filter(|caller| caller.last == Got::TooLong).count();
        prop_assert_eq!(read_all + too_long, callers.len());
        for caller in callers.iter().filter(|caller| caller.last != Got::TooLong) {
            prop_assert_eq!(&caller.read, &frames);
        }
        if size > cap {
            prop_assert_eq!(progress(&shared), Progress::Lost);
            prop_assert!(read_all <= 1);
        } else {
            prop_assert_eq!(too_long, 0);
            prop_assert_eq!(progress(&shared) == Progress::Whole, ending.gives() == Got::End);
            prop_assert!(feed.is_dropped());
        }
        drop((callers, shared));
        prop_assert!(feed.is_dropped());
        prop_assert_eq!(allowance.left(), 1000);
    }
}

#[derive(Clone, Debug)]
enum Play {
    Feed(&'static str),
    Pause,
    Join,
    Read(Index),
    Leave(Index),
}

fn play() -> impl Strategy<Value = Play> {
    prop_oneof![
        3 => prop::sample::select(vec!["", "a", "bc", "def", "ghij"]).prop_map(Play::Feed),
        1 => Just(Play::Pause),
        2 => Just(Play::Join),
        8 => any::<Index>().prop_map(Play::Read),
        1 => any::<Index>().prop_map(Play::Leave),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    End,
    Trailers,
    Fail,
    Panic,
}

impl Ending {
    fn puts(self, feed: &Feed) {
        feed.put(match self {
            Self::End => Step::End,
            Self::Trailers => Step::Trailers(trailers()),
            Self::Fail => Step::Fail("broken".into()),
            Self::Panic => Step::Panic,
        });
        feed.end();
    }

    fn gives(self) -> Got {
        match self {
            Self::End | Self::Trailers => Got::End,
            Self::Fail | Self::Panic => Got::Failed,
        }
    }

    fn size(self) -> usize {
        if self == Self::Trailers { size(&Got::Trailers(trailers())) } else { 0 }
    }
}

fn ending() -> impl Strategy<Value = Ending> {
    prop::sample::select(vec![Ending::End, Ending::Trailers, Ending::Fail, Ending::Panic])
}

/// A caller and what it has read.
struct Reading {
    caller: Caller,
    read: Vec<Got>,
    last: Got,
    polled: bool,
}

impl Reading {
    fn new(caller: Caller) -> Self {
        Self { caller, read: Vec::new(), last: Got::Nothing, polled: false }
    }

    fn read(&mut self) {
        if self.has_ended() {
            return;
        }
        self.polled = true;
        self.last = self.caller.read();
        if matches!(self.last, Got::Text(_) | Got::Trailers(_)) {
            self.read.push(self.last.clone());
        }
    }

    fn may_go_on(&self) -> bool {
        let waits = self.polled && self.last == Got::Nothing;
        !self.has_ended() && (!waits || self.caller.is_woken())
    }

    fn has_ended(&self) -> bool {
        matches!(self.last, Got::End | Got::TooLong | Got::Failed)
    }
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("sum", HeaderValue::from_static("7"));
    trailers
}

fn size(frame: &Got) -> usize {
    match frame {
        Got::Text(text) => text.len(),
        Got::Trailers(_) => "sum".len() + "7".len() + 32,
        _ => 0,
    }
}
