//! Which versions are needed. One rule for models and for the views that they read, so that neither is kept without the
//! other.

use std::collections::HashSet;

use tidemill_catalog::{Catalog, ModelAlias, ModelVersion, Rollout, ViewState, ViewVersion};

use crate::Error;

/// The versions that serving keeps loaded: those an alias names, those a rollback would return to, those on trial, and each
/// model's newest one. `versions` come newest first within each model, and stay in order.
pub fn live_models(
    mut versions: Vec<ModelVersion>,
    aliases: &[ModelAlias],
    rollouts: &[Rollout],
) -> Vec<ModelVersion> {
    let mut seen = HashSet::new();
    versions.retain(|version| {
        let named = |alias: &ModelAlias| {
            alias.model == version.model
                && (alias.version == version.version || alias.previous == Some(version.version))
        };
        let tried =
            |rollout: &Rollout| rollout.model == version.model && rollout.candidate == version.version;
        seen.insert(version.model.clone()) || aliases.iter().any(named) || rollouts.iter().any(tried)
    });
    versions
}

/// The versions of views that are kept up to date: what is current, what a live model reads, and the versions that these are
/// computed from.
pub fn maintained(mut views: Vec<ViewVersion>, live: &[ModelVersion]) -> Vec<ViewVersion> {
    let read: HashSet<(&str, i32)> = live
        .iter()
        .flat_map(|model| &model.view_versions)
        .map(|(view, version)| (view.as_str(), *version))
        .collect();
    let kept = |version: &&ViewVersion| {
        version.state == ViewState::Current || read.contains(&(version.view.as_str(), version.version))
    };
    let needed = with_inputs(&views, kept);
    views.retain(|version| version.state != ViewState::Dropped && needed.contains(&name(version)));
    views
}

/// The retired versions that nothing needs any more: neither a live model nor a version that is kept up to date or being
/// filled.
fn unneeded(mut views: Vec<ViewVersion>, live: &[ModelVersion]) -> Vec<ViewVersion> {
    let mut needed = with_inputs(&views, |version| version.state == ViewState::Building);
    needed.extend(maintained(views.clone(), live).iter().map(name));
    views.retain(|version| version.state == ViewState::Retired && !needed.contains(&name(version)));
    views
}

/// Names of some versions and of all that they are computed from.
fn with_inputs(views: &[ViewVersion], some: impl Fn(&&ViewVersion) -> bool) -> HashSet<(String, i32)> {
    let mut all = Vec::new();
    for version in views.iter().filter(some) {
        version.with_inputs(views, &mut all);
    }
    all.into_iter().map(name).collect()
}

fn name(version: &ViewVersion) -> (String, i32) {
    (version.view.clone(), version.version)
}

/// The versions of one view, or of all, that are kept up to date now; by name and newest first.
///
/// # Errors
/// Postgres can't be reached.
pub async fn maintained_versions(catalog: &Catalog, view: Option<&str>) -> Result<Vec<ViewVersion>, Error> {
    let (views, live) = (catalog.view_versions(None).await?, live(catalog).await?);
    let mut kept = maintained(views, &live);
    kept.retain(|version| view.is_none_or(|view| version.view == view));
    Ok(kept)
}

/// The retired versions of all views that nothing needs any more now; by name and newest first.
///
/// # Errors
/// Postgres can't be reached.
pub async fn unneeded_versions(catalog: &Catalog) -> Result<Vec<ViewVersion>, Error> {
    Ok(unneeded(catalog.view_versions(None).await?, &live(catalog).await?))
}

async fn live(catalog: &Catalog) -> Result<Vec<ModelVersion>, Error> {
    let models = catalog.model_versions(None).await?.into_iter().map(|row| row.version).collect();
    Ok(live_models(models, &catalog.model_aliases(None).await?, &catalog.rollouts().await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::tests::{alias, model, rollout, view};

    #[track_caller]
    fn check(versions: &[i32], aliases: &[ModelAlias], live: &[i32]) {
        let versions = versions.iter().map(|number| model("late", *number)).collect();
        let numbers: Vec<_> =
            live_models(versions, aliases, &[rollout(4, 2)]).iter().map(|version| version.version).collect();
        assert_eq!(numbers, live);
    }

    #[test]
    fn the_newest_the_named_the_one_before_and_the_one_on_trial_are_kept_loaded() {
        check(&[5, 4, 3, 2, 1], &[], &[5, 2]);
        check(&[5, 4, 3, 2, 1], &[alias(4, None)], &[5, 4, 2]);
        check(&[5, 4, 3, 2, 1], &[alias(3, Some(1))], &[5, 3, 2, 1]);
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
        let kept: Vec<_> = maintained(views.clone().into(), std::slice::from_ref(&trained))
            .iter()
            .map(|view| view.version)
            .collect();
        assert_eq!(kept, [3, 1]);
        let unneeded: Vec<_> = unneeded(views.into(), &[trained]).iter().map(|view| view.version).collect();
        assert_eq!(unneeded, [2]);
    }

    #[test]
    fn what_a_version_is_computed_from_is_kept_as_long_as_the_version_is() {
        let over = |number, state, inputs: &[(&str, i32)]| {
            let mut derived = view("load", number, state);
            derived.plan.inputs =
                inputs.iter().map(|(view, version)| ((*view).to_owned(), *version)).collect();
            derived
        };
        let views = vec![
            over(3, ViewState::Building, &[("plane", 3)]),
            over(2, ViewState::Current, &[("plane", 2)]),
            over(1, ViewState::Retired, &[("plane", 1)]),
            view("plane", 4, ViewState::Current),
            view("plane", 3, ViewState::Retired),
            view("plane", 2, ViewState::Retired),
            view("plane", 1, ViewState::Retired),
        ];
        let numbers = |views: Vec<ViewVersion>| -> Vec<_> {
            views.into_iter().map(|version| (version.view, version.version)).collect()
        };
        let named =
            |some: &[(&str, i32)]| some.iter().map(|(view, number)| ((*view).to_owned(), *number)).collect();
        let expected: Vec<_> = named(&[("load", 2), ("plane", 4), ("plane", 2)]);
        assert_eq!(numbers(maintained(views.clone(), &[])), expected);
        let expected: Vec<_> = named(&[("load", 1), ("plane", 1)]);
        assert_eq!(numbers(unneeded(views.clone(), &[])), expected);
        let mut trained = model("late", 1);
        trained.view_versions.insert("load".to_owned(), 1);
        assert_eq!(numbers(unneeded(views, &[trained])), named(&[]));
    }
}
