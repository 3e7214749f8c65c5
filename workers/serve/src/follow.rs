//! Keeps what is loaded in step with the live set: several loads at a time, none of which holds up another or the aliases.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tidemill_blobs::Blobs;
use tidemill_core::Fault;
use tidemill_inference::{ModelOptions, ModelPool, Scale};
use tidemill_online::{LiveModelVersion, LiveSet, Seen};
use tidemill_pyrun::PyOptions;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Metrics,
    warm::{Loaded, Name, State, Warm, on_demand},
};

/// Loads at a time: each starts several processes.
const LOADS_MAX: usize = 4;
/// After the first load that failed; doubled for each that follows.
const RETRY_AFTER: Duration = Duration::from_secs(2);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Where models come from.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    pub(crate) blobs: Blobs,
    pub(crate) python: PyOptions,
    /// Where the code of projects is unpacked.
    pub(crate) unpacked: PathBuf,
    pub(crate) metrics: Metrics,
}

/// What came of a load.
type Outcome = (Name, Arc<LiveModelVersion>, Result<ModelPool, String>);

/// A version that failed to load.
struct Failed {
    /// With what it failed: another document is another try.
    live: Arc<LiveModelVersion>,
    after: Duration,
    retry_at: Instant,
}

/// Follows until `shutdown`.
///
/// # Errors
/// When nobody watches the live set any more.
pub(crate) async fn follow(
    warm: Arc<Warm>,
    mut seen: watch::Receiver<Seen>,
    loader: Loader,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut loading: HashSet<Name> = HashSet::new();
    let mut failed: HashMap<Name, Failed> = HashMap::new();
    let mut loads: JoinSet<Outcome> = JoinSet::new();
    loop {
        let live = seen.borrow_and_update().live.clone();
        if let Some((order, live)) = live {
            let missing = settle(&warm, &live, order, &loader.metrics);
            failed.retain(|name, _| missing.iter().any(|(missing, _)| missing == name));
            let now = Instant::now();
            for (name, version) in missing {
                let due = failed
                    .get(&name)
                    .is_none_or(|failed| failed.retry_at <= now || !same_model(&failed.live, &version));
                if loads.len() < LOADS_MAX && due && loading.insert(name.clone()) {
                    let loader = loader.clone();
                    loads.spawn(async move {
                        let pool = load(&name, &version, &loader).await;
                        (name, version, pool)
                    });
                }
            }
        }
        let waiting = failed.iter().filter(|(name, _)| !loading.contains(*name));
        // With every place taken, the end of a load is what is waited for.
        let retry_at = waiting.map(|(_, failed)| failed.retry_at).min().filter(|_| loads.len() < LOADS_MAX);
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = seen.changed() => {
                changed.context("the watch of the live set has panicked, so the role ends")?;
            }
            Some(done) = loads.join_next() => {
                // A load that panics is a bug of ours; it must not end the others.
                let Ok((name, version, pool)) = done else { loading.clear(); continue };
                loading.remove(&name);
                took(&warm, &mut failed, name, version, pool);
            }
            () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {}
        }
    }
}

/// Puts a loaded version in force, or notes why there is none.
fn took(
    warm: &Warm,
    failed: &mut HashMap<Name, Failed>,
    name: Name,
    live: Arc<LiveModelVersion>,
    pool: Result<ModelPool, String>,
) {
    let mut state = State::clone(&warm.state());
    match pool {
        Ok(pool) => {
            tracing::info!(model = name.0, model.version = name.1, "model is warm");
            failed.remove(&name);
            let (model, version) = name.clone();
            state.failures.remove(&name);
            let on_demand = on_demand(&live);
            state.loaded.insert(name, Arc::new(Loaded { model, version, live, pool, on_demand }));
        }
        Err(reason) => {
            let before = failed.get(&name).map_or(Duration::ZERO, |failed| failed.after);
            let after = (before * 2).clamp(RETRY_AFTER, RETRY_AFTER_MAX);
            tracing::error!(
                model = name.0,
                model.version = name.1,
                reason,
                "model can't be loaded; trying again in {} s",
                after.as_secs()
            );
            failed.insert(name.clone(), Failed { live, after, retry_at: Instant::now() + after });
            state.failures.insert(name, reason);
        }
    }
    warm.replace(state);
}

