//! What comes into the queue: single jobs and runs of several steps, in the caller's transaction.

use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use tidemill_core::{
    AttemptPolicy, JobId, Kind, RunId, Time,
    dag::{Dag, Node},
};
use uuid::Uuid;

use crate::{Error, Store, Tx};

/// A job of the platform: a run of one step.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What it does.
    pub kind: Kind,
    /// Its args.
    pub args: serde_json::Value,
    /// While a job with this key waits, asking again changes nothing. A job that runs has given its key back.
    pub key: Option<String>,
    /// At most one job with this key runs at a time.
    pub concurrency_key: Option<String>,
    /// Lower runs first.
    pub priority: i16,
    /// Not before this real time.
    pub run_at: Option<Time>,
    /// Retries, timeout, crashes.
    pub policy: AttemptPolicy,
}

/// Why a run was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// By a person.
    Manual,
    /// By a tick of its schedule.
    Schedule,
    /// By another job.
    Job,
}

impl Trigger {
    /// The word that SQL and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Job => "job",
        }
    }
}

/// A run of several steps.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The pipeline's name.
    pub pipeline: String,
    /// The definition it is pinned to.
    pub version: i32,
    /// What its steps are prepared with; opaque to the engine.
    pub context: serde_json::Value,
    /// The same key starts the same run once.
    pub key: Option<String>,
    /// Why it starts.
    pub trigger: Trigger,
    /// The tick or date it stands for, on the data clock.
    pub logical_time: Option<Time>,
    /// Its steps, in declared order.
    pub steps: Vec<NewStep>,
}

/// A step of a run.
#[derive(Clone, Debug)]
pub struct NewStep {
    /// Its name, unique in the run.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Its args; may hold expressions that are resolved when it starts.
    pub args: serde_json::Value,
    /// Steps that must complete first.
    pub needs: Vec<String>,
    /// False skips it.
    pub condition: Option<String>,
    /// Retries, timeout, crashes.
    pub policy: AttemptPolicy,
    /// Lower runs first.
    pub priority: i16,
    /// At most one job with this key runs at a time.
    pub concurrency_key: Option<String>,
}

/// What was enqueued, or was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The run.
    pub run: RunId,
    /// It was there already, by its key.
    pub existed: bool,
}

/// A step that waits for nothing: what its job is made of.
pub(crate) struct Ready {
    pub(crate) run: Uuid,
    pub(crate) step: String,
    pub(crate) kind: String,
    pub(crate) priority: i16,
    pub(crate) run_at: Option<Time>,
    pub(crate) key: Option<String>,
    pub(crate) concurrency_key: Option<String>,
    pub(crate) max_crashes: i32,
}

impl Store {
    /// Enqueues one job. Call [`Store::wake`] after the commit.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn enqueue(&self, tx: &mut Tx, job: NewJob) -> Result<Enqueued, Error> {
        if let Some(run) = waiting(tx, job.key.as_deref()).await? {
            return Ok(Enqueued { run, existed: true });
        }
        let kind = job.kind.to_string();
        let step = NewStep {
            name: kind.clone(),
            kind: job.kind,
            args: job.args,
            needs: Vec::new(),
            condition: None,
            policy: job.policy,
            priority: job.priority,
            concurrency_key: job.concurrency_key,
        };
        let run = NewRun {
            pipeline: kind,
            version: 0,
            context: serde_json::Value::Null,
            key: None,
            trigger: Trigger::Job,
            logical_time: None,
            steps: vec![step],
        };
        let id = insert_run(tx, &run, true)
            .await?
            .ok_or_else(|| Error::inconsistent("a run without key existed"))?;
        let ready = run.steps.iter().map(|step| Ready {
            run_at: job.run_at,
            key: job.key.clone(),
            ..Ready::of(id, step)
        });
        if insert_jobs(tx, ready.collect()).await? == 0 {
            // Another transaction's job with the key became visible in between.
            sqlx::query("DELETE FROM run WHERE id = $1").bind(id.as_uuid()).execute(tx.conn()).await?;
            let run = waiting(tx, job.key.as_deref()).await?.unwrap_or(id);
            return Ok(Enqueued { run, existed: true });
        }
        Ok(Enqueued { run: id, existed: false })
    }

    /// Enqueues a run. Call [`Store::wake`] after the commit.
    ///
    /// # Errors
    /// When steps need each other in a circle or what isn't there, or the database can't be reached.
    pub async fn enqueue_run(&self, tx: &mut Tx, run: &NewRun) -> Result<Enqueued, Error> {
        let nodes: Vec<Node<'_>> =
            run.steps.iter().map(|step| Node { name: &step.name, needs: &step.needs }).collect();
        Dag::plan(&nodes).map_err(|error| Error::InvalidRun(error.to_string()))?;
        let Some(id) = insert_run(tx, run, false).await? else {
            let existing = "SELECT id FROM run WHERE pipeline = $1 AND key = $2";
            let row = sqlx::query(existing).bind(&run.pipeline).bind(&run.key).fetch_one(tx.conn()).await?;
            return Ok(Enqueued { run: row.try_get::<Uuid, _>(0)?.into(), existed: true });
        };
        let first = run.steps.iter().filter(|step| step.needs.is_empty()).map(|step| Ready::of(id, step));
        insert_jobs(tx, first.collect()).await?;
        Ok(Enqueued { run: id, existed: false })
    }
}

