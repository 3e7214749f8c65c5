//! What a worker holds: claims, renewals, releases.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;
use sqlx::{Row as _, postgres::PgRow};
use tidemill_core::{AttemptPolicy, JobId, Kind, LeaseToken, RunId, Time, WorkerId, text::storable_json};
use uuid::Uuid;

use crate::{Error, NewJob, Store, Tx};

/// The right to end one attempt. Every write under it names the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The fence.
    pub token: LeaseToken,
}

/// A job under a lease, with what it needs to start.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The lease.
    pub lease: Lease,
    /// Its run.
    pub run: RunId,
    /// Its step; of a single job, its kind.
    pub step: String,
    /// What it does.
    pub kind: Kind,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Attempts charged so far, this one not included.
    pub charged: u32,
    /// Real time at which the first attempt started.
    pub first_started_at: Time,
    /// Asked to stop before it started.
    pub cancel_reason: Option<String>,
    /// Its args, as enqueued.
    pub args: Value,
    /// False skips it.
    pub condition: Option<String>,
    /// Retries, timeout, crashes.
    pub policy: AttemptPolicy,
    /// Where the last attempt got to.
    pub checkpoint: Option<Value>,
    /// A job of the platform, not a pipeline's step.
    pub single: bool,
    /// The pipeline, or the kind of a single job.
    pub pipeline: String,
    /// The definition the run is pinned to.
    pub version: i32,
    /// The tick or date the run stands for.
    pub logical_time: Option<Time>,
    /// What the run's steps are prepared with.
    pub context: Value,
    /// Outputs of the run's completed steps, by name.
    pub outputs: Value,
}

/// A lease that was prolonged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The job.
    pub job: JobId,
    /// Asked to stop, and why.
    pub cancel_reason: Option<String>,
}

/// Looks that may clash with another worker's before a claim goes with what it has.
const CLASHES_MAX: usize = 5;

/// What one look at the queue brought.
struct Look {
    claimed: Vec<Claimed>,
    /// As many jobs as were wanted were looked at, and not all of them could be leased: there may be others behind.
    more: bool,
}

impl Store {
    /// Leases up to `slots` waiting jobs of the given kinds for `lease`.
    ///
    /// Jobs that must wait for each other (one concurrency key, the last chance) are passed over until `slots` are
    /// filled or nothing else can be leased. The claim itself may be lost in a crash of the database: the token is drawn
    /// anew then, so nothing doubles.
    ///
    /// # Errors
    /// When the database can't be reached and nothing was leased.
    pub async fn claim(
        &self,
        worker: WorkerId,
        kinds: &[String],
        slots: usize,
        lease: Duration,
    ) -> Result<Vec<Claimed>, Error> {
        let mut claimed = Vec::new();
        let mut clashes = 0;
        while claimed.len() < slots && clashes < CLASHES_MAX {
            match self.look(worker, kinds, slots - claimed.len(), lease).await {
                Ok(look) => {
                    // Nothing of many: all were another worker's in this moment.
                    clashes += usize::from(look.claimed.is_empty());
                    claimed.extend(look.claimed);
                    if !look.more {
                        break;
                    }
                }
                // Another worker took a job of the same concurrency key a moment ago: look again, and see its lease.
                Err(error) if error.unique_violation() => clashes += 1,
                Err(error) if claimed.is_empty() => return Err(error),
                // What was leased is to be run; the next claim will say what is wrong.
                Err(_) => break,
            }
        }
        Ok(claimed)
    }

