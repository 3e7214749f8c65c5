//! `features.forget`: takes the values of an entity out of Redis, in every version of a view.
//!
//! For when its rows were erased: what is put from then on is read from what is left. One at a time works on a view, by its
//! concurrency key, so no update and no rebuild puts values that it read before. Safe to repeat.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidemill_catalog::ViewState;
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::{Type, Value, args::features_concurrency_key};
use tidemill_store::NewJob;

use crate::{Deps, Error};

/// Kind of [`ForgetJob`].
const FEATURES_FORGET: Kind = Kind::new("features.forget");

/// Of which view, which entity. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeaturesForget {
    view: String,
    /// Key columns with their values. A view whose entity has more of them has many entities with these.
    key: Map<String, Json>,
}

/// What it needs.
#[derive(Clone, Debug)]
pub(crate) struct ForgetJob {
    deps: Deps,
}

impl ForgetJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for ForgetJob {
    type Args = FeaturesForget;
    type Checkpoint = ();
    const KIND: Kind = FEATURES_FORGET;

    async fn run(&self, args: &FeaturesForget, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let Deps { catalog, online, .. } = &self.deps;
        let mut versions = catalog.view_versions(Some(&args.view)).await.map_err(Error::from)?;
        versions.retain(|version| version.state != ViewState::Dropped);
        for version in versions {
            let keys = &version.plan.entity.keys;
            if !args.key.keys().all(|name| keys.contains_key(name)) {
                continue;
            }
            let value = |(name, ty): (&String, &Type)| {
                args.key.get(name).and_then(|json| Value::from_json(json, *ty).ok())
            };
            let key: Vec<Option<Value>> = keys.iter().map(value).collect();
            let gone = online.forget(&args.view, version.version.unsigned_abs(), &key).await;
            cx.log(format!("{} values of version {} are gone", gone.map_err(Error::from)?, version.version));
        }
        // No outputs: a repeat finds nothing more.
        Ok(Outcome::Completed(json!(null)))
    }
}

/// Takes the values of an entity out of Redis; asking again while one waits changes nothing.
pub fn forget_new(view: &str, key: &Map<String, Json>) -> NewJob {
    let args = FeaturesForget { view: view.to_owned(), key: key.clone() };
    NewJob {
        key: Some(format!("{FEATURES_FORGET}/{view}/{}", Json::Object(key.clone()))),
        concurrency_key: Some(features_concurrency_key(view)),
        ..job_new(FEATURES_FORGET, &args)
    }
}
