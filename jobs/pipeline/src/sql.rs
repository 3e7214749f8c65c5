//! Step `sql`: a query over the lake; its rows are counted, the first is an output, all go to a file if named.

use serde_json::{Value as Json, json};
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{SQL, Sql};

use crate::{
    Deps,
    moment::{self, Moment},
    tables,
};

/// Queries.
#[derive(Clone, Debug)]
pub(crate) struct SqlJob {
    deps: Deps,
}

impl SqlJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for SqlJob {
    type Args = Sql;
    type Checkpoint = Moment;
    const KIND: Kind = SQL;

    async fn run(&self, args: &Sql, cx: &mut Context<Moment>) -> Result<Outcome, JobError> {
        let moment = moment::fixed(&self.deps.lake, cx).await?;
        let rows = tables::query(&self.deps, &args.query, moment).await?;
        let count = rows.num_rows();
        let first = tidemill_rows::json_rows(&rows.slice(0, count.min(1))).map_err(JobError::discard)?;
        if let Some(path) = &args.path {
            tables::write(rows, path).await?;
        }
        let first = first.into_iter().next().map_or(Json::Null, Json::Object);
        Ok(Outcome::Completed(json!({ "rows": count, "first": first })))
    }
}
