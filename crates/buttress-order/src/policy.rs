//! Markers of what a layer does with the calls of a key.

/// The calls of a key run in the order of arrival, as
/// [`OrderLayer::serial`](crate::OrderLayer::serial) sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Serial;

/// A call supersedes the earlier calls of its key and begins when they are gone, as
/// [`OrderLayer::latest`](crate::OrderLayer::latest) sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latest;

/// A call supersedes the earlier calls of its key and begins at once, as
/// [`OrderLayer::overlapping`](crate::OrderLayer::overlapping) sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overlapping;
