//! The door for streams: reads what is declared, and brings its batches into the lake.

use tidemill_runtime::{Worker, WorkerOptions};
use tidemill_store::Store;
use tidemill_streams::Streams;
use tokio_util::sync::CancellationToken;

/// Batches at once: one of each stream is under way, and they wait for the database more than they compute.
const BATCHES: usize = 16;

/// Reads streams until `shutdown`; then the batches under way end.
///
/// # Errors
/// When the worker that runs the batches can't start or ends by itself.
pub async fn read(
    streams: Streams,
    store: Store,
    name: String,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let options = WorkerOptions { name, slots: BATCHES, ..WorkerOptions::default() };
    let worker = Worker::new(store, options, streams.jobs(), std::sync::Arc::new(()));
    let (adopter, drain) = (worker.adopter(), CancellationToken::new());
    let reading = async {
        streams.run(adopter, shutdown).await;
        drain.cancel();
    };
    let (worked, ()) = tokio::join!(worker.run(drain.clone()), reading);
    Ok(worked?)
}
