//! What comes into the queue: single jobs and runs of several steps, in the caller's transaction.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::{Row as _, types::Json};
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
    /// While a job with this key waits, or waits again, asking again changes nothing. One that runs has fixed what it
    /// looks at: asking again is a new job.
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

impl Store {
    /// Enqueues one job. Call [`Store::wake`] after the commit.
    ///
    /// A key that waits already is locked until `tx` ends, so that its job starts after the commit and sees what
    /// `tx` wrote. Enqueue late in a long transaction, as others who ask for the same key wait for it; and all jobs at
    /// once, by [`Self::enqueue_all`], as each caller's own order of keys would let two wait for each other.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn enqueue(&self, tx: &mut Tx, job: NewJob) -> Result<Enqueued, Error> {
        let enqueued = self.enqueue_all(tx, std::slice::from_ref(&job)).await?;
        enqueued.into_iter().next().ok_or_else(|| Error::inconsistent("an enqueue without an answer"))
    }

    /// Enqueues jobs, as many statements as for one; the answers are in their order. Keys are taken in theirs.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn enqueue_all(&self, tx: &mut Tx, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
        let mut answers: Vec<Option<Enqueued>> = vec![None; jobs.len()];
        while answers.contains(&None) {
            find_waiting(tx, jobs, &mut answers).await?;
            // What still has no answer met a key that appeared in between. It is locked now, and found.
            insert_singles(tx, jobs, &mut answers).await?;
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Enqueues a run. Call [`Store::wake`] after the commit.
    ///
    /// # Errors
    /// [`Error::InvalidRun`] when steps need each other in a circle or what isn't there, or when the database
    /// can't be reached.
    pub async fn enqueue_run(&self, tx: &mut Tx, run: &NewRun) -> Result<Enqueued, Error> {
        let nodes: Vec<Node<'_>> =
            run.steps.iter().map(|step| Node { name: &step.name, needs: &step.needs }).collect();
        let dag = Dag::plan(&nodes).map_err(|error| Error::InvalidRun(error.to_string()))?;
        let Some(id) = insert_run(tx, run).await? else {
            let existing = "SELECT id FROM run WHERE pipeline = $1 AND key = $2";
            let row = sqlx::query(existing).bind(&run.pipeline).bind(&run.key).fetch_one(tx.conn()).await?;
            return Ok(Enqueued { run: row.try_get::<Uuid, _>(0)?.into(), existed: true });
        };
        insert_steps(tx, id, run, &dag).await?;
        let first = run.steps.iter().filter(|step| step.needs.is_empty()).map(|step| Ready::of(id, step));
        insert_jobs(tx, first.collect()).await?;
        Ok(Enqueued { run: id, existed: false })
    }
}

/// Answers for the keys that wait already.
async fn find_waiting(tx: &mut Tx, jobs: &[NewJob], answers: &mut [Option<Enqueued>]) -> Result<(), Error> {
    let open = jobs.iter().zip(&*answers).filter(|(_, answer)| answer.is_none());
    let keys: Vec<&str> = open.filter_map(|(job, _)| job.key.as_deref()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let rows =
        sqlx::query(include_str!("../queries/job/waiting.sql")).bind(keys).fetch_all(tx.conn()).await?;
    for row in rows {
        let (key, run): (String, Uuid) = (row.try_get(0)?, row.try_get(1)?);
        for (job, answer) in jobs.iter().zip(&mut *answers) {
            if answer.is_none() && job.key.as_ref() == Some(&key) {
                *answer = Some(Enqueued { run: run.into(), existed: true });
            }
        }
    }
    Ok(())
}

/// Inserts the jobs that have no answer yet, each with a run of one step, unless their key waits already.
async fn insert_singles(tx: &mut Tx, jobs: &[NewJob], answers: &mut [Option<Enqueued>]) -> Result<(), Error> {
    let open: Vec<usize> = (0..jobs.len()).filter(|&place| answers[place].is_none()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let runs: HashMap<Uuid, usize> = open.iter().map(|&place| (RunId::generate().as_uuid(), place)).collect();
    // Keys are inserted in order, so that two callers with the same keys can't wait for each other; each once.
    let mut wanted: Vec<(Uuid, &NewJob)> = runs.iter().map(|(&run, &place)| (run, &jobs[place])).collect();
    wanted.sort_by_key(|(run, job)| (job.key.as_deref(), *run));
    wanted.dedup_by(|(_, job), (_, before)| job.key.is_some() && job.key == before.key);
    let wanted = &wanted;
    let rows = sqlx::query(include_str!("../queries/job/enqueue.sql"))
        .bind(wanted.iter().map(|(run, _)| *run).collect::<Vec<_>>())
        .bind(wanted.iter().map(|_| JobId::generate().as_uuid()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, job)| job.kind.as_str()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, job)| &job.args).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, job)| Json(&job.policy)).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, job)| job.priority).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, job)| job.run_at).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, job)| job.key.as_deref()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, job)| job.concurrency_key.as_deref()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, job)| max_crashes(&job.policy)).collect::<Vec<_>>())
        .fetch_all(tx.conn())
        .await?;
    for row in rows {
        let run: Uuid = row.try_get(0)?;
        let place = runs.get(&run).ok_or_else(|| Error::inconsistent("a run that nobody asked for"))?;
        answers[*place] = Some(Enqueued { run: run.into(), existed: false });
    }
    Ok(())
}

