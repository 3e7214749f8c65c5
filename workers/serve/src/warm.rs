//! Which model versions are loaded, and which one an alias means.
//!
//! An alias follows the live set only when the version it names there is loaded, golden rows passed; until then
//! it keeps the version it had. A version that left the live set is dropped; requests that still hold it end
//! first, since they share it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use indexmap::IndexMap;
use tidemill_blobs::Blobs;
use tidemill_inference::{ModelOptions, ModelPool};
use tidemill_online::{LiveModelVersion, LiveSet};
use tidemill_pyrun::PyOptions;
use tidemill_spec::Type;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{Error, metrics::Metrics, predict::Which};

/// After a load that failed.
const RETRY_AFTER: Duration = Duration::from_secs(3);

/// An alias that answers when the caller names none.
const DEFAULT_ALIAS: &str = "champion";

/// A version that answers.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) model: String,
    pub(crate) version: u32,
    /// Key columns of the model's entity.
    pub(crate) keys: IndexMap<String, Type>,
    pub(crate) live: LiveModelVersion,
    pub(crate) pool: ModelPool,
}

/// A model and a version.
type Name = (String, u32);

/// All that is loaded. Read by every request, replaced as a whole by [`Warm::follow`].
#[derive(Debug, Default)]
pub(crate) struct Warm {
    state: watch::Sender<Arc<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    loaded: HashMap<Name, Arc<Loaded>>,
    /// What each alias of each model means now.
    aliases: HashMap<String, HashMap<String, u32>>,
    /// Why the last try to load a version failed.
    failures: HashMap<Name, String>,
}

/// Where models come from.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    pub(crate) blobs: Blobs,
    pub(crate) python: PyOptions,
    pub(crate) metrics: Metrics,
}

impl Warm {
    /// The version that answers a request.
    pub(crate) fn resolve(&self, live: &LiveSet, model: &str, which: &Which) -> Result<Arc<Loaded>, Error> {
        let unknown =
            || Error::UnknownModel { model: model.to_owned(), known: live.models.keys().cloned().collect() };
        let known = live.models.get(model).ok_or_else(unknown)?;
        let state = self.state();
        let alias = match which {
            Which::Version(version) => {
                if !known.versions.contains_key(version) {
                    let known = known.versions.keys().map(ToString::to_string).collect();
                    return Err(Error::UnknownVersion { model: model.to_owned(), version: *version, known });
                }
                return state.get(model, *version);
            }
            Which::Alias(alias) => alias,
            Which::Champion => DEFAULT_ALIAS,
        };
        let meant = state.aliases.get(model).and_then(|aliases| aliases.get(alias));
        let declared = known.aliases.get(alias).ok_or_else(|| Error::UnknownAlias {
            model: model.to_owned(),
            alias: alias.to_owned(),
            known: known.aliases.keys().cloned().collect(),
        })?;
        state.get(model, *meant.unwrap_or(declared))
    }

    /// Aliases of the live set that no loaded version answers for, each with the reason.
    pub(crate) fn missing(&self, live: &LiveSet) -> Vec<String> {
        let state = self.state();
        let mut missing = Vec::new();
        for (model, known) in &live.models {
            for (alias, version) in &known.aliases {
                if !state.aliases.get(model).is_some_and(|aliases| aliases.contains_key(alias)) {
                    let reason =
                        state.failures.get(&(model.clone(), *version)).map_or("loading", String::as_str);
                    missing.push(format!("{model}@{alias} (version {version}): {reason}"));
                }
            }
        }
        missing
    }

