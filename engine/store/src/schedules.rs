//! Schedules and their ticks, on the data clock. A tick is unique by (schedule, logical time): two leaders can't
//! double it.

use serde::Serialize;
use serde_json::Value;
use sqlx::{Row as _, postgres::PgRow};
use tidemill_core::{RunId, Time};
use uuid::Uuid;

use crate::{Error, Store, Tx};

/// A schedule as declared.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// `pipeline/NAME` or `monitor/NAME`.
    pub name: String,
    /// Five fields.
    pub cron: String,
    /// An IANA name.
    pub timezone: String,
    /// `all`, `last` or `none`.
    pub catchup: String,
    /// `skip`, `queue_one`, `queue_all`, `cancel_other` or `allow`.
    pub overlap: String,
    /// What a tick starts; opaque to the engine.
    pub target: Value,
    /// Its first tick, on the data clock.
    pub next_at: Time,
}

/// A schedule in a list.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduleRow {
    /// `pipeline/NAME` or `monitor/NAME`.
    pub name: String,
    /// Five fields.
    pub cron: String,
    /// An IANA name.
    pub timezone: String,
    /// Missed ticks.
    pub catchup: String,
    /// Ticks while a run is under way.
    pub overlap: String,
    /// What a tick starts.
    pub target: Value,
    /// Held.
    pub paused: bool,
    /// The next tick, on the data clock.
    pub next_at: Time,
    /// The last tick.
    pub last_tick: Option<Time>,
    /// What became of it.
    pub last_outcome: Option<String>,
    /// The run it started.
    pub last_run: Option<RunId>,
}

/// A schedule whose next tick has come, locked by the transaction that read it.
pub type DueSchedule = ScheduleRow;

/// What became of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickOutcome {
    /// It started a run.
    Fired,
    /// A run was under way, or there was nothing to do.
    Skipped,
    /// It was missed, and the catch-up policy lets it go.
    Missed,
}

impl TickOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }
}

// Columns by name: a statement that a connection has prepared must not break when an upgrade adds one.
const SELECT: &str = "SELECT schedule.name, schedule.cron, schedule.timezone, schedule.catchup, schedule.overlap,
                             schedule.target, schedule.paused, schedule.next_at,
                             last.logical_time AS last_tick, last.outcome AS last_outcome, last.run_id AS last_run
                      FROM schedule
                      LEFT JOIN LATERAL (SELECT * FROM tick WHERE tick.schedule = schedule.name
                                         ORDER BY logical_time DESC LIMIT 1) AS last ON true";

