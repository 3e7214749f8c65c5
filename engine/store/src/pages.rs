//! What people ask: the shapes behind `-o json`. Fields are only ever added.

use serde::Serialize;
use serde_json::Value;
use sqlx::{Row as _, postgres::PgRow};
use tidemill_core::{Fault, RunId, RunState, StepState, Time, WorkerId};
use uuid::Uuid;

use crate::{Error, Store};

/// Which runs to list.
#[derive(Clone, Debug)]
pub struct RunQuery {
    /// Only in this state.
    pub state: Option<RunState>,
    /// Only of this pipeline, or kind of single job.
    pub pipeline: Option<String>,
    /// Single jobs of the platform too.
    pub all: bool,
    /// Only those that ended at or after this real time.
    pub finished_since: Option<Time>,
    /// At most so many.
    pub limit: i64,
}

/// A run in a list.
#[derive(Clone, Debug, Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// The pipeline, or the kind of a single job.
    pub pipeline: String,
    /// The definition it is pinned to.
    pub version: i32,
    /// Why it started.
    pub trigger: String,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The tick or date it stands for.
    pub logical_time: Option<Time>,
    /// Its state.
    pub state: RunState,
    /// Real time.
    pub created_at: Time,
    /// Real time.
    pub finished_at: Option<Time>,
    /// Real seconds from creation to its end.
    pub seconds: Option<f64>,
    /// How many steps it has.
    pub steps: i64,
    /// How many of them completed or were skipped.
    pub steps_done: i64,
    /// The first failed step's.
    pub fault: Option<Fault>,
    /// What its steps are prepared with.
    pub context: Value,
}

/// A run with everything in it.
#[derive(Clone, Debug, Serialize)]
pub struct RunPage {
    /// The run.
    #[serde(flatten)]
    pub run: RunRow,
    /// Its steps, in declared order.
    pub step_list: Vec<StepRow>,
}

/// A step of a run.
#[derive(Clone, Debug, Serialize)]
pub struct StepRow {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// Its state.
    pub state: StepState,
    /// Steps it waits for.
    pub needs: Vec<String>,
    /// Its args, as enqueued.
    pub args: Value,
    /// What it returned.
    pub outputs: Option<Value>,
    /// Why it failed.
    pub fault: Option<Fault>,
    /// Why it was skipped or cancelled.
    pub reason: Option<String>,
    /// Logged by user code.
    pub params: Option<Value>,
    /// Logged by user code.
    pub metrics: Option<Value>,
    /// Where the next attempt goes on.
    pub checkpoint: Option<Value>,
    /// Not before this real time, while it waits.
    pub run_at: Option<Time>,
    /// Real time.
    pub finished_at: Option<Time>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptRow>,
}

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptRow {
    /// Counted from 1 within the step.
    pub attempt: i32,
    /// `running`, or how it ended.
    pub outcome: String,
    /// Who ran it.
    pub worker: Option<WorkerId>,
    /// Real time.
    pub started_at: Option<Time>,
    /// Real time.
    pub finished_at: Option<Time>,
    /// Why it failed.
    pub fault: Option<Fault>,
}

/// Live jobs of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct QueueRow {
    /// The kind.
    pub kind: String,
    /// May be claimed.
    pub available: i64,
    /// Wait for their time.
    pub scheduled: i64,
    /// Under a lease.
    pub running: i64,
    /// Longest wait of those that may be claimed.
    pub oldest_wait_seconds: f64,
}

impl Store {
    /// Runs, newest first.
    pub async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, Error> {
        let rows = sqlx::query(include_str!("../queries/run/list.sql"))
            .bind(query.state.map(RunState::as_str))
            .bind(&query.pipeline)
            .bind(query.all)
            .bind(query.finished_since)
            .bind(query.limit)
            .bind(None::<Uuid>)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(run_row).collect()
    }

