//! What people do with runs: retry, cancel.

use serde_json::{Map, Value};
use sqlx::Row as _;
use tidemill_core::{Fault, Kind, RunId, RunState, Time};

use crate::{
    Ending, Error, RunQuery, RunRow, Store, Tx,
    complete::{Ended, close_runs, follow, ready_step},
    enqueue::insert_jobs,
};

impl Store {
    /// Repeats the failed and cancelled steps of a run, and what they block; finished steps stay as they are.
    /// Attempts go on counting, and checkpoints are kept. Returns the steps that start; none when nothing failed.
    ///
    /// `replaced` is a map: its fields take the place of those of the same name in the run's context, and in the args
    /// of the steps that repeat or still wait.
    ///
    /// # Errors
    /// [`Error::NoRun`], or when the database can't be reached.
    pub async fn retry_run(&self, run: RunId, replaced: &Map<String, Value>) -> Result<Vec<String>, Error> {
        let mut tx = self.begin().await?;
        lock(&mut tx, run).await?;
        let rows =
            sqlx::query(include_str!("../queries/run/retry.sql")).bind(run.as_uuid()).fetch_all(tx.conn());
        let rows = rows.await?;
        let ready = rows.iter().filter(|row| row.try_get("ready").unwrap_or(false));
        let ready = ready.map(ready_step).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = ready.iter().map(|step| step.step.clone()).collect();
        if !names.is_empty() {
            let replace = sqlx::query(include_str!("../queries/run/replace.sql")).bind(run.as_uuid());
            replace.bind(sqlx::types::Json(replaced)).execute(tx.conn()).await?;
            insert_jobs(&mut tx, ready).await?;
            let reopen = "UPDATE run SET state = 'running', finished_at = NULL WHERE id = $1";
            sqlx::query(reopen).bind(run.as_uuid()).execute(tx.conn()).await?;
        }
        tx.commit().await?;
        Ok(names)
    }

    /// Runs that failed since a real time, newest first, at most 1,000: what a bulk retry would repeat.
    pub async fn failed_runs(
        &self,
        since: Option<Time>,
        pipeline: Option<String>,
    ) -> Result<Vec<RunRow>, Error> {
        let state = Some(RunState::Failed);
        self.runs(&RunQuery { state, pipeline, all: true, finished_since: since, limit: 1000 }).await
    }

    /// The run of the kind that ended last under a concurrency key and why, if it failed or was cancelled and nothing
    /// waits or runs under the key any more: whoever waits for its effect waits in vain.
    pub async fn failed_last(
        &self,
        concurrency_key: &str,
        kind: &Kind,
    ) -> Result<Option<(RunId, Fault)>, Error> {
        let row = sqlx::query(include_str!("../queries/step/failed_last.sql"))
            .bind(concurrency_key)
            .bind(kind.as_str())
            .fetch_optional(self.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let fault: Option<serde_json::Value> = row.try_get("fault")?;
        let fault = fault.map(serde_json::from_value).transpose().map_err(Error::inconsistent)?;
        let reason: Option<String> = row.try_get("reason")?;
        let fault =
            fault.unwrap_or_else(|| Fault::new(reason.unwrap_or_else(|| "it was cancelled".to_owned())));
        Ok(Some((row.try_get::<uuid::Uuid, _>("run_id")?.into(), fault)))
    }

    /// Stops a run: what waits is cancelled at once, what runs is asked to stop and cancelled when it has.
    /// A run that has ended stays as it is.
    ///
    /// # Errors
    /// [`Error::NoRun`], or when the database can't be reached.
    pub async fn cancel_run(&self, run: RunId, reason: &str) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        self.cancel_run_in(&mut tx, run, reason).await?;
        tx.commit().await
    }

    /// [`Self::cancel_run`] as part of `tx`.
    pub async fn cancel_run_in(&self, tx: &mut Tx, run: RunId, reason: &str) -> Result<(), Error> {
        if lock(tx, run).await?.is_final() {
            return Ok(());
        }
        // Each job either waits or runs from here on: none slips from one half of what follows into the other.
        let jobs = sqlx::query(include_str!("../queries/job/lock_of_run.sql")).bind(run.as_uuid());
        jobs.execute(tx.conn()).await?;
        let ask = "UPDATE job SET cancel_reason = $2 WHERE run_id = $1 AND lease_token IS NOT NULL";
        sqlx::query(ask).bind(run.as_uuid()).bind(reason).execute(tx.conn()).await?;
        let waiting = sqlx::query(include_str!("../queries/run/cancel.sql"));
        let rows = waiting.bind(run.as_uuid()).fetch_all(tx.conn()).await?;
        let ending = Ending::Cancel(reason.to_owned());
        let ended =
            rows.iter().map(|row| Ok(Ended { run: run.as_uuid(), step: row.try_get(0)?, ending: &ending }));
        let ended = ended.collect::<Result<Vec<_>, Error>>()?;
        follow(tx, &ended).await?;
        close_runs(tx, &[run.as_uuid()]).await?;
        Ok(())
    }
}

/// Waits for whoever else changes the run; then its state stands until `tx` ends.
async fn lock(tx: &mut Tx, run: RunId) -> Result<RunState, Error> {
    let lock = sqlx::query("SELECT state FROM run WHERE id = $1 FOR UPDATE").bind(run.as_uuid());
    let row = lock.fetch_optional(tx.conn()).await?.ok_or(Error::NoRun(run))?;
    row.try_get::<String, _>(0)?.parse().map_err(Error::inconsistent)
}