impl Ready {
    fn of(run: RunId, step: &NewStep) -> Self {
        Self {
            run: run.as_uuid(),
            step: step.name.clone(),
            kind: step.kind.to_string(),
            priority: step.priority,
            run_at: None,
            key: None,
            concurrency_key: step.concurrency_key.clone(),
            max_crashes: i32::try_from(step.policy.max_crashes).unwrap_or(i32::MAX),
        }
    }
}

/// The run of the job that waits with a key.
async fn waiting(tx: &mut Tx, key: Option<&str>) -> Result<Option<RunId>, Error> {
    let Some(key) = key else { return Ok(None) };
    // Locked, so that a claim can't take the job between this look and the caller's commit without seeing its rows.
    let row = sqlx::query("SELECT run_id FROM job WHERE key = $1 FOR KEY SHARE")
        .bind(key)
        .fetch_optional(tx.conn());
    Ok(row.await?.map(|row| row.try_get::<Uuid, _>(0)).transpose()?.map(RunId::from))
}

/// Inserts the run with its steps and edges, or nothing when its key exists.
async fn insert_run(tx: &mut Tx, run: &NewRun, single: bool) -> Result<Option<RunId>, Error> {
    let id = RunId::generate();
    let inserted = sqlx::query(
        "INSERT INTO run (id, pipeline, version, single, context, key, trigger, logical_time, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'running') ON CONFLICT (pipeline, key) DO NOTHING",
    )
    .bind(id.as_uuid())
    .bind(&run.pipeline)
    .bind(run.version)
    .bind(single)
    .bind(&run.context)
    .bind(&run.key)
    .bind(run.trigger.as_str())
    .bind(run.logical_time)
    .execute(tx.conn())
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(None);
    }
    for (position, step) in (0_i32..).zip(&run.steps) {
        insert_step(tx, id, position, step).await?;
    }
    let edges =
        || run.steps.iter().flat_map(|step| step.needs.iter().map(move |parent| (parent, &step.name)));
    let (parents, children): (Vec<&str>, Vec<&str>) = edges().map(|(p, c)| (p.as_str(), c.as_str())).unzip();
    if !parents.is_empty() {
        sqlx::query(
            "INSERT INTO step_edge (run_id, parent, child) SELECT $1, * FROM unnest($2::text[], $3::text[])",
        )
        .bind(id.as_uuid())
        .bind(parents)
        .bind(children)
        .execute(tx.conn())
        .await?;
    }
    Ok(Some(id))
}

async fn insert_step(tx: &mut Tx, run: RunId, position: i32, step: &NewStep) -> Result<(), Error> {
    let waits = i32::try_from(step.needs.len()).unwrap_or(i32::MAX);
    sqlx::query(
        "INSERT INTO step (run_id, name, position, kind, args, condition, policy, priority, concurrency_key,
                           pending_deps, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE $10 WHEN 0 THEN 'ready' ELSE 'pending' END)",
    )
    .bind(run.as_uuid())
    .bind(&step.name)
    .bind(position)
    .bind(step.kind.as_str())
    .bind(&step.args)
    .bind(&step.condition)
    .bind(sqlx::types::Json(&step.policy))
    .bind(step.priority)
    .bind(&step.concurrency_key)
    .bind(waits)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Makes jobs of ready steps; returns how many.
pub(crate) async fn insert_jobs(tx: &mut Tx, ready: Vec<Ready>) -> Result<usize, Error> {
    if ready.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = ready.iter().map(|_| JobId::generate().as_uuid()).collect();
    let now: Time = sqlx::query("SELECT now()").fetch_one(tx.conn()).await?.try_get(0)?;
    let rows = sqlx::query(include_str!("../queries/job/insert.sql"))
        .bind(ids)
        .bind(ready.iter().map(|job| job.run).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.step.as_str()).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.priority).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.run_at.unwrap_or(now)).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.key.as_deref()).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.concurrency_key.as_deref()).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.max_crashes).collect::<Vec<_>>())
        .fetch_all(tx.conn())
        .await?;
    Ok(rows.len())
}
