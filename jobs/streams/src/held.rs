//! Records of batches that were cut in this process: what runs them here need not read them again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidemill_ingest::Record;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Batches by id. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held(Arc<Mutex<HashMap<Uuid, Batch>>>);

#[derive(Debug)]
struct Batch {
    records: Arc<Vec<Record>>,
    finished: oneshot::Sender<()>,
}

impl Held {
    /// Keeps the records of a batch; what is returned hears when it is in the lake.
    pub(crate) fn keep(&self, batch: Uuid, records: Vec<Record>) -> oneshot::Receiver<()> {
        let (finished, hears) = oneshot::channel();
        let mut held = self.lock();
        // Those whose reader has gone would be read again.
        held.retain(|_, batch| !batch.finished.is_closed());
        held.insert(batch, Batch { records: Arc::new(records), finished });
        hears
    }

    /// The records of a batch, if they are here.
    pub(crate) fn get(&self, batch: Uuid) -> Option<Arc<Vec<Record>>> {
        self.lock().get(&batch).map(|batch| Arc::clone(&batch.records))
    }

    /// A batch is in the lake.
    pub(crate) fn finish(&self, batch: Uuid) {
        if let Some(batch) = self.lock().remove(&batch) {
            // Its reader may have gone.
            let _ = batch.finished.send(());
        }
    }

    /// A batch is nobody's concern here any more.
    pub(crate) fn forget(&self, batch: Uuid) {
        self.lock().remove(&batch);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
