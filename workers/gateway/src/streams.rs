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
    let (adopter, stop, drain) = (worker.adopter(), shutdown.child_token(), CancellationToken::new());
    // Without a worker nobody would bring what is cut; without readers there is nothing to bring.
    let working = async {
        let worked = worker.run(drain.clone()).await;
        stop.cancel();
        worked
    };
    let reading = async {
        streams.run(adopter, stop.clone()).await;
        drain.cancel();
    };
    let (worked, ()) = tokio::join!(working, reading);
    worked?;
    anyhow::ensure!(shutdown.is_cancelled(), "the worker of the streams was drained");
    Ok(())
}
