//! The one list of job kinds.

use std::sync::Arc;

use tidemill_core::SystemClock;
use tidemill_ingest::{Ingest, Limits};
use tidemill_monitor::Webhooks;
use tidemill_runtime::JobEntry;
use tidemill_stores::Stores;

/// Every kind of job, ready to be run.
pub fn jobs(stores: &Stores, webhooks: &Webhooks) -> Vec<JobEntry> {
    let Stores { catalog, lake, online, blobs, python, pools, unpacked, .. } = stores.clone();
    let ingest =
        Ingest::new(catalog.clone(), lake.clone(), blobs.clone(), Arc::new(SystemClock), Limits::default());
    let features = tidemill_features::Deps {
        catalog: catalog.clone(),
        lake: lake.clone(),
        online: online.clone(),
        blobs: blobs.clone(),
        python: pools,
        cache: unpacked.clone(),
    };
    let training =
        tidemill_training::Deps { catalog: catalog.clone(), lake: lake.clone(), blobs: blobs.clone() };
    let registry = tidemill_registry::Deps {
        catalog: catalog.clone(),
        lake: lake.clone(),
        blobs: blobs.clone(),
        online,
        python: python.clone(),
        cache: unpacked.clone(),
    };
    let removal =
        tidemill_removal::Deps { catalog: catalog.clone(), lake: lake.clone(), blobs: blobs.clone() };
    let upkeep = tidemill_upkeep::jobs(&catalog, &lake, &blobs);
    let pipeline = tidemill_pipeline::Deps { catalog, lake, blobs, python, cache: unpacked };
    [
        tidemill_ingest::jobs::jobs(&ingest),
        tidemill_features::jobs(&features),
        tidemill_training::jobs(&training),
        tidemill_registry::jobs(&registry),
        tidemill_monitor::jobs(&registry, webhooks),
        tidemill_pipeline::jobs(&pipeline),
        tidemill_removal::jobs(&removal),
        upkeep,
    ]
    .concat()
}
