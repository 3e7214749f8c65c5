//! Every job under every fault: the nth thing it asks the database for fails, or is done and the reply is lost, or
//! the process dies just before it. Whatever happens, the world must look as if nothing had.
//!
//! A job's effects elsewhere (files, Redis) happen between those operations, so dying before one is dying between
//! effect and checkpoint.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, ensure};
use futures::future::BoxFuture;
use serde_json::Value;
use tidemill_core::RunId;
use tidemill_runtime::{
    JobEntry,
    probe::{Interference, Operation, Probe},
};
use tidemill_store::Store;
use tokio::sync::Notify;

use crate::engine::{Driver, outcome};

/// Describes the job's effects, e.g. as sorted rows; ids and times that differ from world to world left out.
pub type Digest = Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<String>> + Send + Sync>;

/// Everything one job touches, made afresh for each fault.
pub struct FaultWorld {
    /// The engine's state.
    pub store: Store,
    /// What is run under faults; jobs of other kinds wait.
    pub jobs: Vec<JobEntry>,
    /// The run that has to complete. It waits in the queue.
    pub run: RunId,
    /// Its effects.
    pub digest: Digest,
    /// Lives as long as the world: databases, folders.
    pub keep: Box<dyn Any + Send>,
}

impl fmt::Debug for FaultWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultWorld").field("run", &self.run).finish_non_exhaustive()
    }
}

/// Runs the job once for each of its operations, which fails and changes nothing. Returns how many there were.
///
/// # Errors
/// When the job doesn't complete, or its effects differ from those of an undisturbed run.
pub async fn fails_at_every_step(
    fresh: impl AsyncFn() -> anyhow::Result<FaultWorld>,
) -> anyhow::Result<usize> {
    disturb(fresh, Interference::Fail).await
}

/// Runs the job once for each of its operations, which is done although the job hears that it failed.
///
/// # Errors
/// As [`fails_at_every_step`].
pub async fn repeats_every_step(
    fresh: impl AsyncFn() -> anyhow::Result<FaultWorld>,
) -> anyhow::Result<usize> {
    disturb(fresh, Interference::LoseReply).await
}

/// Runs the job once for each of its operations, before which its process dies; another worker goes on.
///
/// # Errors
/// As [`fails_at_every_step`].
pub async fn dies_between_effect_and_checkpoint(
    fresh: impl AsyncFn() -> anyhow::Result<FaultWorld>,
) -> anyhow::Result<usize> {
    disturb(fresh, Interference::Die).await
}

async fn disturb(
    fresh: impl AsyncFn() -> anyhow::Result<FaultWorld>,
    interference: Interference,
) -> anyhow::Result<usize> {
    let counted = Arc::new(NthOperation::new(usize::MAX, Interference::None));
    let (expected, _) = run(fresh().await?, Arc::clone(&counted)).await.context("undisturbed")?;
    let operations = counted.seen();
    for nth in 1..=operations {
        let fault = Arc::new(NthOperation::new(nth, interference));
        let disturbed = run(fresh().await?, Arc::clone(&fault)).await;
        let (digest, outputs) =
            disturbed.with_context(|| format!("{interference:?} at operation {nth} of {operations}"))?;
        ensure!(fault.seen() >= nth, "operation {nth} of {operations} was never asked for");
        ensure!(
            digest == expected,
            "{interference:?} at operation {nth} of {operations} left another world (outputs {outputs}):\n{}",
            difference(&expected, &digest)
        );
    }
    Ok(operations)
}

async fn run(world: FaultWorld, fault: Arc<NthOperation>) -> anyhow::Result<(String, Value)> {
    let FaultWorld { store, jobs, run, digest, keep } = world;
    Driver::new(&store, jobs).probed(fault).until_idle().await?;
    let outputs = outcome(&store, run).await?.map_err(|fault| anyhow::anyhow!("the run failed: {fault}"))?;
    let digest = digest().await?;
    drop(keep);
    Ok((digest, outputs))
}

/// The lines that only one of two texts has: what is missing, and what is there instead.
fn difference(expected: &str, found: &str) -> String {
    let only = |mark: char, these: &str, those: &str| -> Vec<String> {
        let known: Vec<&str> = those.lines().collect();
        these.lines().filter(|line| !known.contains(line)).map(|line| format!("{mark} {line}")).collect()
    };
    [only('-', expected, found), only('+', found, expected)].concat().join("\n")
}

/// Interferes with one operation.
#[derive(Debug)]
struct NthOperation {
    nth: usize,
    interference: Interference,
    seen: AtomicUsize,
    dead: Notify,
}

impl NthOperation {
    fn new(nth: usize, interference: Interference) -> Self {
        Self { nth, interference, seen: AtomicUsize::new(0), dead: Notify::new() }
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Probe for NthOperation {
    fn at(&self, operation: Operation) -> Interference {
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 != self.nth {
            return Interference::None;
        }
        if self.interference == Interference::Die && operation != Operation::Complete {
            self.dead.notify_one();
        }
        self.interference
    }

    fn died(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.dead.notified())
    }
}
