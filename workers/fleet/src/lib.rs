//! The worker role: the one list of job kinds, and the process that runs them.
//!
//! [`jobs`] composes what every job crate exports; nothing else in the repository names all kinds. [`run`] is a
//! worker process: it claims, runs and drains.

mod kinds;
mod options;

use std::sync::Arc;

pub use kinds::jobs;
pub use options::Options;
use tidemill_monitor::Webhooks;
use tidemill_pipeline::Steps;
use tidemill_runtime::Worker;
use tidemill_stores::{Stores, StoresOptions};
use tokio_util::sync::CancellationToken;

/// Runs a worker until `shutdown`, then lets its jobs end.
///
/// # Errors
/// When a store can't be opened.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    let stores = Stores::open(&options.stores)?;
    let webhooks = Webhooks::new(&options.webhooks, options.secrets.clone())
        .map_err(|error| anyhow::anyhow!("TIDEMILL_WEBHOOKS__ALLOW: {error}"))?;
    let worker =
        Worker::new(stores.store.clone(), options.worker(), jobs(&stores, &webhooks), Arc::new(Steps));
    worker.run(shutdown).await?;
    Ok(())
}

/// Brings the database to this version's schema.
///
/// # Errors
/// When the database can't be reached or a migration fails.
pub async fn migrate(options: StoresOptions) -> anyhow::Result<()> {
    Stores::open(&options)?.migrate().await
}
