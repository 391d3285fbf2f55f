//! The compiler's words where a bound is missed, one case for each place a layer is put.
//!
//! The expected words are those of Rust 1.95. The compiler lays errors out a little differently from
//! version to version: after an update, `TRYBUILD=overwrite cargo test --test compile` writes them
//! anew, and what must remain is the sentence of buttress in each file.

#[test]
fn compile_errors_name_the_missing_bound_and_the_remedy() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
