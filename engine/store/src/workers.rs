//! Worker processes as they report themselves.

use serde::Serialize;
use sqlx::Row as _;
use tidemill_core::{Time, WorkerId};
use uuid::Uuid;

use crate::{Error, Store};

/// A worker that starts.
#[derive(Clone, Debug)]
pub struct NewWorker {
    /// Its id, new with each start.
    pub id: WorkerId,
    /// For people.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Jobs it runs at once.
    pub slots: usize,
    /// Kinds of jobs it runs.
    pub kinds: Vec<String>,
}

/// A worker in a list.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerRow {
    /// Its id.
    pub id: WorkerId,
    /// For people.
    pub name: String,
    /// Its process id.
    pub pid: i32,
    /// Jobs it runs at once.
    pub slots: i32,
    /// Jobs it runs now.
    pub running: i64,
    /// Takes no new jobs.
    pub draining: bool,
    /// Real time.
    pub started_at: Time,
    /// Real time of its last heartbeat.
    pub seen_at: Time,
}

impl Store {
    /// Says that a worker is there, for as long as this process holds the connection: call it, and
    /// [`Self::worker_heartbeat`], on a store of one connection of its own ([`Self::apart`]).
    pub async fn register_worker(&self, worker: &NewWorker) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/worker/register.sql"))
            .bind(worker.id.as_uuid())
            .bind(&worker.name)
            .bind(i32::try_from(worker.pid).unwrap_or(0))
            .bind(i32::try_from(worker.slots).unwrap_or(i32::MAX))
            .bind(&worker.kinds)
            .execute(&self.pool)
            .await?;
        self.hold_presence(worker.id).await
    }

    /// Says that a worker is still there; returns whether it was asked to drain.
    pub async fn worker_heartbeat(&self, worker: WorkerId) -> Result<bool, Error> {
        self.hold_presence(worker).await?;
        let beat = sqlx::query(include_str!("../queries/worker/beat.sql")).bind(worker.as_uuid());
        let row = beat.fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
    }

    async fn hold_presence(&self, worker: WorkerId) -> Result<(), Error> {
        let hold = sqlx::query(include_str!("../queries/worker/hold_presence.sql")).bind(worker.as_uuid());
        hold.execute(&self.pool).await?;
        Ok(())
    }

    /// Says that a worker has ended in order.
    pub async fn unregister_worker(&self, worker: WorkerId) -> Result<(), Error> {
        sqlx::query("DELETE FROM worker WHERE id = $1").bind(worker.as_uuid()).execute(&self.pool).await?;
        Ok(())
    }

    /// Asks a worker to take no new jobs; returns whether there is such a worker.
    pub async fn drain_worker(&self, worker: WorkerId) -> Result<bool, Error> {
        let drain = sqlx::query("UPDATE worker SET draining = true WHERE id = $1").bind(worker.as_uuid());
        Ok(drain.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Workers heard of within half a minute.
    pub async fn workers(&self) -> Result<Vec<WorkerRow>, Error> {
        let rows = sqlx::query(
            "SELECT id, name, pid, slots, draining, started_at, seen_at,
                    (SELECT count(*) FROM job WHERE worker_id = worker.id AND lease_token IS NOT NULL) AS running
             FROM worker WHERE seen_at > now() - interval '30 seconds' ORDER BY name, started_at",
        )
        .fetch_all(&self.pool)
        .await?;
        let worker = |row: &sqlx::postgres::PgRow| {
            Ok(WorkerRow {
                id: row.try_get::<Uuid, _>("id")?.into(),
                name: row.try_get("name")?,
                pid: row.try_get("pid")?,
                slots: row.try_get("slots")?,
                running: row.try_get("running")?,
                draining: row.try_get("draining")?,
                started_at: row.try_get("started_at")?,
                seen_at: row.try_get("seen_at")?,
            })
        };
        rows.iter().map(worker).collect()
    }

    /// Forgets workers that were not heard of for a day.
    pub async fn forget_workers(&self) -> Result<(), Error> {
        sqlx::query("DELETE FROM worker WHERE seen_at < now() - interval '1 day'")
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
