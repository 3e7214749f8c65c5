//! Monitors: target, columns, labels and notifiers exist, and each check fits its target.

use indexmap::IndexMap;

use super::World;
use crate::{
    Check, Model, Monitor, MonitorTarget, ObjectKind, ObjectRef, OutputType, Reference, Type,
    diagnostic::closest,
    objects::hydrate,
    scored,
    yaml::fields::{At, list},
};

/// What a check of a model calls its output.
const PREDICTION: &str = "prediction";

pub(super) fn monitor(world: &World<'_>, name: &str, at: &At<'_>) {
    let Some(monitor) = world.objects.monitors.get(name) else { return };
    let (kind, target) = match &monitor.target {
        MonitorTarget::Model(name) => (ObjectKind::Model, name),
        MonitorTarget::Source(name) => (ObjectKind::Source, name),
        MonitorTarget::View(name) => (ObjectKind::View, name),
    };
    let known = world.refer(&at.find(&["target", kind.as_str()]), kind, target);
    if kind != ObjectKind::Model && monitor.reference == Reference::Training {
        at.find(&["reference"])
            .key_error(317, format!("{} `{target}` has no training snapshot", kind.as_str()), "")
            .help("say what it is compared with: `reference: { from: …, to: … }`");
    }
    let columns = known.then(|| columns(world, monitor)).flatten();
    for (index, check) in monitor.checks.iter().enumerate() {
        let at = at.find(&["checks", &index.to_string()]);
        one(world, monitor, &ObjectRef::new(kind, target), columns.as_ref(), check, &at);
    }
    for (index, notifier) in monitor.notify.iter().enumerate() {
        world.refer(&at.find(&["notify", &index.to_string()]), ObjectKind::Notifier, notifier);
    }
}

fn one(
    world: &World<'_>,
    monitor: &Monitor,
    target: &ObjectRef,
    columns: Option<&IndexMap<String, Type>>,
    check: &Check,
    at: &At<'_>,
) {
    match check {
        Check::Drift { measure, columns: watched, .. } => {
            for (index, column) in watched.iter().enumerate() {
                let at = at.find(&[measure, &index.to_string()]);
                if let Some(columns) = columns {
                    watch(world, &at, target, columns, column);
                    distributed(&at, columns, column);
                }
            }
        }
        Check::NullRate { column, .. } => {
            if let Some(columns) = columns {
                watch(world, &at.find(&["null_rate"]), target, columns, column);
            }
        }
        Check::LabelRate { label, .. } => judged(world, monitor, &at.find(&["label_rate"]), label),
        Check::Auc { label, .. } => {
            let at = at.find(&["auc"]);
            judged(world, monitor, &at, label);
            if target.kind == ObjectKind::Model {
                ranked(world, &at, &target.name);
            }
        }
        Check::Freshness { object, .. } => {
            let known = [ObjectKind::Source, ObjectKind::View].map(|kind| world.names(kind)).concat();
            if !known.contains(&object.as_str()) {
                at.find(&["freshness"]).unknown(
                    301,
                    format!("there is no source or view `{object}`"),
                    object,
                    known,
                );
            }
        }
        Check::Volume { .. } => {}
    }
}

fn watch(world: &World<'_>, at: &At<'_>, target: &ObjectRef, columns: &IndexMap<String, Type>, column: &str) {
    let model = target.kind == ObjectKind::Model;
    if model && unwatchable(world, at, &target.name, column) {
        return;
    }
    if columns.contains_key(column)
        || model && column == PREDICTION
        || world.broken(target.kind, &target.name)
    {
        return;
    }
    let names: Vec<&str> = columns.keys().map(String::as_str).chain(model.then_some(PREDICTION)).collect();
    let said = closest(column, &names).map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
    let draft =
        at.error_saying(303, format!("{} `{}` has no column `{column}`", target.kind, target.name), &said);
    if said.is_empty() {
        draft.help(format!("its columns are {}", list(&names)));
    }
}

/// Says so where a column has no distribution, for it is of lists.
fn distributed(at: &At<'_>, columns: &IndexMap<String, Type>, column: &str) {
    let Some(ty) = columns.get(column).filter(|ty| ty.element().is_some()) else { return };
    at.error(317, format!("`{column}` is {ty}, and a list has no distribution")).help(
        "watch what a view computes of it, such as `{ type: int, sql: len(words) }`; `null_rate` takes any column",
    );
}

/// Says so where a model's output has no distribution: a vector, or `prediction` where nothing is scored.
fn unwatchable(world: &World<'_>, at: &At<'_>, model: &str, column: &str) -> bool {
    let Some(model) = world.objects.models.get(model) else { return false };
    let vector = |(name, ty): (&String, &OutputType)| match ty {
        OutputType::Vector(size) => Some((name.clone(), *size)),
        _ => None,
    };
    let named = model.outputs.get_key_value(column).and_then(vector);
    let unscored = column == PREDICTION && scored(&model.outputs).is_none();
    let message = if let Some((name, _)) = &named {
        format!("`{name}` is a vector, which has no distribution")
    } else if unscored && !world.broken(ObjectKind::Model, &model.name) {
        format!("model `{}` gives neither a float nor a class, so it has no `{PREDICTION}`", model.name)
    } else {
        return false;
    };
    let draft = at.error(317, message);
    if let Some((name, size)) = named.or_else(|| model.outputs.iter().find_map(vector)) {
        draft.help(format!("watch single columns of it: `{name}_0` to `{name}_{}`", size - 1));
    }
    true
}

/// Labels and AUC need a model to have been wrong.
fn judged(world: &World<'_>, monitor: &Monitor, at: &At<'_>, label: &str) {
    if !matches!(monitor.target, MonitorTarget::Model(_)) {
        at.key_error(317, "labels are watched with a model as target", "");
    }
    world.refer(at, ObjectKind::Label, label);
}

/// An AUC is of a score or of two classes.
fn ranked(world: &World<'_>, at: &At<'_>, model: &str) {
    let scored = world.objects.models.get(model).and_then(|model| scored(&model.outputs));
    if let Some((name, OutputType::Class(classes))) = scored
        && classes.len() != 2
    {
        at.key_error(317, format!("`{name}` has {} classes, an AUC is of two", classes.len()), "")
            .help("watch the drift of `prediction` and of the label instead");
    }
}

/// What can be watched: a source's columns, a view's features, or all that a model's views hold and put out.
fn columns(world: &World<'_>, monitor: &Monitor) -> Option<IndexMap<String, Type>> {
    match &monitor.target {
        MonitorTarget::Source(source) => world.source_columns(source),
        MonitorTarget::View(view) => world.objects.view_columns(view),
        MonitorTarget::Model(model) => of_model(world, world.objects.models.get(model)?),
    }
}

fn of_model(world: &World<'_>, model: &Model) -> Option<IndexMap<String, Type>> {
    let plan = hydrate(world.objects, model).ok()?;
    let mut columns = plan.columns;
    for read in plan.rounds.iter().flatten() {
        for (name, ty) in world.objects.view_columns(&read.view).into_iter().flatten() {
            columns.entry(read.column(&name)).or_insert(ty);
        }
    }
    columns.extend(model.outputs.iter().flat_map(|(name, ty)| ty.columns(name)));
    Some(columns)
}
