//! E.
fn main() {}
