//! How long the past is kept: attempts by day, in partitions that are dropped whole.

use std::time::Duration;

use chrono::{Days, NaiveDate};
use sqlx::{AssertSqlSafe, Row as _};

use crate::{Error, Store, Tx};

/// Partitions are made so many days ahead, so that a few missed calls cost nothing.
const DAYS_AHEAD: u64 = 7;

impl Store {
    /// Makes room for the attempts of the coming days. Safe to repeat; call it at least daily.
    pub async fn make_history(&self) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let today = lock(&mut tx).await?;
        for day in (0..DAYS_AHEAD).map(|ahead| today + Days::new(ahead)) {
            let table = partition(day);
            // Rows that had to be kept in the default partition would be in the way: that day stays there.
            let make = format!(
                "DO $$ BEGIN
                     CREATE TABLE IF NOT EXISTS {table} PARTITION OF attempt
                         FOR VALUES FROM ('{day} 00:00Z') TO ('{} 00:00Z');
                 EXCEPTION WHEN check_violation THEN NULL;
                 END $$",
                day + Days::new(1)
            );
            sqlx::raw_sql(AssertSqlSafe(make)).execute(tx.conn()).await?;
        }
        tx.commit().await
    }

    /// Forgets single jobs that ended longer ago than `keep`, with their logs, and attempts of days before that.
    /// Runs of pipelines are kept. Safe to repeat.
    pub async fn forget_history(&self, keep: Duration) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let today = lock(&mut tx).await?;
        let oldest = partition(today - Days::new(keep.as_secs() / 86_400 + 1));
        let old = "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                   WHERE inhparent = 'attempt'::regclass AND relname < $1 AND relname <> 'attempt_default'";
        for row in sqlx::query(old).bind(oldest).fetch_all(tx.conn()).await? {
            let table: String = row.try_get(0)?;
            sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {table}"))).execute(tx.conn()).await?;
        }
        let forget = sqlx::query(include_str!("../queries/run/forget.sql")).bind(keep.as_secs_f64());
        forget.execute(tx.conn()).await?;
        tx.commit().await
    }
}

/// Waits for other processes that do the same, and returns the database's day.
async fn lock(tx: &mut Tx) -> Result<NaiveDate, Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(7434)").execute(tx.conn()).await?;
    Ok(sqlx::query("SELECT (now() AT TIME ZONE 'UTC')::date").fetch_one(tx.conn()).await?.try_get(0)?)
}

fn partition(day: NaiveDate) -> String {
    format!("attempt_{}", day.format("%Y%m%d"))
}