impl Store {
    /// Declares a schedule. One that is there keeps its next tick unless its times have changed.
    pub async fn upsert_schedule(&self, tx: &mut Tx, schedule: &NewSchedule) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO schedule (name, cron, timezone, catchup, overlap, target, next_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (name) DO UPDATE SET
                 next_at = CASE WHEN (schedule.cron, schedule.timezone) = (excluded.cron, excluded.timezone)
                                THEN schedule.next_at ELSE excluded.next_at END,
                 cron = excluded.cron, timezone = excluded.timezone, catchup = excluded.catchup,
                 overlap = excluded.overlap, target = excluded.target",
        )
        .bind(&schedule.name)
        .bind(&schedule.cron)
        .bind(&schedule.timezone)
        .bind(&schedule.catchup)
        .bind(&schedule.overlap)
        .bind(&schedule.target)
        .bind(schedule.next_at)
        .execute(tx.conn())
        .await?;
        Ok(())
    }

    /// Removes every schedule that is not named.
    pub async fn keep_schedules(&self, tx: &mut Tx, names: &[String]) -> Result<(), Error> {
        sqlx::query("DELETE FROM schedule WHERE name <> ALL($1)").bind(names).execute(tx.conn()).await?;
        Ok(())
    }

    /// All schedules, by name.
    pub async fn schedules(&self) -> Result<Vec<ScheduleRow>, Error> {
        let all = format!("{SELECT} ORDER BY schedule.name");
        let rows = sqlx::query(sqlx::AssertSqlSafe(all)).fetch_all(&self.pool).await?;
        rows.iter().map(schedule_row).collect()
    }

    /// One schedule, locked until `tx` ends: none of its ticks fires meanwhile.
    ///
    /// # Errors
    /// [`Error::NoSchedule`], or when the database can't be reached.
    pub async fn lock_schedule(&self, tx: &mut Tx, name: &str) -> Result<ScheduleRow, Error> {
        let one = format!("{SELECT} WHERE schedule.name = $1 FOR UPDATE OF schedule");
        let row = sqlx::query(sqlx::AssertSqlSafe(one)).bind(name).fetch_optional(tx.conn()).await?;
        row.as_ref().map(schedule_row).transpose()?.ok_or_else(|| Error::NoSchedule(name.to_owned()))
    }

    /// Holds a schedule, or lets it go on.
    ///
    /// # Errors
    /// [`Error::NoSchedule`], or when the database can't be reached.
    pub async fn pause_schedule(&self, tx: &mut Tx, name: &str, paused: bool) -> Result<(), Error> {
        let pause = sqlx::query("UPDATE schedule SET paused = $2 WHERE name = $1").bind(name).bind(paused);
        let found = pause.execute(tx.conn()).await?.rows_affected() == 1;
        if found { Ok(()) } else { Err(Error::NoSchedule(name.to_owned())) }
    }

    /// One schedule whose next tick lies at or before `now` on the data clock, locked until `tx` ends; those in
    /// `seen` are passed over.
    pub async fn due_schedule(
        &self,
        tx: &mut Tx,
        now: Time,
        seen: &[String],
    ) -> Result<Option<DueSchedule>, Error> {
        let due = format!(
            "{SELECT} WHERE NOT paused AND next_at <= $1 AND name <> ALL($2)
             ORDER BY next_at LIMIT 1 FOR UPDATE OF schedule SKIP LOCKED"
        );
        let row =
            sqlx::query(sqlx::AssertSqlSafe(due)).bind(now).bind(seen).fetch_optional(tx.conn()).await?;
        row.as_ref().map(schedule_row).transpose()
    }

    /// Records a tick; returns whether it is new.
    pub async fn record_tick(
        &self,
        tx: &mut Tx,
        schedule: &str,
        logical_time: Time,
        outcome: TickOutcome,
        run: Option<RunId>,
    ) -> Result<bool, Error> {
        let insert = "INSERT INTO tick (schedule, logical_time, outcome, run_id) VALUES ($1, $2, $3, $4)
                      ON CONFLICT DO NOTHING";
        let inserted = sqlx::query(insert)
            .bind(schedule)
            .bind(logical_time)
            .bind(outcome.as_str())
            .bind(run.map(RunId::as_uuid))
            .execute(tx.conn())
            .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Moves a schedule to its next tick.
    pub async fn advance_schedule(&self, tx: &mut Tx, name: &str, next_at: Time) -> Result<(), Error> {
        sqlx::query("UPDATE schedule SET next_at = $2 WHERE name = $1")
            .bind(name)
            .bind(next_at)
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// Unfinished runs that ticks of a schedule started, oldest first.
    pub async fn open_tick_runs(&self, tx: &mut Tx, schedule: &str) -> Result<Vec<RunId>, Error> {
        let open = "SELECT run.id FROM tick JOIN run ON run.id = tick.run_id
                    WHERE tick.schedule = $1 AND run.finished_at IS NULL ORDER BY tick.logical_time";
        let rows = sqlx::query(open).bind(schedule).fetch_all(tx.conn()).await?;
        rows.iter().map(|row| Ok(row.try_get::<Uuid, _>(0)?.into())).collect()
    }
}

fn schedule_row(row: &PgRow) -> Result<ScheduleRow, Error> {
    Ok(ScheduleRow {
        name: row.try_get("name")?,
        cron: row.try_get("cron")?,
        timezone: row.try_get("timezone")?,
        catchup: row.try_get("catchup")?,
        overlap: row.try_get("overlap")?,
        target: row.try_get("target")?,
        paused: row.try_get("paused")?,
        next_at: row.try_get("next_at")?,
        last_tick: row.try_get("last_tick")?,
        last_outcome: row.try_get("last_outcome")?,
        last_run: row.try_get::<Option<Uuid>, _>("last_run")?.map(RunId::from),
    })
}
