//! How attempts end: a batch at a time, in one transaction, fenced by lease token.

use std::time::Duration;

use serde_json::Value;
use sqlx::Row as _;
use tidemill_core::{
    AttemptPolicy, Fault, RunId, RunState,
    text::{storable, storable_json},
};
use uuid::Uuid;

use crate::{
    Error, Lease, Store, Tx,
    enqueue::{Ready, insert_jobs, max_crashes},
    lease::columns,
};

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Done; its outputs are kept with the step.
    Completed(Value),
    /// Its condition was false: it, and what needs it, is skipped.
    Skipped(String),
    /// Failed; again after this time, which the database's clock counts; charged.
    Retry(Duration, Fault),
    /// Not now; again after this time, not charged.
    Snooze(Duration, String),
    /// Failed for good.
    Discard(Fault),
    /// Stopped.
    Cancel(String),
}

/// What a batch of endings did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Leases that were another's by now: their endings changed nothing.
    pub fenced: usize,
    /// Steps that became ready.
    pub readied: usize,
    /// Runs that ended.
    pub runs: Vec<(RunId, RunState)>,
}

impl Store {
    /// Ends attempts in one transaction of its own. Fenced, so it may be repeated after a lost reply.
    ///
    /// # Errors
    /// When the database can't be reached: nothing was changed.
    pub async fn settle(&self, endings: &[(Lease, Ending)]) -> Result<Settled, Error> {
        let mut tx = self.begin().await?;
        let settled = self.settle_in(&mut tx, endings).await?;
        tx.commit().await?;
        Ok(settled)
    }

    /// Ends one attempt as completed in `tx`, together with whatever else `tx` holds.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], or when the database can't be reached.
    pub async fn complete_in(&self, tx: &mut Tx, lease: Lease, outputs: Value) -> Result<Settled, Error> {
        let settled = self.settle_in(tx, &[(lease, Ending::Completed(outputs))]).await?;
        if settled.fenced == 0 { Ok(settled) } else { Err(Error::LeaseLost) }
    }

    pub(crate) async fn settle_in(&self, tx: &mut Tx, endings: &[(Lease, Ending)]) -> Result<Settled, Error> {
        // In one order everywhere, so that two batches can't deadlock.
        let storable: Vec<(Lease, Ending)> =
            endings.iter().map(|(lease, ending)| (*lease, ending.storable())).collect();
        let mut endings: Vec<&(Lease, Ending)> = storable.iter().collect();
        endings.sort_by_key(|(lease, _)| lease.job);
        lock_runs(tx, &endings).await?;
        let (later, last): (Vec<_>, Vec<_>) =
            endings.iter().partition(|(_, ending)| matches!(ending, Ending::Retry(..) | Ending::Snooze(..)));
        let postponed = postpone(tx, &later).await?;
        let ended = finish(tx, &last).await?;
        let mut settled = follow(tx, &ended).await?;
        settled.fenced = endings.len() - postponed - ended.len();
        Ok(settled)
    }
}

/// A step that ended for good.
pub(crate) struct Ended<'e> {
    pub(crate) run: Uuid,
    pub(crate) step: String,
    pub(crate) ending: &'e Ending,
}

async fn postpone(tx: &mut Tx, later: &[&(Lease, Ending)]) -> Result<usize, Error> {
    if later.is_empty() {
        return Ok(0);
    }
    let (ids, tokens) = columns(&later.iter().map(|(lease, _)| *lease).collect::<Vec<_>>());
    let when = |ending: &Ending| match ending {
        Ending::Snooze(delay, reason) => (delay.as_secs_f64(), false, "snoozed", Fault::new(reason.as_str())),
        Ending::Retry(delay, fault) => (delay.as_secs_f64(), true, "retryable", fault.clone()),
        _ => unreachable!("only postponed endings are partitioned here"),
    };
    let parts: Vec<_> = later.iter().map(|(_, ending)| when(ending)).collect();
    let rows = sqlx::query(include_str!("../queries/job/postpone.sql"))
        .bind(ids)
        .bind(tokens)
        .bind(parts.iter().map(|part| part.0).collect::<Vec<_>>())
        .bind(parts.iter().map(|part| part.1).collect::<Vec<_>>())
        .bind(parts.iter().map(|part| part.2).collect::<Vec<_>>())
        .bind(parts.iter().map(|part| sqlx::types::Json(&part.3)).collect::<Vec<_>>())
        .fetch_all(tx.conn())
        .await?;
    Ok(rows.len())
}

