//! Which versions are needed. One rule for models and for the views that they read, so that neither is kept without the
//! other.

use std::collections::HashSet;

use tidemill_catalog::{Catalog, ModelAlias, ModelVersion, ViewState, ViewVersion};

use crate::Error;

/// The versions that serving keeps loaded: those an alias names, those a rollback would return to, and each model's newest
/// one. `versions` come newest first within each model, and stay in order.
pub fn live_models(mut versions: Vec<ModelVersion>, aliases: &[ModelAlias]) -> Vec<ModelVersion> {
    let mut seen = HashSet::new();
    versions.retain(|version| {
        let named = |alias: &ModelAlias| {
            alias.model == version.model
                && (alias.version == version.version || alias.previous == Some(version.version))
        };
        seen.insert(version.model.clone()) || aliases.iter().any(named)
    });
    versions
}

/// The versions of views that are kept up to date: what is current, and what a live model reads.
pub fn maintained(mut views: Vec<ViewVersion>, live: &[ModelVersion]) -> Vec<ViewVersion> {
    let read: HashSet<(&str, i32)> = live
        .iter()
        .flat_map(|model| &model.view_versions)
        .map(|(view, version)| (view.as_str(), *version))
        .collect();
    views.retain(|version| match version.state {
        ViewState::Current => true,
        ViewState::Retired => read.contains(&(version.view.as_str(), version.version)),
        ViewState::Building => false,
    });
    views
}

/// The versions of one view, or of all, that are kept up to date now.
///
/// # Errors
/// Postgres can't be reached.
pub async fn maintained_versions(catalog: &Catalog, view: Option<&str>) -> Result<Vec<ViewVersion>, Error> {
    let views = catalog.view_versions(view).await?;
    let models = catalog.model_versions(None).await?.into_iter().map(|row| row.version).collect();
    Ok(maintained(views, &live_models(models, &catalog.model_aliases(None).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::tests::{alias, model, view};

    #[track_caller]
    fn check(versions: &[i32], aliases: &[ModelAlias], live: &[i32]) {
        let versions = versions.iter().map(|number| model("late", *number)).collect();
        let numbers: Vec<_> = live_models(versions, aliases).iter().map(|version| version.version).collect();
        assert_eq!(numbers, live);
    }

    #[test]
    fn the_newest_the_named_and_the_one_before_are_kept_loaded() {
        check(&[5, 4, 3, 2, 1], &[], &[5]);
        check(&[5, 4, 3, 2, 1], &[alias(2, None)], &[5, 2]);
        check(&[5, 4, 3, 2, 1], &[alias(3, Some(1))], &[5, 3, 1]);
        check(&[2, 1], &[alias(2, Some(1))], &[2, 1]);
    }

    #[test]
    fn views_are_kept_up_to_date_while_they_are_current_or_a_live_model_reads_them() {
        let mut trained = model("late", 1);
        trained.view_versions.insert("plane".to_owned(), 1);
        let views = [
            (3, ViewState::Current),
            (4, ViewState::Building),
            (2, ViewState::Retired),
            (1, ViewState::Retired),
        ];
        let views = views.map(|(version, state)| view("plane", version, state));
        let kept: Vec<_> = maintained(views.into(), &[trained]).iter().map(|view| view.version).collect();
        assert_eq!(kept, [3, 1]);
    }
}
