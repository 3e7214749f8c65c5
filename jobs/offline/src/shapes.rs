//! Which types the columns of a file have, read from its footer once: published files never change.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tidemill_rows::{parquet, type_of};

use crate::{Error, scan::Types};

/// Files whose types are remembered; of more they are read again.
const KEPT_MAX: usize = 50_000;

/// Types by local path. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shapes(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    by_path: HashMap<PathBuf, Arc<Types>>,
    /// Most files have the columns of some other: each kind is kept once.
    kinds: Vec<Arc<Types>>,
}

impl Shapes {
    /// The types of a local file's columns. Blocks.
    pub(crate) fn of(&self, path: &Path) -> Result<Arc<Types>, Error> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).by_path.get(path).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let unreadable = |source| tidemill_blobs::Error::File { path: path.to_owned(), source };
        let schema = parquet::schema(&File::open(path).map_err(unreadable)?)?;
        let fields = schema.fields().iter();
        let types: Types = fields.map(|field| (field.name().clone(), type_of(field.data_type()))).collect();
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(path, types))
    }
}

impl Known {
    fn keep(&mut self, path: &Path, types: Types) -> Arc<Types> {
        if self.by_path.len() >= KEPT_MAX {
            *self = Self::default();
        }
        let kind = self.kinds.iter().find(|kind| ***kind == types).cloned();
        let kind = kind.unwrap_or_else(|| {
            self.kinds.push(Arc::new(types));
            Arc::clone(&self.kinds[self.kinds.len() - 1])
        });
        self.by_path.insert(path.to_owned(), Arc::clone(&kind));
        kind
    }
}
