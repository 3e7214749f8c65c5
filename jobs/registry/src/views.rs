//! The versions of the views that a version of a model reads.

use std::collections::BTreeMap;

use tidemill_catalog::{Catalog, ModelVersion, ViewState};
use tidemill_offline::View;

use crate::Error;

/// Each view that a version reads, at the version that it was trained on; the current one where that isn't recorded.
///
/// # Errors
/// A view is not there any more, or the catalog can't be reached.
pub async fn pinned_views(
    catalog: &Catalog,
    version: &ModelVersion,
) -> Result<BTreeMap<String, View>, Error> {
    let mut views = BTreeMap::new();
    for read in version.hydration.rounds.iter().flatten() {
        let found = match version.view_versions.get(&read.view) {
            Some(number) => catalog.view_version(&read.view, *number).await?,
            None => catalog.current_view(&read.view).await?,
        };
        // Of one that is dropped the rows are gone.
        let found = found.filter(|found| found.state != ViewState::Dropped);
        let found = found.ok_or_else(|| Error::UnknownView { view: read.view.clone() })?;
        views.insert(read.view.clone(), View::of(&found.plan, found.version));
    }
    Ok(views)
}
