//! How long the past is kept: attempts by day, in partitions that are dropped whole.
//!
//! Making or dropping a partition locks all of `attempt`, and whoever ends a job would queue up behind that lock while
//! it waits for a reader (a backup reads for hours). So it waits a moment only, and is tried again: partitions are made
//! a week ahead, and one that is dropped late costs nothing but its space.

use std::time::Duration;

use chrono::{Days, NaiveDate};
use sqlx::AssertSqlSafe;

use crate::{Error, Store};

/// Partitions are made for so many days, today's included.
const DAYS_AHEAD: i32 = 7;
/// How long completions may have to wait behind a partition that waits for a reader.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '50ms'";
/// A lock was not to be had in time; another process made the same table; rows of its day came to the default partition
/// a moment ago, and stay there.
const NOT_NOW: [&str; 4] = ["55P03", "42P07", "23505", "23514"];

impl Store {
    /// Makes room for the attempts of the coming days; false when a reader was in the way and it is to be called again
    /// in a while. Safe to repeat; call it at least daily.
    pub async fn make_history(&self) -> Result<bool, Error> {
        let missing =
            sqlx::query_scalar(include_str!("../queries/attempt/days_missing.sql")).bind(DAYS_AHEAD);
        let mut done = true;
        for day in missing.fetch_all(&self.pool).await? {
            let day: NaiveDate = day;
            let (table, next) = (format!("attempt_{}", day.format("%Y%m%d")), day + Days::new(1));
            done &= self
                .change_partition(format!(
                    "CREATE TABLE IF NOT EXISTS {table} PARTITION OF attempt
                     FOR VALUES FROM ('{day} 00:00Z') TO ('{next} 00:00Z')"
                ))
                .await?;
        }
        Ok(done)
    }

    /// Forgets the attempts of days that lie further back than `keep`; false when a reader was in the way and it is to
    /// be called again in a while. Safe to repeat.
    pub async fn drop_history(&self, keep: Duration) -> Result<bool, Error> {
        let days = i32::try_from(keep.as_secs() / 86_400 + 1).unwrap_or(i32::MAX);
        let old = sqlx::query_scalar(include_str!("../queries/attempt/days_old.sql")).bind(days);
        let mut done = true;
        for table in old.fetch_all(&self.pool).await? {
            let table: String = table;
            done &= self.change_partition(format!("DROP TABLE IF EXISTS {table}")).await?;
        }
        Ok(done)
    }

    /// Forgets single jobs that ended longer ago than `keep`, with their logs. Runs of pipelines are kept. Safe to
    /// repeat.
    pub async fn forget_jobs(&self, keep: Duration) -> Result<(), Error> {
        let forget = sqlx::query(include_str!("../queries/run/forget.sql")).bind(keep.as_secs_f64());
        forget.execute(&self.pool).await?;
        Ok(())
    }

    /// Makes or drops one partition, in a transaction of its own; false when it can't be done now.
    async fn change_partition(&self, statement: String) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        sqlx::query(LOCK_TIMEOUT).execute(tx.conn()).await?;
        match sqlx::raw_sql(AssertSqlSafe(statement)).execute(tx.conn()).await {
            Ok(_) => tx.commit().await.map(|()| true),
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| NOT_NOW.contains(&code.as_ref())) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
