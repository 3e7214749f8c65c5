//! Which model versions are loaded, and which one an alias means.
//!
//! An alias follows the live set only when the version it names there is loaded, golden rows passed; until then
//! it keeps the version it had. A version that left the live set is dropped; requests that still hold it end
//! first, since they share it. One that can't be served any more keeps what it was loaded with.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tidemill_expressions::Expressions;
use tidemill_inference::ModelPool;
use tidemill_online::{LiveModelVersion, LiveSet};
use tokio::sync::watch;

use crate::Error;

/// An alias that answers when the caller names none.
pub(crate) const DEFAULT_ALIAS: &str = "champion";

/// A version that answers.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) model: String,
    pub(crate) version: u32,
    pub(crate) live: Arc<LiveModelVersion>,
    pub(crate) pool: ModelPool,
    /// What it computes from the rest of the row, compiled.
    pub(crate) on_demand: Arc<Expressions>,
}

/// What a version computes from the rest of the row; nothing, mostly.
pub(crate) fn on_demand(live: &LiveModelVersion) -> Arc<Expressions> {
    let on_demand = live.hydration.on_demand.as_ref();
    Arc::new(on_demand.map(|of| Expressions::new(&of.row, &of.features)).unwrap_or_default())
}

/// A model and a version.
pub(crate) type Name = (String, u32);

/// Which version shall answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Which {
    #[default]
    Champion,
    Version(u32),
    Alias(String),
}

/// All that is loaded. Read by every request, replaced as a whole by [`follow`](crate::follow).
#[derive(Debug, Default)]
pub(crate) struct Warm {
    state: watch::Sender<Arc<State>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) loaded: HashMap<Name, Arc<Loaded>>,
    /// What each alias of each model means now.
    pub(crate) aliases: BTreeMap<String, BTreeMap<String, u32>>,
    /// Why a version is not loaded, or can't be loaded again.
    pub(crate) failures: HashMap<Name, String>,
    /// The order of the live set that was settled last.
    pub(crate) order: i64,
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

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    pub(crate) fn replace(&self, state: State) {
        self.state.send_replace(Arc::new(state));
    }

    /// Tells of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
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
