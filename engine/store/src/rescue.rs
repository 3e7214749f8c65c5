//! Taking back what dead workers held.

use std::time::Duration;

use sqlx::{Row as _, postgres::PgRow};
use tidemill_core::{Fault, JobId, LeaseToken};
use uuid::Uuid;

use crate::{Ending, Error, Lease, Settled, Store, Tx, sessions};

/// What one rescue did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Jobs that may be claimed again, without a charge.
    pub jobs: usize,
    /// Jobs that went to dead letter because workers died under them once too often.
    pub poisoned: usize,
    /// What followed from those.
    pub settled: Settled,
}

/// A worker whose lock is free and that was silent for so long is dead. Its connection may have been replaced a
/// moment ago; a living worker then takes its lock again with its next heartbeat.
const SILENT: Duration = Duration::from_secs(3);

const POISON: &str = include_str!("../queries/job/poison.sql");
const POISON_LOCKED: &str =
    concat!(include_str!("../queries/job/poison.sql"), "FOR UPDATE OF job SKIP LOCKED");

impl Store {
    /// Takes back up to `limit` leases that have expired, by the database's clock, or whose workers' processes are
    /// gone. Safe to run from any number of processes.
    ///
    /// # Errors
    /// When the database can't be reached: nothing was changed.
    pub async fn rescue_expired(&self, limit: i64) -> Result<Rescued, Error> {
        self.rescue(limit, SILENT).await
    }

    /// [`Self::rescue_expired`] with another silence than three seconds.
    pub async fn rescue(&self, limit: i64, silent: Duration) -> Result<Rescued, Error> {
        let silent = silent.as_secs_f64();
        let mut tx = self.begin().await?;
        let suspects = sqlx::query(POISON).bind(limit).bind(silent).bind(None::<Vec<Uuid>>);
        let suspects: Vec<PgRow> = suspects.fetch_all(tx.conn()).await?;
        let endings = poisoned(&mut tx, &suspects, silent).await?;
        let settled = self.settle_in(&mut tx, &endings).await?;
        let rescued = sqlx::query(include_str!("../queries/job/rescue.sql"))
            .bind(limit)
            .bind(silent)
            .bind(ids(&suspects, 0)?)
            .fetch_all(tx.conn())
            .await?;
        let silent_for_a_reason =
            !(endings.is_empty() && rescued.is_empty()) && sessions::admits(&self.pool).await == Some(false);
        if silent_for_a_reason {
            // The server wants to stop, and its workers have let go of it: they are not dead.
            return Ok(Rescued::default());
        }
        tx.commit().await?;
        Ok(Rescued { jobs: rescued.len(), poisoned: endings.len(), settled })
    }
}

/// The ends of those suspects that are no better now that their runs are locked, which comes before their jobs as
/// everywhere. Runs that somebody else is changing are left for the next time.
async fn poisoned(tx: &mut Tx, suspects: &[PgRow], silent: f64) -> Result<Vec<(Lease, Ending)>, Error> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let lock = "SELECT id FROM run WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";
    let runs: Vec<Uuid> = sqlx::query_scalar(lock).bind(ids(suspects, 3)?).fetch_all(tx.conn()).await?;
    let limit = i64::try_from(suspects.len()).unwrap_or(i64::MAX);
    let proven = sqlx::query(POISON_LOCKED).bind(limit).bind(silent).bind(Some(runs));
    let ending = |row: &PgRow| {
        let lease =
            Lease { job: JobId::from(row.try_get::<Uuid, _>(0)?), token: LeaseToken(row.try_get(1)?) };
        let crashes: i32 = row.try_get(2)?;
        let fault = Fault::coded(1002, format!("{crashes} workers in a row died while they ran it"))
            .hint("look at the workers' logs for memory and signals, then `tidemill retry` the run");
        Ok((lease, Ending::Discard(fault)))
    };
    proven.fetch_all(tx.conn()).await?.iter().map(ending).collect()
}

fn ids(rows: &[PgRow], column: usize) -> Result<Vec<Uuid>, Error> {
    rows.iter().map(|row| Ok(row.try_get(column)?)).collect()
}
