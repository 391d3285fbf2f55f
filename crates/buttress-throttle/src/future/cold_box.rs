/// An optional boxed value. Dropping an empty box costs a single branch.
#[derive(Debug)]
pub(crate) struct ColdBox<T>(Option<Box<T>>);

impl<T> ColdBox<T> {
    pub(crate) const NOTHING: Self = Self(None);

    pub(crate) fn new(value: T) -> Self {
        Self(Some(Box::new(value)))
    }

    pub(crate) fn get(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    pub(crate) fn take(&mut self) -> Option<T> {
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
