//! The models of the live set: every model's aliases and the versions behind them, published to Redis.
//!
//! Views and the data clock are published by `features`. Published after each change has committed; the order is
//! drawn before reading, so whichever publication has the greatest one has read everything: repeats and races are
//! harmless.

use indexmap::IndexMap;
use tidemill_catalog::{Catalog, ModelAlias, ModelVersion};
use tidemill_online::{LiveModel, LiveModelVersion, LiveModels, Online};

use crate::Error;

/// Publishes the models as the catalog has them.
pub async fn publish(catalog: &Catalog, online: &Online) -> Result<(), Error> {
    let order = catalog.next_live_order().await?;
    let versions = catalog.model_versions(None).await?.into_iter().map(|row| row.version).collect();
    let aliases = catalog.model_aliases(None).await?;
    online.publish_models(order, &assemble(versions, &aliases)).await?;
    Ok(())
}

/// The versions that are kept warm: those an alias names, those a rollback would return to, and the newest one.
/// `versions` come newest first within each model.
fn assemble(versions: Vec<ModelVersion>, aliases: &[ModelAlias]) -> LiveModels {
    let mut models = LiveModels::new();
    for version in versions {
        let number = version.version;
        let newest = !models.contains_key(&version.model);
        let named = |alias: &ModelAlias| {
            alias.model == version.model && (alias.version == number || alias.previous == Some(number))
        };
        if !newest && !aliases.iter().any(named) {
            continue;
        }
        let model = models.entry(version.model.clone()).or_insert_with(|| LiveModel {
            keys: version.keys.clone(),
            aliases: IndexMap::new(),
            versions: IndexMap::new(),
        });
        model.versions.insert(number.unsigned_abs(), live_version(version));
    }
    for alias in aliases {
        if let Some(model) = models.get_mut(&alias.model) {
            model.aliases.insert(alias.alias.clone(), alias.version.unsigned_abs());
        }
    }
    models
}

fn live_version(version: ModelVersion) -> LiveModelVersion {
    LiveModelVersion {
        artifact: version.artifact,
        runtime: version.runtime,
        hydration: version.hydration,
        view_versions: version.view_versions.into_iter().map(|(view, n)| (view, n.unsigned_abs())).collect(),
        request: version.request,
        outputs: version.outputs,
        fail_on_missing: version.fail_on_missing,
        processes: version.processes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::version;

    fn alias(version: i32, previous: Option<i32>) -> ModelAlias {
        let changed_at = tidemill_core::Time::UNIX_EPOCH;
        ModelAlias { model: "late".into(), alias: "champion".into(), version, previous, changed_at }
    }

    #[track_caller]
    fn check(versions: &[i32], aliases: &[ModelAlias], warm: &[u32]) {
        let versions = versions.iter().map(|number| version("late", *number)).collect();
        let live = assemble(versions, aliases);
        assert_eq!(live["late"].versions.keys().copied().collect::<Vec<_>>(), warm);
    }

    #[test]
    fn the_newest_the_named_and_the_one_before_are_kept_warm() {
        check(&[5, 4, 3, 2, 1], &[], &[5]);
        check(&[5, 4, 3, 2, 1], &[alias(2, None)], &[5, 2]);
        check(&[5, 4, 3, 2, 1], &[alias(3, Some(1))], &[5, 3, 1]);
        check(&[2, 1], &[alias(2, Some(1))], &[2, 1]);
    }
}