    /// Enqueues a job that its own enqueuer will run: leased to `worker` for `lease` from the start, so that nobody else takes
    /// it while that worker lives. It is to be run once `tx` is committed. The job has no key.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn enqueue_claimed(
        &self,
        tx: &mut Tx,
        job: NewJob,
        worker: WorkerId,
        lease: Duration,
    ) -> Result<Claimed, Error> {
        let run = self.enqueue(tx, NewJob { key: None, concurrency_key: None, ..job }).await?.run;
        let leased = sqlx::query(include_str!("../queries/job/claim_own.sql"))
            .bind(run.as_uuid())
            .bind(worker.as_uuid())
            .bind(lease.as_secs_f64())
            .fetch_all(tx.conn())
            .await?;
        let work = work_of(tx, &leased).await?;
        match (leased.first(), work.values().next()) {
            (Some(row), Some(work)) => claimed_job(row, work),
            _ => Err(Error::inconsistent("a job that was enqueued and is not there")),
        }
    }

    async fn look(
        &self,
        worker: WorkerId,
        kinds: &[String],
        wanted: usize,
        lease: Duration,
    ) -> Result<Look, Error> {
        let mut tx = self.begin().await?;
        sqlx::query(include_str!("../queries/job/claim_settings.sql")).execute(tx.conn()).await?;
        let mut leased = sqlx::query(include_str!("../queries/job/claim.sql"))
            .bind(kinds)
            .bind(i64::try_from(wanted).unwrap_or(i64::MAX))
            .bind(worker.as_uuid())
            .bind(lease.as_secs_f64())
            .fetch_all(tx.conn())
            .await?;
        let looked_at: i64 = leased.first().map_or(Ok(0), |row| row.try_get("looked_at"))?;
        leased.retain(|row| row.try_get::<Uuid, _>("id").is_ok());
        let more = usize::try_from(looked_at).is_ok_and(|seen| seen >= wanted) && leased.len() < wanted;
        if leased.is_empty() {
            return Ok(Look { claimed: Vec::new(), more });
        }
        let mut work = work_of(&mut tx, &leased).await?;
        let jobs = leased.iter().map(|row| {
            let key = (row.try_get::<Uuid, _>("run_id")?, row.try_get::<String, _>("step")?);
            let work = work.remove(&key).ok_or_else(|| Error::inconsistent("a job without its step"))?;
            claimed_job(row, &work)
        });
        let claimed = jobs.collect::<Result<_, _>>()?;
        tx.commit().await?;
        Ok(Look { claimed, more })
    }

    /// How long until the next job of the given kinds that waits for its time is due; `None` when none waits.
    pub async fn next_due(&self, kinds: &[String]) -> Result<Option<Duration>, Error> {
        let next = "SELECT extract(epoch FROM min(run_at) - now())::float8 FROM job
                    WHERE lease_token IS NULL AND run_at > now() AND kind = ANY($1)";
        let seconds: Option<f64> = sqlx::query(next).bind(kinds).fetch_one(&self.pool).await?.try_get(0)?;
        Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))))
    }

    /// Prolongs leases. Those that are not returned were lost.
    pub async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Renewed>, Error> {
        let mut tx = self.begin().await?;
        sqlx::query("SET LOCAL synchronous_commit = off").execute(tx.conn()).await?;
        let (ids, tokens) = columns(leases);
        let rows = sqlx::query(include_str!("../queries/job/renew.sql"))
            .bind(ids)
            .bind(tokens)
            .bind(lease.as_secs_f64())
            .fetch_all(tx.conn())
            .await?;
        tx.commit().await?;
        let renewed = |row: &PgRow| {
            Ok(Renewed { job: row.try_get::<Uuid, _>(0)?.into(), cancel_reason: row.try_get(1)? })
        };
        rows.iter().map(renewed).collect()
    }

    /// Hands back leases whose jobs were never started; nothing is charged.
    pub async fn release(&self, leases: &[Lease]) -> Result<(), Error> {
        let (ids, tokens) = columns(leases);
        let release = sqlx::query(include_str!("../queries/job/release.sql")).bind(ids).bind(tokens);
        release.execute(&self.pool).await?;
        Ok(())
    }

    /// Whether the database was started again since the attempt began. What failed since then may have failed for that.
    pub async fn interrupted(&self, lease: Lease) -> Result<bool, Error> {
        let started = sqlx::query(include_str!("../queries/job/interrupted.sql"))
            .bind(lease.job.as_uuid())
            .bind(lease.token.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(started.map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
    }

    /// Saves where the next attempt goes on, in `tx`. Nothing else in `tx` lands when the lease is lost.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], or when the database can't be reached.
    pub async fn checkpoint_in(&self, tx: &mut Tx, lease: Lease, value: &Value) -> Result<(), Error> {
        let saved = sqlx::query(include_str!("../queries/checkpoint/save.sql"))
            .bind(lease.job.as_uuid())
            .bind(lease.token.0)
            .bind(storable_json(value).as_ref())
            .execute(tx.conn())
            .await?;
        if saved.rows_affected() == 1 { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Keeps what user code logged with the step: params and metrics are merged into what is there.
    pub async fn log_values(&self, lease: Lease, params: &Value, metrics: &Value) -> Result<(), Error> {
        sqlx::query(
            "UPDATE step SET params = coalesce(step.params, '{}') || $3, metrics = coalesce(step.metrics, '{}') || $4
             FROM job
             WHERE job.id = $1 AND job.lease_token = $2 AND step.run_id = job.run_id AND step.name = job.step",
        )
        .bind(lease.job.as_uuid())
        .bind(lease.token.0)
        .bind(storable_json(params).as_ref())
        .bind(storable_json(metrics).as_ref())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

pub(crate) fn columns(leases: &[Lease]) -> (Vec<Uuid>, Vec<i64>) {
    leases.iter().map(|lease| (lease.job.as_uuid(), lease.token.0)).unzip()
}

async fn work_of(tx: &mut Tx, claimed: &[PgRow]) -> Result<HashMap<(Uuid, String), PgRow>, Error> {
    let column = |row: &PgRow| Ok((row.try_get::<Uuid, _>("run_id")?, row.try_get::<String, _>("step")?));
    let (runs, steps): (Vec<Uuid>, Vec<String>) =
        claimed.iter().map(column).collect::<Result<Vec<_>, sqlx::Error>>()?.into_iter().unzip();
    let rows = sqlx::query(include_str!("../queries/job/work.sql"))
        .bind(runs)
        .bind(steps)
        .fetch_all(tx.conn())
        .await?;
    rows.into_iter().map(|row| Ok((column(&row)?, row))).collect()
}

fn claimed_job(row: &PgRow, work: &PgRow) -> Result<Claimed, Error> {
    let policy: Value = work.try_get("policy")?;
    let number = |name| Ok::<_, Error>(u32::try_from(row.try_get::<i32, _>(name)?).unwrap_or(0));
    Ok(Claimed {
        lease: Lease {
            job: row.try_get::<Uuid, _>("id")?.into(),
            token: LeaseToken(row.try_get("lease_token")?),
        },
        run: row.try_get::<Uuid, _>("run_id")?.into(),
        step: row.try_get("step")?,
        kind: row.try_get::<String, _>("kind")?.into(),
        attempt: number("attempt")?,
        charged: number("charged")?,
        first_started_at: row.try_get("first_started_at")?,
        cancel_reason: row.try_get("cancel_reason")?,
        args: work.try_get("args")?,
        condition: work.try_get("condition")?,
        policy: serde_json::from_value(policy).map_err(Error::inconsistent)?,
        checkpoint: work.try_get("checkpoint")?,
        single: work.try_get("single")?,
        pipeline: work.try_get("pipeline")?,
        version: work.try_get("version")?,
        logical_time: work.try_get("logical_time")?,
        context: work.try_get("context")?,
        outputs: work.try_get("outputs")?,
    })
}
