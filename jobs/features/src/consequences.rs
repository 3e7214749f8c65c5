//! What a changed project means for the rows that are there: which versions are filled anew, from how much, and who goes on
//! reading the ones before. Nothing is changed.

use std::collections::BTreeSet;

use serde::Serialize;
use tidemill_catalog::{ViewState, ViewVersion};
use tidemill_offline::Table;

use crate::{Deps, Error};

/// A view whose rows are filled anew.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Consequence {
    /// The view.
    pub view: String,
    /// The version of its rows that serves meanwhile.
    pub from: i32,
    /// The version that takes its place.
    pub to: i32,
    /// What is not as before, a phrase each.
    pub differences: Vec<String>,
    /// Rows of sources that are read for it.
    pub rows: i64,
    /// Files that they are in.
    pub files: usize,
    /// Models that go on reading the version before.
    pub read_by: Vec<ReadBy>,
}

/// A model that reads a version of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadBy {
    /// The model.
    pub model: String,
    /// The alias that answers.
    pub alias: String,
    /// The version of the view that it was trained on.
    pub version: i32,
}

/// The views that are filled anew once a project is in force. `after`: the versions of all views that there are then.
///
/// # Errors
/// Postgres can't be reached.
pub async fn consequences(deps: &Deps, after: &[ViewVersion]) -> Result<Vec<Consequence>, Error> {
    let (head, readers) = (deps.lake.head().await?, readers(deps).await?);
    let mut consequences = Vec::new();
    for to in after.iter().filter(|version| version.state == ViewState::Building) {
        let serves = |version: &&ViewVersion| version.view == to.view && version.state == ViewState::Current;
        let Some(from) = after.iter().find(serves) else { continue };
        let (mut rows, mut files) = (0, 0);
        for source in sources(after, to) {
            let of_source = deps.lake.files(&Table::source(&source), head).await?;
            rows += of_source.iter().map(|file| file.rows).sum::<i64>();
            files += of_source.len();
        }
        let read_by =
            readers.iter().filter(|(view, read_by)| *view == to.view && read_by.version == from.version);
        consequences.push(Consequence {
            view: to.view.clone(),
            from: from.version,
            to: to.version,
            differences: to.plan.differences(&from.plan),
            rows,
            files,
            read_by: read_by.map(|(_, read_by)| read_by.clone()).collect(),
        });
    }
    Ok(consequences)
}

/// The sources whose rows a version is filled from, through however many views; none where it holds nothing.
fn sources(versions: &[ViewVersion], version: &ViewVersion) -> BTreeSet<String> {
    if !version.plan.definition.kind().stored() {
        return BTreeSet::new();
    }
    let mut chain = Vec::new();
    version.with_inputs(versions, &mut chain);
    chain.into_iter().filter_map(|version| Some(version.plan.source.as_ref()?.name.clone())).collect()
}

/// Each view that a model reads by an alias.
async fn readers(deps: &Deps) -> Result<Vec<(String, ReadBy)>, Error> {
    let models = deps.catalog.model_versions(None).await?;
    let mut readers = Vec::new();
    for alias in deps.catalog.model_aliases(None).await? {
        let named = |row: &&tidemill_catalog::ModelVersionRow| {
            row.version.model == alias.model && row.version.version == alias.version
        };
        let Some(row) = models.iter().find(named) else { continue };
        let read = row.version.view_versions.iter().map(|(view, version)| {
            let (model, alias) = (alias.model.clone(), alias.alias.clone());
            (view.clone(), ReadBy { model, alias, version: *version })
        });
        readers.extend(read);
    }
    Ok(readers)
}
