/// Seals a trait: no other crate can name this one.
pub trait Sealed {}
