//! What a glob import of the facade does to the names of a user's program.

use buttress::*;

#[test]
fn a_glob_import_shadows_neither_core_nor_the_crate_http() {
    let _: DeadlineLayer = DeadlineLayer::propagate();
    assert_eq!(core::mem::size_of::<u8>(), 1);
    assert_eq!(http::Method::GET.as_str(), "GET");
}