    /// One run with its steps and attempts.
    ///
    /// # Errors
    /// [`Error::NoRun`], or when the database can't be reached.
    pub async fn run(&self, id: RunId) -> Result<RunPage, Error> {
        let row = sqlx::query(include_str!("../queries/run/list.sql"))
            .bind(None::<&str>)
            .bind(None::<&str>)
            .bind(true)
            .bind(None::<Time>)
            .bind(1_i64)
            .bind(id.as_uuid())
            .fetch_optional(&self.pool)
            .await?
            .ok_or(Error::NoRun(id))?;
        let run = run_row(&row)?;
        let steps = sqlx::query(include_str!("../queries/run/steps.sql"))
            .bind(id.as_uuid())
            .fetch_all(&self.pool)
            .await?;
        let attempts = sqlx::query(include_str!("../queries/run/attempts.sql"))
            .bind(id.as_uuid())
            .fetch_all(&self.pool)
            .await?;
        let mut step_list = steps.iter().map(step_row).collect::<Result<Vec<_>, _>>()?;
        for row in &attempts {
            let name: String = row.try_get("step")?;
            if let Some(step) = step_list.iter_mut().find(|step| step.name == name) {
                step.attempts.push(attempt_row(row)?);
            }
        }
        Ok(RunPage { run, step_list })
    }

    /// Live jobs by kind.
    pub async fn queue(&self) -> Result<Vec<QueueRow>, Error> {
        let rows = sqlx::query(include_str!("../queries/job/stats.sql")).fetch_all(&self.pool).await?;
        let queue_row = |row: &PgRow| {
            Ok(QueueRow {
                kind: row.try_get("kind")?,
                available: row.try_get("available")?,
                scheduled: row.try_get("scheduled")?,
                running: row.try_get("running")?,
                oldest_wait_seconds: row.try_get("oldest_wait_seconds")?,
            })
        };
        rows.iter().map(queue_row).collect()
    }
}

fn run_row(row: &PgRow) -> Result<RunRow, Error> {
    let (created_at, finished_at): (Time, Option<Time>) =
        (row.try_get("created_at")?, row.try_get("finished_at")?);
    Ok(RunRow {
        id: row.try_get::<Uuid, _>("id")?.into(),
        pipeline: row.try_get("pipeline")?,
        version: row.try_get("version")?,
        trigger: row.try_get("trigger")?,
        key: row.try_get("key")?,
        logical_time: row.try_get("logical_time")?,
        state: row.try_get::<String, _>("state")?.parse().map_err(Error::inconsistent)?,
        created_at,
        finished_at,
        seconds: finished_at.map(|end| (end - created_at).as_seconds_f64()),
        steps: row.try_get("steps")?,
        steps_done: row.try_get("steps_done")?,
        fault: fault(row)?,
        context: row.try_get("context")?,
    })
}

fn step_row(row: &PgRow) -> Result<StepRow, Error> {
    Ok(StepRow {
        name: row.try_get("name")?,
        kind: row.try_get("kind")?,
        state: row.try_get::<String, _>("state")?.parse().map_err(Error::inconsistent)?,
        needs: row.try_get("needs")?,
        args: row.try_get("args")?,
        outputs: row.try_get("outputs")?,
        fault: fault(row)?,
        reason: row.try_get("reason")?,
        params: row.try_get("params")?,
        metrics: row.try_get("metrics")?,
        checkpoint: row.try_get("checkpoint")?,
        run_at: row.try_get("run_at")?,
        finished_at: row.try_get("finished_at")?,
        attempts: Vec::new(),
    })
}

fn attempt_row(row: &PgRow) -> Result<AttemptRow, Error> {
    Ok(AttemptRow {
        attempt: row.try_get("attempt")?,
        outcome: row.try_get("outcome")?,
        worker: row.try_get::<Option<Uuid>, _>("worker_id")?.map(WorkerId::from),
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        fault: fault(row)?,
    })
}

fn fault(row: &PgRow) -> Result<Option<Fault>, Error> {
    let json: Option<Value> = row.try_get("fault")?;
    json.map(serde_json::from_value).transpose().map_err(Error::inconsistent)
}
