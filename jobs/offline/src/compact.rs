//! Merging small files, and removing those that nobody reads.

use std::time::Duration;

use crate::{Error, Lake, Table, Version};

impl Lake {
    /// Merges the table's files into one and publishes that; `None` if there is nothing to merge. No answer at any
    /// version changes: older versions keep their files, and rows keep the commit they came with.
    pub async fn compact(&self, _table: &Table) -> Result<Option<Version>, Error> {
        todo!()
    }

    /// Deletes files that no version since `keep_for` reads and files that were staged but never published, both
    /// last written before that. Returns how many.
    pub async fn collect_garbage(&self, _keep_for: Duration) -> Result<u64, Error> {
        todo!()
    }
}
