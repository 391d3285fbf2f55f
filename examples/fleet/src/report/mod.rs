//! What the example prints and draws.

pub(crate) mod goals;
pub(crate) mod plot;
pub(crate) mod table;
