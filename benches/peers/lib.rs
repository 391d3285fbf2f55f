//! Layers of other crates, measured like ours: `cargo bench -p buttress-peers --bench cost`.
//!
//! A package of its own, so that nothing else waits for its dependencies, or needs as new a compiler.
