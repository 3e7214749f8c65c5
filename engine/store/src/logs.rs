//! What attempts wrote: kept after the worker is gone, bounded for each attempt.

use serde::Serialize;
use sqlx::Row as _;
use tidemill_core::{RunId, Time};

use crate::{Error, Store, Tx};

/// Kept of one attempt; what comes later is dropped, and a line says so.
const ATTEMPT_BYTES_MAX: i64 = 1 << 20;
/// Bytes kept of one line.
const LINE_BYTES_MAX: usize = 4096;

/// A line to keep.
#[derive(Clone, Debug)]
pub struct NewLogLine {
    /// Real time.
    pub at: Time,
    /// The text, without its line end.
    pub line: String,
}

/// A line that was kept.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    /// The step.
    pub step: String,
    /// The attempt, from 1.
    pub attempt: i32,
    /// From 1 within the attempt.
    pub line_no: i32,
    /// Real time.
    pub at: Time,
    /// The text.
    pub line: String,
}

impl Store {
    /// Appends lines to an attempt's log as part of `tx`; `first_line` is the number of the first of them, from 1.
    ///
    /// Repeating a call changes nothing. Past the limit lines are dropped.
    pub async fn append_log(
        &self,
        tx: &mut Tx,
        run: RunId,
        step: &str,
        attempt: u32,
        first_line: i32,
        lines: &[NewLogLine],
    ) -> Result<(), Error> {
        let numbered: Vec<(i32, &NewLogLine)> = (first_line..).zip(lines).collect();
        sqlx::query(include_str!("../queries/log/append.sql"))
            .bind(run.as_uuid())
            .bind(step)
            .bind(i32::try_from(attempt).unwrap_or(i32::MAX))
            .bind(numbered.iter().map(|(number, _)| *number).collect::<Vec<_>>())
            .bind(numbered.iter().map(|(_, line)| line.at).collect::<Vec<_>>())
            .bind(numbered.iter().map(|(_, line)| cut(&line.line)).collect::<Vec<_>>())
            .bind(ATTEMPT_BYTES_MAX)
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// The lines of a run in the order they were written; of one step or attempt, where named.
    pub async fn log(
        &self,
        run: RunId,
        step: Option<&str>,
        attempt: Option<i32>,
    ) -> Result<Vec<LogLine>, Error> {
        let rows = sqlx::query(
            "SELECT step, attempt, line_no, at, line FROM attempt_log
             WHERE run_id = $1 AND ($2::text IS NULL OR step = $2) AND ($3::integer IS NULL OR attempt = $3)
             ORDER BY at, step, attempt, line_no",
        )
        .bind(run.as_uuid())
        .bind(step)
        .bind(attempt)
        .fetch_all(&self.pool)
        .await?;
        let line = |row: &sqlx::postgres::PgRow| {
            Ok(LogLine {
                step: row.try_get(0)?,
                attempt: row.try_get(1)?,
                line_no: row.try_get(2)?,
                at: row.try_get(3)?,
                line: row.try_get(4)?,
            })
        };
        rows.iter().map(line).collect()
    }
}

/// At most [`LINE_BYTES_MAX`] bytes, at a character's end, without the NUL that Postgres can't keep.
fn cut(line: &str) -> String {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].replace('\0', "\u{fffd}")
}
