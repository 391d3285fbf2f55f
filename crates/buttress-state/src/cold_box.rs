/// An optional boxed value. Dropping an empty box costs a single branch.
#[derive(Debug)]
pub struct ColdBox<T>(Option<Box<T>>);

impl<T> ColdBox<T> {
    /// The empty box.
    pub const NOTHING: Self = Self(None);

    /// Returns a box that holds `value`.
    #[inline]
    pub fn new(value: T) -> Self {
        Self(Some(Box::new(value)))
    }

    /// Returns whether there is no value.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the value to read, if there is one.
    #[inline]
    pub fn peek(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// Returns the value, after filling an empty box with the result of `f`.
    pub fn get_or_insert_with(&mut self, f: impl FnOnce() -> T) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(f()))
    }

    /// Returns the value, if there is one.
    #[inline]
    pub fn get(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// Takes the value out, and leaves the box empty.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        self.0.take().map(|value| *value)
    }
}

impl<T> Drop for ColdBox<T> {
    // The drop glue would be a call, which saves registers before it tests for `None`.
    #[inline]
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            discard(value);
        }
    }
}

#[cold]
fn discard<T>(value: Box<T>) {
    drop(value);
}