/// Points aliases at what is loaded and drops what nobody names. Returns the versions to load, those that an alias waits
/// for first.
fn settle(warm: &Warm, live: &LiveSet, order: i64, metrics: &Metrics) -> Vec<(Name, Arc<LiveModelVersion>)> {
    let mut state = State::clone(&warm.state());
    state.order = order;
    let mut missing: Vec<(bool, Name, Arc<LiveModelVersion>)> = Vec::new();
    let mut failures = HashMap::new();
    for (model, known) in &live.models {
        for (number, version) in &known.versions {
            let name = (model.clone(), *number);
            let version = match version {
                Ok(version) => version,
                // What is loaded goes on with what it was loaded with.
                Err(reason) => {
                    failures.insert(name, reason.clone());
                    continue;
                }
            };
            match state.loaded.get_mut(&name) {
                Some(loaded) if same_model(&loaded.live, version) => {
                    if loaded.live != *version {
                        loaded.pool.rescale(Scale::declared(version.processes, version.processes_max));
                        *loaded = Arc::new(Loaded { live: Arc::clone(version), ..Loaded::clone(loaded) });
                    }
                }
                _ => {
                    if let Some(reason) = state.failures.get(&name) {
                        failures.insert(name.clone(), reason.clone());
                    }
                    let aliased = known.aliases.values().any(|aliased| aliased == number);
                    missing.push((!aliased, name, Arc::clone(version)));
                }
            }
        }
    }
    state.failures = failures;
    state.aliases = aliases(live, &state);
    let kept = state.aliases.clone();
    state.loaded.retain(|(model, version), _| {
        let named = live.models.get(model).is_some_and(|known| known.versions.contains_key(version));
        let meant = kept.get(model).is_some_and(|aliases| aliases.values().any(|meant| meant == version));
        metrics.loaded(model, *version, named || meant);
        named || meant
    });
    warm.replace(state);
    missing.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    missing.into_iter().map(|(_, name, version)| (name, version)).collect()
}

/// Whether both documents are of the same model: what differs beside is how it is asked.
fn same_model(a: &LiveModelVersion, b: &LiveModelVersion) -> bool {
    (&a.artifact, &a.code) == (&b.artifact, &b.code)
}

/// What each alias means: what the live set says where that is loaded, else what it meant before.
fn aliases(live: &LiveSet, state: &State) -> BTreeMap<String, BTreeMap<String, u32>> {
    let loaded = |model: &String, version: u32| state.loaded.contains_key(&(model.clone(), version));
    let mut aliases: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
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

/// Loads one version with the code that it was registered with; or says why not, in one line.
async fn load(
    (model, number): &Name,
    version: &LiveModelVersion,
    loader: &Loader,
) -> Result<ModelPool, String> {
    let unreachable = |error: tidemill_blobs::Error| Fault::from_error(&error).message;
    let folder = loader.blobs.fetch_folder(&version.artifact).await.map_err(unreachable)?;
    let code = match &version.code {
        Some(code) => {
            let cache = loader.unpacked.join("code");
            Some(loader.blobs.unpack(&code.path, &code.hash, &cache).await.map_err(unreachable)?)
        }
        None => None,
    };
    let python = PyOptions { code, ..loader.python.clone() };
    let mut options = ModelOptions::new(format!("{model} v{number}"), folder, python);
    options.scale = Scale::declared(version.processes, version.processes_max);
    ModelPool::load(options).await.map_err(|error| error.fault().to_string())
}
