//! From what the catalog holds to the live set. Pure.

use std::sync::Arc;

use indexmap::IndexMap;
use tidemill_catalog::{ModelAlias, ModelVersion, Position, Rollout, ViewState, ViewVersion, code};
use tidemill_core::DataClock;
use tidemill_offline::{Input, View};
use tidemill_online::{
    LiveCode, LiveInput, LiveModelVersion, LiveSet, LiveSplit, LiveVersion, LiveView, OnlineView,
};
use tidemill_spec::PredictionLog;

use crate::{live_models, maintained};

/// What the catalog holds.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The data clock.
    pub clock: DataClock,
    /// Every registered version, newest first within each model.
    pub models: Vec<ModelVersion>,
    /// Every alias.
    pub aliases: Vec<ModelAlias>,
    /// The rollouts that go on.
    pub rollouts: Vec<Rollout>,
    /// Every version of every view.
    pub views: Vec<ViewVersion>,
    /// How far each version of a view is.
    pub positions: Vec<Position>,
    /// How many processes each declared model has, at least and at most.
    pub scales: IndexMap<String, (u32, Option<u32>)>,
    /// What is logged of the predictions of each declared model.
    pub logs: IndexMap<String, PredictionLog>,
}

/// The live set of what is declared. Each version's document holds all that it needs, its views included: what happens to
/// another version, or to the project, can't touch it.
pub fn assemble(declared: &Declared) -> LiveSet {
    let mut live = LiveSet { clock: declared.clock, ..LiveSet::default() };
    let versions = live_models(declared.models.clone(), &declared.aliases, &declared.rollouts);
    let kept = maintained(declared.views.clone(), &versions);
    for version in versions {
        let model = live.models.entry(version.model.clone()).or_default();
        model.versions.insert(version.version.unsigned_abs(), document(declared, &kept, version));
    }
    for (name, model) in &mut live.models {
        // What must be masked in the log of a model that is declared no more, nobody can say.
        let log = declared.logs.get(name).cloned().unwrap_or_else(PredictionLog::off);
        model.log = Arc::new(log);
    }
    let current = kept.iter().filter(|version| version.state == ViewState::Current);
    let online = current.filter(|version| !version.plan.definition.online_features().is_empty());
    live.views = online.map(|version| (version.view.clone(), read_view(declared, version))).collect();
    for alias in &declared.aliases {
        if let Some(model) = live.models.get_mut(&alias.model) {
            model.aliases.insert(alias.alias.clone(), alias.version.unsigned_abs());
        }
    }
    for rollout in &declared.rollouts {
        let Some(model) = live.models.get_mut(&rollout.model) else { continue };
        let (control, candidate) = (rollout.control.unsigned_abs(), rollout.candidate.unsigned_abs());
        let stands = model.aliases.get(&rollout.alias) == Some(&control);
        if stands && matches!(model.versions.get(&candidate), Some(Ok(_))) {
            let split = LiveSplit {
                rollout: rollout.id.to_string(),
                step: rollout.step,
                candidate,
                percent: rollout.percent(),
            };
            model.splits.insert(rollout.alias.clone(), split);
        }
    }
    live
}

/// The version's document; or why there is none, as one sentence.
pub(crate) fn document(declared: &Declared, kept: &[ViewVersion], version: ModelVersion) -> LiveVersion {
    let mut views: IndexMap<String, LiveView> = IndexMap::new();
    for read in version.hydration.rounds.iter().flatten() {
        let view = live_view(declared, kept, &version, &read.view)?;
        let lacks = read.features.iter().find(|wanted| view.view.features().all(|(name, _)| name != *wanted));
        if let Some(feature) = lacks {
            return Err(format!("view `{}` does not keep `{feature}` online any more", read.view));
        }
        views.insert(read.view.clone(), view);
    }
    // How much is asked is no property of a version.
    let scale = declared.scales.get(&version.model).copied();
    let (processes, processes_max) = scale.unwrap_or((version.processes, version.processes_max));
    Ok(Arc::new(LiveModelVersion {
        artifact: version.artifact,
        code: version.code_hash.map(|hash| LiveCode { path: code::place(&hash), hash }),
        runtime: version.runtime,
        keys: version.keys,
        hydration: version.hydration,
        views,
        request: version.request,
        nullable: version.nullable,
        outputs: version.outputs,
        fail_on_missing: version.fail_on_missing,
        processes,
        processes_max,
    }))
}

/// The version of a view that a model was trained on; the current one for a model that names none.
fn live_view(
    declared: &Declared,
    kept: &[ViewVersion],
    model: &ModelVersion,
    name: &str,
) -> Result<LiveView, String> {
    let trained_on = model.view_versions.get(name).copied();
    let of_view = |version: &&ViewVersion| version.view == name;
    let wanted = |version: &&ViewVersion| match trained_on {
        Some(number) => version.version == number,
        None => version.state == ViewState::Current,
    };
    let Some(version) = kept.iter().filter(of_view).find(wanted) else {
        let current = kept.iter().filter(of_view).find(|version| version.state == ViewState::Current);
        return Err(match (trained_on, current) {
            (Some(number), Some(current)) => format!(
                "it was trained on view `{name}` version {number}, which has not been kept up to date since version {} replaced it",
                current.version
            ),
            _ => format!("view `{name}` is not declared any more"),
        });
    };
    Ok(read_view(declared, version))
}

