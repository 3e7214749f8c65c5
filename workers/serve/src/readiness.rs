//! Whether requests can be answered, asked of what answers them: Redis, the values it holds, the models' processes.
//!
//! Each alias of each model has a state of its own. The process as a whole is ready once every alias has had its first
//! try, and while at least one answers: a model that can't be loaded doesn't take the others out of the balancer.

use std::collections::BTreeMap;

use tidemill_online::{Held, LiveSet, LiveView, Replica, Seen, Served};

use crate::warm::{Loaded, State};

/// The answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Whether a balancer may send requests.
    pub(crate) ready: bool,
    /// What is not as it should be: a line each.
    pub(crate) problems: Vec<String>,
}

/// How an alias is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AliasState {
    /// The version it was pointed at answers.
    Answers,
    /// An older version answers in place of the one it was pointed at; why.
    Behind { answering: u32, reason: String },
    /// It is being loaded for the first time.
    Loading,
    /// It doesn't answer; why.
    Fails(String),
}

/// How the process as a whole is.
pub(crate) fn readiness(seen: &Seen, state: &State) -> Readiness {
    let Some(live) = seen.live() else {
        return match &seen.redis {
            Some(Ok(Held { live: false, .. })) => Readiness { ready: true, problems: Vec::new() },
            Some(Ok(_)) | None => {
                Readiness { ready: false, problems: vec!["live set: being read".to_owned()] }
            }
            Some(Err(reason)) => Readiness { ready: false, problems: vec![format!("redis: {reason}")] },
        };
    };
    let mut problems = Vec::new();
    let (mut asked, mut answering, mut loading) = (0, 0, 0);
    for (model, known) in &live.models {
        for (alias, version) in &known.aliases {
            let found = alias_state(seen, live, state, model, alias);
            asked += 1;
            let problem = match found {
                AliasState::Answers => {
                    answering += 1;
                    continue;
                }
                AliasState::Behind { answering: version_before, reason } => {
                    answering += 1;
                    if version_before == *version {
                        format!("it answers with what it was loaded with: {reason}")
                    } else {
                        format!("version {version_before} answers in its place: {reason}")
                    }
                }
                AliasState::Loading => {
                    loading += 1;
                    "loading".to_owned()
                }
                AliasState::Fails(reason) => reason,
            };
            problems.push(format!("{model}@{alias} (version {version}): {problem}"));
        }
        problems.extend(unaliased_problems(model, known, state));
    }
    match &seen.redis {
        Some(Err(reason)) => problems.push(format!("redis: {reason}")),
        Some(Ok(Held { live: false, .. })) => {
            problems.push("redis: it has lost the live set; the server publishes it again".to_owned());
        }
        Some(Ok(_)) | None => {}
    }
    Readiness { ready: loading == 0 && (asked == 0 || answering > 0), problems }
}

/// Versions that no alias names, but that can be asked for by number.
fn unaliased_problems<'a>(
    model: &'a str,
    known: &'a tidemill_online::LiveModel,
    state: &'a State,
) -> impl Iterator<Item = String> + 'a {
    let unaliased =
        known.versions.keys().filter(|number| !known.aliases.values().any(|aliased| aliased == *number));
    unaliased.filter_map(move |number| {
        let reason = state.failures.get(&(model.to_owned(), *number))?;
        Some(format!("{model} version {number}: {reason}"))
    })
}

/// How one alias is.
pub(crate) fn alias_state(
    seen: &Seen,
    live: &LiveSet,
    state: &State,
    model: &str,
    alias: &str,
) -> AliasState {
    let wanted =
        live.models.get(model).and_then(|known| known.aliases.get(alias)).copied().unwrap_or_default();
    let meant = state.aliases.get(model).and_then(|aliases| aliases.get(alias)).copied();
    let failure = |version: u32| state.failures.get(&(model.to_owned(), version)).cloned();
    let Some(loaded) = meant.and_then(|meant| state.loaded.get(&(model.to_owned(), meant))) else {
        return failure(wanted).map_or(AliasState::Loading, AliasState::Fails);
    };
    if let Some(reason) = silent(seen, loaded) {
        return AliasState::Fails(reason);
    }
    match failure(wanted) {
        Some(reason) => AliasState::Behind { answering: loaded.version, reason },
        None if loaded.version == wanted => AliasState::Answers,
        None => AliasState::Behind { answering: loaded.version, reason: "it is being loaded".to_owned() },
    }
}

/// Why a loaded version gives no answer.
pub(crate) fn silent(seen: &Seen, loaded: &Loaded) -> Option<String> {
    if let Some(reason) = loaded.pool.down() {
        return Some(reason);
    }
    if loaded.live.views.is_empty() {
        return None;
    }
    let held = match &seen.redis {
        Some(Ok(held)) => held,
        Some(Err(reason)) => return Some(format!("features can't be read: {reason}")),
        None => return Some("features can't be read: Redis was not asked yet".to_owned()),
    };
    let stored = loaded.live.views.values().flat_map(LiveView::stored);
    stored.into_iter().find(|view| view.filled && !held.holds(&view.view)).map(|LiveView { view, .. }| {
        format!(
            "Redis has lost the values of view `{}` version {}; they are being written again",
            view.name(),
            view.version()
        )
    })
}

/// What this process says of itself to those who promote.
pub(crate) fn replica(seen: &Seen, state: &State, address: String) -> Replica {
    let mut models: BTreeMap<String, BTreeMap<u32, Served>> = BTreeMap::new();
    for (model, known) in seen.live().into_iter().flat_map(|live| &live.models) {
        for number in known.versions.keys() {
            let name = (model.clone(), *number);
            let served = match (state.failures.get(&name), state.loaded.get(&name)) {
                (Some(reason), _) => Served::Failed(reason.clone()),
                (None, Some(loaded)) => silent(seen, loaded).map_or(Served::Ready, Served::Failed),
                (None, None) => Served::Loading,
            };
            models.entry(model.clone()).or_default().insert(*number, served);
        }
    }
    Replica { address, order: state.order, models, aliases: state.aliases.clone() }
}
