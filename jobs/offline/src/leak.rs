//! What a point-in-time leak amounts to: rows that use a value before the world knew it.

use serde::{Deserialize, Serialize};
use tidemill_rows::{rows_of, source_schema};
use tidemill_spec::{Source, Value};

use crate::{
    CommitRange, Error, Lake, Version,
    sql::{fill, quoted},
};

/// How many rows see the future, and how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenEarly {
    /// Rows of the source.
    pub rows: i64,
    /// Those whose value is used before it was known.
    pub early: i64,
    /// The median of how much earlier, in seconds; `None` without such a row.
    pub median_seconds: Option<f64>,
}

impl Lake {
    /// Counts the rows of a source that use at `used_at` what was known only at `known_at`, two of its timestamp
    /// columns.
    pub async fn seen_early(
        &self,
        source: &Source,
        used_at: &str,
        known_at: &str,
        version: Version,
    ) -> Result<SeenEarly, Error> {
        let scan = self.scan_source(source, CommitRange::upto(version)).await?;
        let statement = fill(
            include_str!("../queries/leak/count.sql"),
            &[
                ("rows", &scan.rows(&source_schema(source), "true")),
                ("used_at", &quoted(used_at)),
                ("known_at", &quoted(known_at)),
            ],
        );
        let doing = format!("counting rows of {} that see the future", source.name);
        let counted = self.duck.run(doing, move |session| session.query(&statement)).await?;
        let row = rows_of(&counted)?.pop().unwrap_or_default();
        let count = |name: &str| match row.get(name) {
            Some(Value::Int(count)) => *count,
            _ => 0,
        };
        let median_seconds = match row.get("median_seconds") {
            Some(Value::Float(seconds)) => Some(*seconds),
            _ => None,
        };
        Ok(SeenEarly { rows: count("rows"), early: count("early"), median_seconds })
    }
}
