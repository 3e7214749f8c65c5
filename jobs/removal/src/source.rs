//! What taking the rows of a source away will touch.

use serde::Serialize;
use tidemill_catalog::{Unpublished, ViewState, ViewVersion};
use tidemill_core::Fault;
use tidemill_features::computed_from;
use tidemill_offline::Table;

use crate::{Deps, Error};

/// What is there of a source, and what is computed from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceScope {
    /// The source.
    pub source: String,
    /// Its rows in the lake.
    pub rows: i64,
    /// Its dead letters.
    pub dead_letters: i64,
    /// Files and pushes that brought them.
    pub uploads: i64,
    /// Uploads that are not in the lake yet: they come after, and stay.
    pub uploads_under_way: usize,
    /// Versions of views that are computed from it, inputs first: they are filled anew.
    pub views: Vec<Affected>,
}

impl SourceScope {
    /// There is nothing of such a source, and never was.
    pub fn is_nothing(&self) -> bool {
        self.rows == 0 && self.dead_letters == 0 && self.uploads == 0 && self.uploads_under_way == 0
    }
}

/// A version of a view that loses what it was computed from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Affected {
    /// The view.
    pub view: String,
    /// Its version.
    pub version: i32,
    /// Whether it is read by default, kept for a model, or being filled.
    pub state: ViewState,
    /// Its rows in the lake.
    pub rows: i64,
    /// Something of it is online.
    pub online: bool,
}

/// Looks at a source, declared or not. Changes nothing.
///
/// # Errors
/// Nothing is known of it.
pub async fn source_scope(deps: &Deps, source: &str) -> Result<SourceScope, Error> {
    let Deps { catalog, lake, .. } = deps;
    let head = lake.head().await?;
    let rows = async |table: Table| {
        let files = lake.files(&table, head).await?;
        Ok::<i64, Error>(files.iter().map(|file| file.rows).sum())
    };
    let versions = catalog.view_versions(None).await?;
    let mut views = Vec::new();
    for version in computed_from(&versions, source) {
        let ViewVersion { view, version: number, state, plan, .. } = version;
        views.push(Affected {
            view: view.clone(),
            version: *number,
            state: *state,
            rows: rows(Table::view(view, *number)).await?,
            online: !plan.definition.online_features().is_empty(),
        });
    }
    let summary = catalog.source_summary(source).await?;
    let under_way: Vec<Unpublished> = catalog.uploads_unpublished(&[source.to_owned()]).await?;
    Ok(SourceScope {
        source: source.to_owned(),
        rows: rows(Table::source(source)).await?,
        dead_letters: summary.dead_letters,
        uploads: summary.uploads - i64::try_from(under_way.len()).unwrap_or(0),
        uploads_under_way: under_way.len(),
        views,
    })
}

/// Why a source can't be dropped: it is declared, or versions that are kept up to date read it.
pub(crate) fn kept(source: &str, declared: bool, readers: &[String]) -> Option<Fault> {
    if declared {
        let fault = Fault::coded(508, format!("source `{source}` can't be dropped: the project declares it"));
        return Some(fault.hint(format!(
            "take it out of the YAML and apply, then drop it; to keep it without its rows: tidemill sources truncate {source}"
        )));
    }
    let read = |readers: &str| {
        let fault = Fault::coded(508, format!("source `{source}` can't be dropped: {readers} read it"));
        fault.hint("train the models that read them anew without it, and promote these; `tidemill models list` names them")
    };
    (!readers.is_empty()).then(|| read(&readers.join(", ")))
}

/// Uploads that come after a source was dropped would bring it back.
pub(crate) fn awaited(source: &str, under_way: usize) -> Option<Fault> {
    let message =
        format!("source `{source}` can't be dropped while uploads for it are under way ({under_way})");
    (under_way > 0)
        .then(|| Fault::coded(508, message).hint("wait for them, or cancel their runs: tidemill runs list"))
}
