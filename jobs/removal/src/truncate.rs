//! `source.truncate`: takes away all rows of a source, and its dead letters; what is computed from them is filled anew.
//!
//! One transaction: whoever reads a version of the lake from then on sees none of them, and a view that has not been filled
//! again has no rows. Versions of before can be read until their files are collected, a day later; then the files that were
//! uploaded go, too. Safe to repeat: rows that come after the first time stay.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_catalog::ViewVersion;
use tidemill_core::{JobError, Kind};
use tidemill_features::{computed_from, reset, tables_of};
use tidemill_offline::Table;
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_store::NewJob;

use crate::{
    Deps, Error,
    source::{awaited, kept, source_scope},
};

/// Kind of [`TruncateJob`].
const SOURCE_TRUNCATE: Kind = Kind::new("source.truncate");

/// Which source. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTruncate {
    /// The source.
    source: String,
    /// It goes for good: refused while it is declared, or read.
    #[serde(default)]
    dropped: bool,
}

/// The job.
#[derive(Debug)]
pub struct TruncateJob {
    deps: Deps,
}

impl TruncateJob {
    /// With what it needs.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for TruncateJob {
    type Args = SourceTruncate;
    type Checkpoint = ();
    const KIND: Kind = SOURCE_TRUNCATE;

    async fn run(&self, args: &SourceTruncate, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let Deps { catalog, lake, .. } = &self.deps;
        let scope = source_scope(&self.deps, &args.source).await?;
        // Who reads it is not what changes while it is looked at: nothing new may read what is not declared.
        let readers = if args.dropped { readers(&self.deps, &args.source).await? } else { Vec::new() };
        let mut tx = cx.begin().await?;
        // Nobody publishes meanwhile, and no view is declared.
        catalog.lock_objects(&mut tx).await.map_err(Error::from)?;
        let objects = catalog.objects_in(&mut tx).await.map_err(Error::from)?;
        let declared = objects.sources.contains_key(&args.source);
        if let Some(fault) = kept(&args.source, declared, &readers).filter(|_| args.dropped) {
            return Err(JobError::Discard(fault));
        }
        let versions = catalog.view_versions_in(&mut tx).await.map_err(Error::from)?;
        let over: Vec<&ViewVersion> = computed_from(&versions, &args.source);
        let mut tables = vec![Table::source(&args.source), Table::dead(&args.source)];
        tables.extend(tables_of(&versions, &over));
        let fills = reset((catalog, lake), &mut tx, &tables, &over, &cx.job().to_string()).await;
        let fills = fills.map_err(Error::from)?;
        let uploads = catalog.remove_uploads(&mut tx, &args.source).await.map_err(Error::from)?;
        if args.dropped {
            catalog.forget_stream(&mut tx, &args.source).await.map_err(Error::from)?;
            // What failed would come back with a retry.
            let source = [args.source.clone()];
            catalog.remove_failed_uploads(&mut tx, &source, i64::MAX).await.map_err(Error::from)?;
        } else {
            catalog.empty_stream(&mut tx, &args.source).await.map_err(Error::from)?;
        }
        cx.enqueue(&mut tx, &fills).await?;
        cx.log(format!(
            "{} rows and {} dead letters of {uploads} uploads are gone; {} versions of views are filled anew",
            scope.rows,
            scope.dead_letters,
            over.len()
        ));
        cx.commit(tx, json!({ "rows": scope.rows, "dead_letters": scope.dead_letters, "uploads": uploads }))
            .await
    }
}

/// Versions of views that are kept up to date and read a source, as people name them.
pub(crate) async fn readers(deps: &Deps, source: &str) -> Result<Vec<String>, Error> {
    let maintained = tidemill_live::maintained_versions(&deps.catalog, None).await?;
    let over = computed_from(&maintained, source);
    Ok(over.iter().map(|version| format!("view/{}@{}", version.view, version.version)).collect())
}

/// Takes away the rows of a source; asking again while one waits changes nothing.
pub fn truncation(source: &str) -> NewJob {
    wish(SourceTruncate { source: source.to_owned(), dropped: false })
}

/// Takes away what is left of a source that is no longer declared.
///
/// # Errors
/// It is declared, something reads it, or uploads for it are under way.
pub async fn dropping(deps: &Deps, source: &str) -> Result<NewJob, Error> {
    let declared = deps.catalog.objects().await?.sources.contains_key(source);
    let unpublished = deps.catalog.uploads_unpublished(&[source.to_owned()]).await?;
    let under_way = unpublished.iter().filter(|upload| upload.running).count();
    match kept(source, declared, &readers(deps, source).await?).or_else(|| awaited(source, under_way)) {
        Some(fault) => Err(Error::Refused(fault)),
        None => Ok(wish(SourceTruncate { source: source.to_owned(), dropped: true })),
    }
}

fn wish(args: SourceTruncate) -> NewJob {
    let concurrency_key = format!("{SOURCE_TRUNCATE}/{}", args.source);
    let key = if args.dropped { format!("{concurrency_key}/dropped") } else { concurrency_key.clone() };
    NewJob { key: Some(key), concurrency_key: Some(concurrency_key), ..job_new(SOURCE_TRUNCATE, &args) }
}
