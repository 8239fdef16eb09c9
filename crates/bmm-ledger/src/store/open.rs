use super::*;
use std::path::Path;
impl Store {
    /// Opens the database in `folder`, creating both if needed, for the chain whose parameters have the digest `params`.
    ///
    /// # Errors
    /// [`StoreError::Folder`], [`StoreError::InUse`], [`StoreError::OtherChain`], [`StoreError::OtherSchema`], or the database's own.
    pub fn open(folder: &Path, params: B256) -> Result<Self, StoreError> { todo!("{folder:?} {params}") }

    /// Makes an empty store in memory, for tests and dry runs.
    pub fn in_memory(params: B256) -> Result<Self, StoreError> { todo!("{params}") }
}
