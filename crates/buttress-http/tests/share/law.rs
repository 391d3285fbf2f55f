//! Readers that join, read, stop and leave in any order read all frames in order, unless they fall
//! too far behind.

use std::{sync::Arc, time::Duration};

use buttress_core::{ByteBudget, Progress};
use buttress_http::Http;
use http::{HeaderMap, HeaderValue};
use proptest::{collection::vec, prelude::*, sample::Index};
use tokio::time::advance;

use crate::{
    callers::{Caller, Got, Shared, paused, progress, share_by, text},
    source::{Feed, Step},
};

proptest! {
    #[test]
    fn readers_in_time_read_all_frames_in_order(
        moves in vec(play(), 0..120),
        ending in ending(),
        cap in prop_oneof![Just(usize::MAX), 0_usize..60],
    ) {
        paused().block_on(async {
            let allowance = Arc::new(ByteBudget::new(1000));
            let feed = Feed::new();
            let shared = share_by(&Http::new().max_shared_body(cap), &feed, &allowance);
            let mut frames = Vec::new();
            let mut readings = vec![Reading::new(Caller::first(&shared))];
            for play in moves {
                match play {
                    Play::Feed(data) => {
                        frames.push(text(data));
                        feed.text(data);
                    }
                    Play::Pause => feed.put(Step::Pause),
                    Play::Join if can_join(&shared) => {
                        readings.push(Reading::new(Caller::later(&shared)));
                    }
                    Play::Read(who) if !readings.is_empty() => who.get_mut(&mut readings).read(),
                    Play::Leave(who) if !readings.is_empty() => {
                        readings.swap_remove(who.index(readings.len()));
                    }
                    Play::Wait(time) => wait(&mut readings, time).await,
                    Play::Join | Play::Read(_) | Play::Leave(_) => {}
                }
                check(&readings, &frames, cap)?;
                let most = cap.max(4);
                prop_assert!(allowance.remaining() >= 1000_usize.saturating_sub(most));
            }
            if can_join(&shared) {
                readings.push(Reading::new(Caller::later(&shared)));
            }
            if ending == Ending::Trailers {
                frames.push(Got::Trailers(trailers()));
            }
            ending.puts(&feed);

            // A waiting caller is polled only when woken. Time passes only if none is woken.
            let mut waited = 0;
            while readings.iter().any(|reading| !reading.has_ended()) {
                if let Some(reading) = readings.iter_mut().find(|reading| reading.may_go_on()) {
                    reading.read();
                } else {
                    prop_assert!(waited < 20, "a reader waits for what does not come");
                    waited += 1;
                    wait(&mut readings, 1).await;
                }
                check(&readings, &frames, cap)?;
            }
            for reading in readings.iter().filter(|reading| reading.last != Got::TooLong) {
                prop_assert_eq!(&reading.last, &ending.gives());
                prop_assert_eq!(&reading.read, &frames);
            }
            let size = frames.iter().map(size).sum::<usize>();
            if size <= cap {
                prop_assert!(readings.iter().all(|reading| reading.last == ending.gives()));
                prop_assert_eq!(progress(&shared) == Progress::Complete, ending.gives() == Got::End);
            } else if !readings.is_empty() {
                prop_assert!(matches!(progress(&shared), Progress::Closed | Progress::Lost));
            }
            drop((readings, shared));
            prop_assert!(feed.is_dropped());
            prop_assert_eq!(allowance.remaining(), 1000);
            Ok(())
        })?;
    }
}

/// Each has read the frames in their order, and who was left behind had its time: 10 ms in which it did
/// not read, or a second in which it did not catch up, and more than fits in between.
fn check(readings: &[Reading], frames: &[Got], cap: usize) -> Result<(), TestCaseError> {
    for reading in readings {
        prop_assert!(frames.starts_with(&reading.read));
        if reading.last == Got::TooLong {
            prop_assert!(reading.idle >= 10);
            let ahead = frames.iter().skip(reading.read.len()).map(size).sum::<usize>();
            prop_assert!(ahead > cap, "{ahead} bytes are not too many for {cap}");
        }
    }
    Ok(())
}

fn can_join(shared: &Shared) -> bool {
    progress(shared) != Progress::Lost
}

async fn wait(readings: &mut [Reading], time: u64) {
    for reading in readings {
        reading.idle += time;
    }
    advance(Duration::from_millis(time)).await;
}

#[derive(Clone, Debug)]
enum Play {
    Feed(&'static str),
    Pause,
    Join,
    Read(Index),
    Leave(Index),
    Wait(u64),
}

fn play() -> impl Strategy<Value = Play> {
    prop_oneof![
        3 => prop::sample::select(vec!["", "a", "bc", "def", "ghij"]).prop_map(Play::Feed),
        1 => Just(Play::Pause),
        2 => Just(Play::Join),
        8 => any::<Index>().prop_map(Play::Read),
        1 => any::<Index>().prop_map(Play::Leave),
        2 => (1_u64..6).prop_map(Play::Wait),
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
    /// For how many ms it has not read.
    idle: u64,
}

impl Reading {
    fn new(caller: Caller) -> Self {
        Self { caller, read: Vec::new(), last: Got::Nothing, polled: false, idle: 0 }
    }

    fn read(&mut self) {
        if self.has_ended() {
            return;
        }
        self.polled = true;
        self.last = self.caller.read();
        if matches!(self.last, Got::Text(_) | Got::Trailers(_)) {
            self.idle = 0;
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
