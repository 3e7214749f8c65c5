//! Tells the store how attempts ended: what has piled up while the last batch was written, in one transaction.
//!
//! No timer: a lone ending goes at once, many share a commit. A database that is away is waited for, so no run fails
//! because of it; endings are fenced by their leases, so a batch whose reply was lost is simply written again. Only
//! what the database refuses for its data is replaced by a failure.

use std::time::Duration;

use tidemill_core::{Cause, Fault};
use tidemill_store::{Ending, Error, Lease, Store};
use tokio::sync::{mpsc, oneshot};

use crate::alarm::{Alarm, Watched};

const BATCH_MAX: usize = 500;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A lone ending that fails for an unknown reason while the database answers is tried so often, about a minute long,
/// before it counts as refused: others wait behind it.
const UNKNOWN_MAX: u32 = 30;

#[derive(Clone, Debug)]
pub(crate) struct Committer(mpsc::Sender<Pending>);

#[derive(Debug)]
struct Pending {
    lease: Lease,
    ending: Ending,
    written: oneshot::Sender<()>,
}

impl Committer {
    /// Starts it; it ends when every clone is gone and everything is written.
    pub(crate) fn start(store: Store, alarm: &Alarm) -> Self {
        let (sender, inbox) = mpsc::channel(BATCH_MAX);
        tokio::spawn(write_all(store, inbox, alarm.watch("committer")));
        Self(sender)
    }

    /// Returns when the ending is committed, or was fenced.
    pub(crate) async fn settle(&self, lease: Lease, ending: Ending) {
        let (written, reply) = oneshot::channel();
        if self.0.send(Pending { lease, ending, written }).await.is_ok() {
            // The writer answers everything it takes, unless the whole runtime is torn down.
            let _ = reply.await;
        }
    }
}

async fn write_all(store: Store, mut inbox: mpsc::Receiver<Pending>, _watched: Watched) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (endings, replies): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|pending| ((pending.lease, pending.ending), pending.written)).unzip();
        write(&store, endings).await;
        for reply in replies {
            // Whoever waited may have been dropped with its worker.
            let _ = reply.send(());
        }
    }
}

/// Writes a batch. One that fails though the database is there is halved until the culprit stands alone, and comes
/// last.
async fn write(store: &Store, endings: Vec<(Lease, Ending)>) {
    let mut parts = vec![endings];
    let mut delay = RETRY_FIRST;
    let mut unknown = 0;
    while let Some(mut part) = parts.pop() {
        match store.settle(&part).await {
            Ok(settled) => {
                delay = RETRY_FIRST;
                if settled.fenced > 0 {
                    tracing::warn!(fenced = settled.fenced, "attempts ended after their leases were lost");
                }
                if settled.readied > 0 {
                    store.wake().await;
                }
            }
            Err(error) if error.cause() != Cause::Outage && part.len() > 1 => {
                let rest = part.split_off(part.len() / 2);
                parts.extend([part, rest]);
            }
            Err(error) if error.cause() == Cause::Refusal || unknown == UNKNOWN_MAX => {
                unknown = 0;
                parts.extend(part.iter().find_map(|(lease, ending)| replacement(*lease, ending, &error)));
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "endings wait for the database");
                unknown += u32::from(error.cause() != Cause::Outage);
                parts.insert(0, part);
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(RETRY_MAX);
            }
        }
    }
}

/// What is written instead of an ending that can't be stored, e.g. outputs that are too large: a failure that says so,
/// and where that can't be stored either, one in our own words alone. An attempt whose end is never written would look
/// as if its worker had died.
fn replacement(lease: Lease, ending: &Ending, error: &Error) -> Option<Vec<(Lease, Ending)>> {
    let fault = Fault::coded(1008, "the database refused what the attempt returned");
    let fault = match ending {
        Ending::Discard(refused) if *refused == fault => {
            tracing::error!(job.id = %lease.job, error = error as &dyn std::error::Error, "an end can't be stored");
            return None;
        }
        Ending::Discard(_) => fault,
        _ => fault.detail(Fault::from_error(error).message),
    };
    Some(vec![(lease, Ending::Discard(fault))])
}
