//! What attempts wrote: kept after the worker is gone, bounded for each attempt.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::Row as _;
use tidemill_core::{RunId, Time, text::storable};

use crate::{Error, Store, Tx};

/// Kept of one attempt: of its beginning and of its end, so that what it began with and why it failed are both there.
const BEGINNING_BYTES_MAX: i64 = 512 << 10;
const END_BYTES_MAX: i64 = 512 << 10;
/// Bytes kept of one line.
const LINE_BYTES_MAX: usize = 4096;

/// A line to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLogLine {
    /// From 1 within the attempt, in the order they were written; numbers may be missing.
    pub number: i32,
    /// Real time.
    pub at: Time,
    /// The text, without its line end.
    pub line: String,
}

impl NewLogLine {
    /// A line as it can be kept: at most 4 KiB of it, without NUL.
    pub fn new(number: i32, at: Time, line: &str) -> Self {
        Self { number, at, line: cut(line) }
    }
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
    /// Adds lines to an attempt's log as part of `tx`. Of a long log the first and the last 512 KiB are kept.
    ///
    /// Repeating a call changes nothing.
    pub async fn append_log(
        &self,
        tx: &mut Tx,
        run: RunId,
        step: &str,
        attempt: u32,
        lines: &[NewLogLine],
    ) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/log/append.sql"))
            .bind(run.as_uuid())
            .bind(step)
            .bind(i32::try_from(attempt).unwrap_or(i32::MAX))
            .bind(lines.iter().map(|line| line.number).collect::<Vec<_>>())
            .bind(lines.iter().map(|line| line.at).collect::<Vec<_>>())
            .bind(lines.iter().map(|line| line.line.as_str()).collect::<Vec<_>>())
            .bind(BEGINNING_BYTES_MAX)
            .bind(END_BYTES_MAX)
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// The lines of a run in the order they were written; of one step or attempt, where named. Where lines were left
    /// out, one says how many.
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
        Ok(with_gaps(rows.iter().map(line).collect::<Result<_, Error>>()?))
    }
}

/// Adds a line wherever numbers are missing.
fn with_gaps(lines: Vec<LogLine>) -> Vec<LogLine> {
    let mut numbers: HashMap<(String, i32), i32> = HashMap::new();
    let mut told = Vec::with_capacity(lines.len());
    for line in lines {
        let before = numbers.insert((line.step.clone(), line.attempt), line.line_no).unwrap_or(0);
        let missing = line.line_no - before - 1;
        if missing > 0 {
            let text = format!("… {missing} lines left out: a log keeps its first and its last 512 KiB");
            told.push(LogLine { line_no: before + 1, line: text, ..line.clone() });
        }
        told.push(line);
    }
    told
}

/// At most [`LINE_BYTES_MAX`] bytes, at a character's end, and how many were left out.
fn cut(line: &str) -> String {
    if line.len() <= LINE_BYTES_MAX {
        return storable(line);
    }
    let mut end = LINE_BYTES_MAX - 32;
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    storable(format!("{}… ({} more bytes)", &line[..end], line.len() - end))
}
