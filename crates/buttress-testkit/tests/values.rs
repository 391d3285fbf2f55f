//! The expected values that tests of layers build: snapshots and errors.

use buttress_core::{Origin, Reason, Rejection};
use buttress_testkit::{TestError, counts};

mod layer {
    #[derive(Debug, Default, PartialEq)]
    #[non_exhaustive]
    pub(crate) struct Snapshot {
        pub(crate) calls: u64,
        pub(crate) rejected: [u64; 4],
        pub(crate) limit: Option<u32>,
    }
}

#[test]
fn counts_sets_the_named_fields_and_leaves_the_others_at_their_default() {
    let expected = layer::Snapshot { calls: 2, rejected: [0; 4], limit: Some(8) };
    assert_eq!(counts!(layer::Snapshot { calls: 2, limit: Some(8) }), expected);
    assert_eq!(counts!(layer::Snapshot { calls: 1 + 1, limit: Some(8) }), expected);
}

#[test]
fn counts_without_fields_is_the_default() {
    assert_eq!(counts!(layer::Snapshot {}), layer::Snapshot::default());
}

#[test]
fn rejection_becomes_a_test_error_with_its_reason() {
    let rejection = Rejection::new(Reason::Overloaded, Origin::new("throttle"));
    let error = TestError::from(rejection);
    assert_eq!(error, TestError::Rejected(Reason::Overloaded));
    assert_eq!(error.to_string(), "rejected: overloaded");
}