/// Inserts the run, or nothing when its key exists.
async fn insert_run(tx: &mut Tx, run: &NewRun) -> Result<Option<RunId>, Error> {
    let id = RunId::generate();
    let inserted = sqlx::query(include_str!("../queries/run/insert.sql"))
        .bind(id.as_uuid())
        .bind(&run.pipeline)
        .bind(run.version)
        .bind(&run.context)
        .bind(&run.key)
        .bind(run.trigger.as_str())
        .bind(run.logical_time)
        .execute(tx.conn())
        .await?;
    Ok((inserted.rows_affected() == 1).then_some(id))
}

async fn insert_steps(tx: &mut Tx, id: RunId, run: &NewRun, dag: &Dag) -> Result<(), Error> {
    let (steps, name) = (&run.steps, |place: usize| run.steps[place].name.as_str());
    let waits = dag.pending.iter().map(|&count| i32::try_from(count).unwrap_or(i32::MAX));
    sqlx::query(include_str!("../queries/step/insert.sql"))
        .bind(id.as_uuid())
        .bind(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.kind.as_str()).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| &step.args).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.condition.as_deref()).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| Json(&step.policy)).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.priority).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.concurrency_key.as_deref()).collect::<Vec<_>>())
        .bind(waits.collect::<Vec<_>>())
        .bind(dag.edges.iter().map(|&(parent, _)| name(parent)).collect::<Vec<_>>())
        .bind(dag.edges.iter().map(|&(_, child)| name(child)).collect::<Vec<_>>())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// A step that waits for nothing: what its job is made of.
pub(crate) struct Ready {
    pub(crate) run: Uuid,
    pub(crate) step: String,
    pub(crate) kind: String,
    pub(crate) priority: i16,
    pub(crate) concurrency_key: Option<String>,
    pub(crate) max_crashes: i32,
}

impl Ready {
    fn of(run: RunId, step: &NewStep) -> Self {
        Self {
            run: run.as_uuid(),
            step: step.name.clone(),
            kind: step.kind.to_string(),
            priority: step.priority,
            concurrency_key: step.concurrency_key.clone(),
            max_crashes: max_crashes(&step.policy),
        }
    }
}

pub(crate) fn max_crashes(policy: &AttemptPolicy) -> i32 {
    i32::try_from(policy.max_crashes).unwrap_or(i32::MAX)
}

/// Makes jobs of ready steps.
pub(crate) async fn insert_jobs(tx: &mut Tx, ready: Vec<Ready>) -> Result<(), Error> {
    if ready.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("../queries/job/insert.sql"))
        .bind(ready.iter().map(|_| JobId::generate().as_uuid()).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.run).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.step.as_str()).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.priority).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.concurrency_key.as_deref()).collect::<Vec<_>>())
        .bind(ready.iter().map(|job| job.max_crashes).collect::<Vec<_>>())
        .execute(tx.conn())
        .await?;
    Ok(())
}