async fn finish<'e>(tx: &mut Tx, last: &[&'e (Lease, Ending)]) -> Result<Vec<Ended<'e>>, Error> {
    if last.is_empty() {
        return Ok(Vec::new());
    }
    let (ids, tokens) = columns(&last.iter().map(|(lease, _)| *lease).collect::<Vec<_>>());
    let rows = sqlx::query(include_str!("../queries/job/finish.sql"))
        .bind(ids)
        .bind(tokens)
        .bind(last.iter().map(|(_, ending)| ending.outcome()).collect::<Vec<_>>())
        .bind(last.iter().map(|(_, ending)| ending.fault().map(sqlx::types::Json)).collect::<Vec<_>>())
        .fetch_all(tx.conn())
        .await?;
    let mut ended = Vec::with_capacity(rows.len());
    for row in rows {
        let id: Uuid = row.try_get(0)?;
        let ending = last.iter().find(|(lease, _)| lease.job.as_uuid() == id).map(|(_, ending)| ending);
        let ending = ending.ok_or_else(|| Error::inconsistent("an ending for another job"))?;
        ended.push(Ended { run: row.try_get(1)?, step: row.try_get(2)?, ending });
    }
    Ok(ended)
}

/// Locks the runs behind the endings, before anything of theirs changes and in one order: siblings that end at the
/// same moment count down one after the other, and no cancel or retry comes between.
async fn lock_runs(tx: &mut Tx, endings: &[&(Lease, Ending)]) -> Result<(), Error> {
    let jobs: Vec<Uuid> = endings.iter().map(|(lease, _)| lease.job.as_uuid()).collect();
    sqlx::query(include_str!("../queries/run/lock.sql")).bind(jobs).execute(tx.conn()).await?;
    Ok(())
}

