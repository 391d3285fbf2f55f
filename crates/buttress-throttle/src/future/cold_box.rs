/// Something that is rarely there, in a box of its own, and that costs one test to drop when it is not.
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
    // What the compiler makes by itself is a call, which saves registers before it looks.
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
