//! Step `export`: a table to a file, batch by batch.

use serde_json::json;
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{EXPORT, Export};

use crate::{
    Deps,
    moment::{self, Moment},
    tables::{self, Target},
};

/// Exports.
#[derive(Clone, Debug)]
pub(crate) struct ExportJob {
    deps: Deps,
}

impl ExportJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for ExportJob {
    type Args = Export;
    type Checkpoint = Moment;
    const KIND: Kind = EXPORT;

    async fn run(&self, args: &Export, cx: &mut Context<Moment>) -> Result<Outcome, JobError> {
        let target = Target::new(&args.path)?;
        let moment = moment::fixed(&self.deps.lake, cx).await?;
        let rows = tables::read(&self.deps, &args.table, moment, target.taker()).await?;
        target.finish()?;
        Ok(Outcome::Completed(json!({ "rows": rows, "path": args.path })))
    }
}
