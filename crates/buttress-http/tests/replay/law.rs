//! The repeated body is complete, whatever the body does and wherever an attempt is dropped.

use std::collections::VecDeque;

use buttress_http::ReplayBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use proptest::{collection::vec, option, prelude::*};

use crate::stream::{Boxed, Read, Step, Stream, read_all, read_some};

proptest! {
    #[test]
    fn an_attempt_reads_the_whole_body_or_there_is_none(
        stream in stream(),
        cap in 0_usize..3000,
        drops in vec(0_usize..12, 0..6),
    ) {
        let original = read_all(stream.clone().boxed());
        let size = size(&original);
        let mut body = stream.boxed();
        let saved = body.save(cap);
        let Some(saved) = saved else {
            prop_assert!(size > cap);
            prop_assert_eq!(read_all(body), original);
            return Ok(());
        };
        for polls in drops {
            let read = read_some(&mut body, polls);
            prop_assert!(original.data.starts_with(&read.data));
            drop(body);
            let Some(again) = Boxed::again(&saved) else {
                prop_assert!(read.failed || size > cap);
                return Ok(());
            };
            body = again;
        }
        prop_assert_eq!(read_all(body), original.clone());
        prop_assert_eq!(Boxed::again(&saved).is_some(), !original.failed && size <= cap);
    }
}

fn stream() -> impl Strategy<Value = Stream> {
    let chunk = prop_oneof![0_usize..20, 400_usize..700]
        .prop_flat_map(|length| vec(any::<u8>(), length))
        .prop_map(|data| Step::Data(Bytes::from(data)));
    let step = prop_oneof![4 => chunk, 1 => Just(Step::Pause)];
    let last = prop_oneof![Just(Step::Fail), any::<u8>().prop_map(|n| Step::Trailers(trailers(n)))];
    (vec(step, 0..8), option::of(last), any::<bool>()).prop_map(|(steps, last, sized)| {
        // A body that knows its length can neither fail nor go on after it.
        let sized = sized && last.is_none();
        let stream = Stream { steps: VecDeque::from(steps), length: None };
        if sized {
            return stream.with_length();
        }
        Stream { steps: stream.steps.into_iter().chain(last).collect(), length: None }
    })
}

fn size(read: &Read) -> usize {
    let trailers = read.trailers.iter().flatten();
    read.data.len() + trailers.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}

fn trailers(n: u8) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.append("checksum", HeaderValue::from(u16::from(n)));
    trailers
}
