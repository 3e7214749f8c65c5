//! Step `quality.check`: conditions that the rows of a table must hold; too many that don't fail the run.

use serde_json::json;
use tidemill_core::{Fault, JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::{
    Value,
    expr::sql::{compiled, quote},
    steps::{QUALITY_CHECK, QualityCheck},
};

use crate::{
    Deps,
    moment::{self, Moment},
    tables,
};

/// Checks.
#[derive(Clone, Debug)]
pub(crate) struct QualityJob {
    deps: Deps,
}

impl QualityJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for QualityJob {
    type Args = QualityCheck;
    type Checkpoint = Moment;
    const KIND: Kind = QUALITY_CHECK;

    async fn run(&self, args: &QualityCheck, cx: &mut Context<Moment>) -> Result<Outcome, JobError> {
        let moment = moment::fixed(&self.deps.lake, cx).await?;
        let query = statement(&args.table, &args.conditions);
        let Deps { catalog, lake, .. } = &self.deps;
        let as_of = (moment.version, moment.at);
        let counts = tables::query(catalog, lake, &query, as_of, |_| Ok(())).await?.first.unwrap_or_default();
        let count = |name: &str| match counts.get(name) {
            Some(Value::Int(count)) => *count,
            _ => 0,
        };
        let (rows, failed) = (count("rows"), count("failed"));
        for (number, condition) in args.conditions.iter().enumerate() {
            cx.log(format!("{} of {rows} rows fail `{condition}`", count(&format!("failed_{number}"))));
        }
        if !tolerable(rows, failed, args.tolerance) {
            let message =
                format!("{failed} of {rows} rows of `{}` fail: {}", args.table, args.conditions.join("; "));
            return Err(JobError::Discard(
                Fault::coded(326, message).hint("tidemill logs RUN says how many fail each condition"),
            ));
        }
        Ok(Outcome::Completed(json!({ "rows": rows, "failed": failed })))
    }
}

#[expect(clippy::cast_precision_loss, reason = "shares of row counts")]
fn tolerable(rows: i64, failed: i64, tolerance: f64) -> bool {
    failed as f64 <= tolerance * rows as f64
}

/// Counts all rows, rows that fail any condition, and rows that fail each. A condition that is null, or that can't be
/// computed from a row, fails it.
fn statement(table: &str, conditions: &[String]) -> String {
    let fails = |condition: &str| format!("count(*) FILTER (WHERE NOT coalesce({condition}, false))");
    let conditions: Vec<String> =
        conditions.iter().map(|condition| format!("TRY{}", compiled(condition))).collect();
    let all = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    let each = conditions.iter().enumerate();
    let each: String =
        each.map(|(number, condition)| format!(", {} AS failed_{number}", fails(condition))).collect();
    let name = table.split('/').map(quote).collect::<Vec<_>>().join(".");
    format!("SELECT count(*) AS rows, {} AS failed{each} FROM {name}", fails(&all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_is_null_or_cannot_be_computed_fails_its_row() {
        assert_eq!(
            statement("source/weather", &["temp < 120".to_owned(), "wind_speed >= 0".to_owned()]),
            "SELECT count(*) AS rows, \
             count(*) FILTER (WHERE NOT coalesce(TRY(\"temp\" < 120) AND TRY(\"wind_speed\" >= 0), false)) AS failed, \
             count(*) FILTER (WHERE NOT coalesce(TRY(\"temp\" < 120), false)) AS failed_0, \
             count(*) FILTER (WHERE NOT coalesce(TRY(\"wind_speed\" >= 0), false)) AS failed_1 \
             FROM \"source\".\"weather\""
        );
    }

    #[test]
    fn tolerance_is_a_share_of_all_rows() {
        assert!(tolerable(100, 0, 0.0) && !tolerable(100, 1, 0.0));
        assert!(tolerable(100, 5, 0.05) && !tolerable(100, 6, 0.05));
        assert!(tolerable(0, 0, 0.0));
    }
}
