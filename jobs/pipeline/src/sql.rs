//! Step `sql`: a query over the lake; its rows are counted, the first is an output, all go to a file if named. They
//! are never all in memory.

use serde_json::{Value as Json, json};
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{SQL, Sql};

use crate::{
    Deps,
    moment::{self, Moment},
    tables::{self, Target},
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
        let target = args.path.as_deref().map_or_else(|| Ok(Target::nowhere()), Target::new)?;
        let moment = moment::fixed(&self.deps.lake, cx).await?;
        let Deps { catalog, lake, .. } = &self.deps;
        let as_of = (moment.version, moment.at);
        let queried = tables::query(catalog, lake, &args.query, as_of, target.taker()).await?;
        target.finish()?;
        let first = queried.first.map_or(Json::Null, |row| json!(row));
        Ok(Outcome::Completed(json!({ "rows": queried.rows, "first": first })))
    }
}
