//! One join's reading of views, each of which is read once: it may be asked for itself and as an input of others.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;
use tidemill_spec::ViewKind;

use super::{Asked, PitRead, PitRequest, derived, newest};
use crate::{Error, Lake, Table, Version};

/// A join, and what it has read so far.
pub(super) struct Join<'a> {
    pub(super) lake: &'a Lake,
    pub(super) version: Version,
    /// `None` where it is asked when what was found became known: that depends on which features are asked for.
    read: Option<Mutex<Vec<Read>>>,
}

/// What was read of a view.
struct Read {
    view: Table,
    keys: Vec<(String, ArrayRef)>,
    columns: Vec<(String, ArrayRef)>,
}

impl<'a> Join<'a> {
    pub(super) fn new(lake: &'a Lake, request: &PitRequest) -> Self {
        let apart = request.reads.iter().any(|read| read.found_at.is_some());
        Self { lake, version: request.version, read: (!apart).then(Mutex::default) }
    }

    /// The features of one view for the asked rows, in their order, and [`FOUND_AT`](super::FOUND_AT) where it was asked for.
    pub(super) async fn features(
        &self,
        read: &PitRead,
        features: &[String],
        asked: &Asked,
    ) -> Result<Vec<(String, ArrayRef)>, Error> {
        let Some(known) = &self.read else { return self.compute(read, features, asked).await };
        let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<(String, ArrayRef)> = Vec::new();
        for read in known().iter().filter(|of| of.view == read.view.table() && same(&of.keys, &asked.keys)) {
            found.extend(read.columns.iter().filter(|(name, _)| features.contains(name)).cloned());
        }
        let unread = |name: &&String| !found.iter().any(|(known, _)| known == *name);
        let missing: Vec<String> = features.iter().filter(unread).cloned().collect();
        if !missing.is_empty() {
            let mut columns = self.compute(read, &missing, asked).await?;
            columns.retain(|(name, _)| missing.contains(name));
            found.extend(columns.iter().cloned());
            known().push(Read { view: read.view.table(), keys: asked.keys.clone(), columns });
        }
        Ok(found)
    }

    async fn compute(
        &self,
        read: &PitRead,
        features: &[String],
        asked: &Asked,
    ) -> Result<Vec<(String, ArrayRef)>, Error> {
        match read.view.kind() {
            ViewKind::Windows => self.lake.window_features(read, features, asked, self.version).await,
            ViewKind::Rows | ViewKind::Snapshots => {
                newest::features(self.lake, read, features, asked, self.version).await
            }
            ViewKind::Derived => Box::pin(derived::features(self, read, features, asked)).await,
        }
    }
}

/// Whether keys are the same ones, not merely equal.
fn same(a: &[(String, ArrayRef)], b: &[(String, ArrayRef)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((_, a), (_, b))| Arc::ptr_eq(a, b))
}
