//! Joined responses in the mode `Plain`, and the mark of a response that stands in for a failure.

use std::time::Duration;

use buttress_core::{Age, Blend, Degraded, Origin, Plain, Source, Verdict};
use tokio::time::Instant;

fn degraded() -> Degraded {
    Degraded::new(Origin::new("fallback"), Source::Value, Verdict::Transient)
}

#[test]
fn plain_mode_passes_both_responses_on_unchanged() {
    assert_eq!(Plain.own("own"), "own");
    assert_eq!(Plain.other("other", degraded()), "other");
}

#[tokio::test(start_paused = true)]
async fn degraded_mark_has_an_age_only_if_one_is_given() {
    let fresh = degraded();
    assert_eq!((fresh.source, fresh.instead_of), (Source::Value, Verdict::Transient));
    assert_eq!(fresh.origin.layer(), "fallback");
    assert_eq!(fresh.age, None);
    let age = Age::new(Duration::from_secs(1), Instant::now());
    assert_eq!(fresh.aged(age).age, Some(age));
}

#[test]
fn every_source_of_a_degraded_response_has_a_word_of_its_own() {
    let words = [Source::StaleCache, Source::Value, Source::Answer, Source::Service];
    assert_eq!(words.map(Source::as_str), ["stale_cache", "value", "answer", "service"]);
}