    /// Keeps what is loaded in step with the live set, one load at a time, until `shutdown`.
    ///
    /// # Errors
    /// When nobody watches the live set any more.
    pub(crate) async fn follow(
        &self,
        mut live: watch::Receiver<Option<Arc<LiveSet>>>,
        loader: Loader,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut retry_at: HashMap<Name, Instant> = HashMap::new();
        loop {
            let now = live.borrow_and_update().clone();
            let next = now.as_ref().and_then(|live| self.settle(live, &loader.metrics, &retry_at));
            if let (Some(name), Some(live)) = (next, now) {
                let loading = self.load(&live, &name, &loader);
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    done = loading => if done { retry_at.remove(&name) } else { retry_at.insert(name, Instant::now() + RETRY_AFTER) },
                };
                continue;
            }
            let retry = retry_at.values().min().copied();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = live.changed() => {
                    changed.context("the watch of the live set has panicked, so the role ends")?;
                }
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    retry_at.retain(|_, at| *at > Instant::now());
                }
            }
        }
    }

    /// Points aliases at what is loaded and drops what nobody names. Which version to load next, if any.
    fn settle(&self, live: &LiveSet, metrics: &Metrics, wait: &HashMap<Name, Instant>) -> Option<Name> {
        let mut state = State::clone(&self.state());
        for (model, known) in &live.models {
            for (number, version) in &known.versions {
                if let Some(loaded) = state.loaded.get_mut(&(model.clone(), *number))
                    && loaded.live.artifact == version.artifact
                {
                    let live = version.clone();
                    *loaded = Arc::new(Loaded { live, keys: known.keys.clone(), ..Loaded::clone(loaded) });
                }
            }
        }
        state.aliases = aliases(live, &state);
        let missing = missing_versions(live, &state);
        let kept = state.aliases.clone();
        state.loaded.retain(|(model, version), _| {
            let named = live.models.get(model).is_some_and(|known| known.versions.contains_key(version));
            let meant = kept.get(model).is_some_and(|aliases| aliases.values().any(|meant| meant == version));
            metrics.loaded(model, *version, named || meant);
            named || meant
        });
        state.failures.retain(|name, _| missing.contains(name));
        self.replace(state);
        missing.into_iter().find(|name| !wait.contains_key(name))
    }

    /// Loads one version. False if that failed.
    async fn load(&self, live: &LiveSet, name: &Name, from: &Loader) -> bool {
        let Some(known) = live.models.get(&name.0) else { return true };
        let Some(version) = known.versions.get(&name.1) else { return true };
        let pool = load(version, from).await;
        let mut state = State::clone(&self.state());
        let succeeded = pool.is_ok();
        match pool {
            Ok(pool) => {
                tracing::info!(model = name.0, model.version = name.1, "model is warm");
                let (model, number) = name.clone();
                let (keys, live) = (known.keys.clone(), version.clone());
                let loaded = Loaded { model, version: number, keys, live, pool };
                state.loaded.insert(name.clone(), Arc::new(loaded));
            }
            Err(reason) => {
                tracing::error!(
                    model = name.0,
                    model.version = name.1,
                    reason,
                    "model can't be loaded; trying again"
                );
                state.failures.insert(name.clone(), reason);
            }
        }
        self.replace(state);
        succeeded
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    fn replace(&self, state: State) {
        self.state.send_replace(Arc::new(state));
    }
}

impl State {
    fn get(&self, model: &str, version: u32) -> Result<Arc<Loaded>, Error> {
        let name = (model.to_owned(), version);
        self.loaded.get(&name).cloned().ok_or_else(|| {
            let reason = self.failures.get(&name).cloned();
            Error::NotLoaded { model: name.0, version, reason }
        })
    }
}

async fn load(version: &LiveModelVersion, loader: &Loader) -> Result<ModelPool, String> {
    let folder = loader.blobs.fetch_folder(&version.artifact).await;
    let folder = folder.map_err(|error| tidemill_core::Fault::from_error(&error).message)?;
    let mut options = ModelOptions::new(folder, loader.python.clone());
    options.python.processes = version.processes.max(1) as usize;
    ModelPool::load(options).await.map_err(|error| error.fault().to_string())
}

/// What each alias means: what the live set says where that is loaded, else what it meant before.
fn aliases(live: &LiveSet, state: &State) -> HashMap<String, HashMap<String, u32>> {
    let loaded = |model: &String, version: u32| state.loaded.contains_key(&(model.clone(), version));
    let mut aliases: HashMap<String, HashMap<String, u32>> = HashMap::new();
    for (model, known) in &live.models {
        for (alias, version) in &known.aliases {
            let before = state.aliases.get(model).and_then(|aliases| aliases.get(alias)).copied();
            let meant = if loaded(model, *version) { Some(*version) } else { before };
            if let Some(meant) = meant.filter(|meant| loaded(model, *meant)) {
                aliases.entry(model.clone()).or_default().insert(alias.clone(), meant);
            }
        }
    }
    aliases
}

/// Versions to load, those that an alias waits for first.
fn missing_versions(live: &LiveSet, state: &State) -> Vec<Name> {
    let mut missing: Vec<(bool, Name)> = Vec::new();
    for (model, known) in &live.models {
        for (number, version) in &known.versions {
            let name = (model.clone(), *number);
            let there =
                state.loaded.get(&name).is_some_and(|loaded| loaded.live.artifact == version.artifact);
            if !there {
                missing.push((!known.aliases.values().any(|aliased| aliased == number), name));
            }
        }
    }
    missing.sort();
    missing.into_iter().map(|(_, name)| name).collect()
}