/// Everything that follows from steps that ended: states, children, runs. Their runs are locked.
pub(crate) async fn follow(tx: &mut Tx, ended: &[Ended<'_>]) -> Result<Settled, Error> {
    if ended.is_empty() {
        return Ok(Settled::default());
    }
    let mut runs: Vec<Uuid> = ended.iter().map(|step| step.run).collect();
    runs.sort_unstable();
    runs.dedup();
    settle_steps(tx, ended).await?;
    let pairs = |wanted: fn(&Ending) -> bool| -> (Vec<Uuid>, Vec<&str>) {
        ended.iter().filter(|step| wanted(step.ending)).map(|step| (step.run, step.step.as_str())).unzip()
    };
    let (skipped_runs, skipped) = pairs(|ending| matches!(ending, Ending::Skipped(_)));
    if !skipped.is_empty() {
        let skip =
            sqlx::query(include_str!("../queries/step/skip_below.sql")).bind(skipped_runs).bind(skipped);
        skip.execute(tx.conn()).await?;
    }
    let (done_runs, done) = pairs(|ending| matches!(ending, Ending::Completed(_)));
    let readied = count_down(tx, done_runs, &done).await?;
    let runs = close_runs(tx, &runs).await?;
    Ok(Settled { fenced: 0, readied, runs })
}

async fn settle_steps(tx: &mut Tx, ended: &[Ended<'_>]) -> Result<(), Error> {
    sqlx::query(include_str!("../queries/step/settle.sql"))
        .bind(ended.iter().map(|step| step.run).collect::<Vec<_>>())
        .bind(ended.iter().map(|step| step.step.as_str()).collect::<Vec<_>>())
        .bind(ended.iter().map(|step| step.ending.step_state()).collect::<Vec<_>>())
        .bind(ended.iter().map(|step| step.ending.outputs()).collect::<Vec<_>>())
        .bind(ended.iter().map(|step| step.ending.fault().map(sqlx::types::Json)).collect::<Vec<_>>())
        .bind(ended.iter().map(|step| step.ending.reason()).collect::<Vec<_>>())
        .execute(tx.conn())
        .await?;
    let done = ended.iter().filter(|step| matches!(step.ending, Ending::Completed(_) | Ending::Skipped(_)));
    let (runs, steps): (Vec<Uuid>, Vec<&str>) = done.map(|step| (step.run, step.step.as_str())).unzip();
    // A failed step keeps its checkpoint: a retry by a person goes on from it.
    sqlx::query(
        "DELETE FROM checkpoint USING unnest($1::uuid[], $2::text[]) AS done (run_id, step)
         WHERE checkpoint.run_id = done.run_id AND checkpoint.step = done.step",
    )
    .bind(runs)
    .bind(steps)
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn count_down(tx: &mut Tx, runs: Vec<Uuid>, done: &[&str]) -> Result<usize, Error> {
    if done.is_empty() {
        return Ok(0);
    }
    let count = sqlx::query(include_str!("../queries/step/count_down.sql")).bind(runs).bind(done);
    let rows = count.fetch_all(tx.conn()).await?;
    let ready = rows.iter().filter(|row| row.try_get("ready").unwrap_or(false)).map(ready_step);
    let ready = ready.collect::<Result<Vec<_>, _>>()?;
    let readied = ready.len();
    insert_jobs(tx, ready).await?;
    Ok(readied)
}

/// A step that a statement made ready.
pub(crate) fn ready_step(row: &sqlx::postgres::PgRow) -> Result<Ready, Error> {
    let policy: AttemptPolicy =
        serde_json::from_value(row.try_get("policy")?).map_err(Error::inconsistent)?;
    Ok(Ready {
        run: row.try_get("run_id")?,
        step: row.try_get("name")?,
        kind: row.try_get("kind")?,
        priority: row.try_get("priority")?,
        concurrency_key: row.try_get("concurrency_key")?,
        max_crashes: max_crashes(&policy),
    })
}

/// Gives a final state to those runs that have nothing left to do.
pub(crate) async fn close_runs(tx: &mut Tx, runs: &[Uuid]) -> Result<Vec<(RunId, RunState)>, Error> {
    let rows = sqlx::query(include_str!("../queries/run/close.sql")).bind(runs).fetch_all(tx.conn()).await?;
    let closed = rows.iter().map(|row| {
        let state: String = row.try_get(1)?;
        Ok((row.try_get::<Uuid, _>(0)?.into(), state.parse().map_err(Error::inconsistent)?))
    });
    closed.collect()
}

impl Ending {
    /// The same without NUL, which user code may return and its files may be named with.
    fn storable(&self) -> Self {
        match self {
            Self::Completed(outputs) => Self::Completed(storable_json(outputs).into_owned()),
            Self::Skipped(reason) => Self::Skipped(storable(reason.as_str())),
            Self::Cancel(reason) => Self::Cancel(storable(reason.as_str())),
            other => other.clone(),
        }
    }

    fn outcome(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Skipped(_) => "skipped",
            Self::Retry(..) => "retryable",
            Self::Snooze(..) => "snoozed",
            Self::Discard(_) => "discarded",
            Self::Cancel(_) => "cancelled",
        }
    }

    fn step_state(&self) -> &'static str {
        match self {
            Self::Discard(_) => "failed",
            other => other.outcome(),
        }
    }

    fn outputs(&self) -> Option<&Value> {
        match self {
            Self::Completed(outputs) => Some(outputs),
            _ => None,
        }
    }

    fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Discard(fault) | Self::Retry(_, fault) => Some(fault),
            _ => None,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Skipped(reason) | Self::Cancel(reason) => Some(reason),
            _ => None,
        }
    }
}