fn read_view(declared: &Declared, version: &ViewVersion) -> LiveView {
    let filled = |view: &View| {
        let own = |position: &&Position| position.view == view.name() && position.version == view.version;
        declared.positions.iter().find(own).is_some_and(|position| position.lake_version > 0)
    };
    live_view_of(&View::of(&version.plan, version.version), &filled)
}

/// A version of a view as it is read, with all that it is computed from. `filled`: whether the values of one have been
/// written.
pub fn live_view_of(view: &View, filled: &dyn Fn(&View) -> bool) -> LiveView {
    let input =
        |Input { read, view }: &Input| LiveInput { read: read.clone(), view: live_view_of(view, filled) };
    let derived = !view.kind().stored();
    let inputs = if derived { view.inputs.iter().map(input).collect() } else { Vec::new() };
    let (definition, version) = (view.definition.clone(), view.version.unsigned_abs());
    let online = OnlineView::new(definition, version, view.entity.keys.clone(), view.upserts());
    LiveView::new(online, !derived && filled(view), inputs)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use tidemill_catalog::{RolloutPlan, RolloutState};
    use tidemill_core::{RolloutId, Time};
    use tidemill_spec::{
        Entity, Feature, FeatureView, Hydration, Meta, OnlineFeatures, Plan, Rule, Type, ViewInput,
    };

    use super::*;

    pub(crate) fn model(name: &str, number: i32) -> ModelVersion {
        ModelVersion {
            model: name.to_owned(),
            version: number,
            artifact: format!("artifacts/{number}"),
            runtime: "lightgbm".to_owned(),
            keys: IndexMap::new(),
            hydration: Hydration::default(),
            request: IndexMap::new(),
            nullable: Some(Vec::new()),
            outputs: IndexMap::from([("probability".to_owned(), Type::Float.into())]),
            fail_on_missing: false,
            processes: 2,
            processes_max: None,
            categories: IndexMap::new(),
            view_versions: BTreeMap::new(),
            leak_allowed: Vec::new(),
            dataset: None,
            params: BTreeMap::new().into_iter().collect(),
            run: None,
            code_hash: None,
        }
    }

    pub(crate) fn alias(version: i32, previous: Option<i32>) -> ModelAlias {
        let changed_at = Time::UNIX_EPOCH;
        ModelAlias { model: "late".into(), alias: "champion".into(), version, previous, changed_at }
    }

    pub(crate) fn rollout(control: i32, candidate: i32) -> Rollout {
        Rollout {
            id: RolloutId::generate(),
            model: "late".into(),
            alias: "champion".into(),
            control,
            candidate,
            plan: RolloutPlan {
                steps: vec![10, 50],
                every_seconds: 60,
                entities_min: 100,
                error_rate_max: None,
                p95_ms_max: None,
            },
            step: 1,
            step_began_at: Time::UNIX_EPOCH,
            state: RolloutState::Running,
            reason: String::new(),
            began_at: Time::UNIX_EPOCH,
            ended_at: None,
        }
    }

    #[test]
    fn an_alias_is_split_while_it_names_the_control() {
        let of = |named: i32| {
            assemble(&Declared {
                clock: DataClock::default(),
                models: [3, 2].map(|number| model("late", number)).into(),
                aliases: vec![alias(named, None)],
                rollouts: vec![rollout(2, 3)],
                views: Vec::new(),
                positions: Vec::new(),
                scales: [("late".to_owned(), (1, Some(4)))].into(),
                logs: IndexMap::new(),
            })
        };
        let split = of(2).models["late"].splits["champion"].clone();
        assert_eq!((split.step, split.candidate, split.percent), (1, 3, 50));
        assert!(of(3).models["late"].splits.is_empty());
        // As many processes as are declared now, whatever was when the version was registered.
        let version = of(2).models["late"].versions[&3].clone().unwrap();
        assert_eq!((version.processes, version.processes_max), (1, Some(4)));
    }

    pub(crate) fn view(name: &str, version: i32, state: ViewState) -> ViewVersion {
        let feature =
            |column: &str| Feature { ty: Type::Float, rule: Rule::Last(column.to_owned()), default: None };
        let definition = FeatureView {
            name: name.to_owned(),
            meta: Meta::default(),
            entity: name.to_owned(),
            input: ViewInput::Source("rides".to_owned()),
            ttl: None,
            features: IndexMap::from([("seats".to_owned(), feature("seats"))]),
            python: None,
            batch: false,
            timeout: None,
            online: OnlineFeatures::All,
            freshness: None,
            leak_allowed: false,
        };
        ViewVersion {
            view: name.to_owned(),
            version,
            state,
            plan: Plan {
                definition,
                entity: Entity { name: name.to_owned(), meta: Meta::default(), keys: IndexMap::new() },
                source: None,
                inputs: IndexMap::new(),
                over: IndexMap::new(),
                code: None,
            },
            hash: String::new(),
            code_hash: String::new(),
            created_at: Time::UNIX_EPOCH,
            retired_at: None,
        }
    }
}
