//! Everything that is asked of the directory.

use crate::store::Store;

/// Reads a directory's state, as it is after the last applied command.
#[derive(Debug)]
pub struct DirectoryView<'a, S: Store> {
    store: &'a S,
}

impl<'a, S: Store> DirectoryView<'a, S> {
    /// A view of what `store` holds.
    #[must_use]
    pub const fn new(store: &'a S) -> Self {
        Self { store }
    }
}
