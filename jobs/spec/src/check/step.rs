//! What a step takes in `with`: names, and literal values. Expressions are proven elsewhere; what they
//! give is judged when the step runs.

use indexmap::IndexMap;

use super::{
    World,
    expression::{self, Row},
    names, python,
};
use crate::{
    DeclaredSql, ObjectKind, Rule, SqlRole, Step, Type,
    parse::view::entry,
    steps::{
        schema::{Arg, LATER, STEPS, step_kind},
        unwritable,
    },
    yaml::{Data, fields::At},
};

pub(super) fn with(world: &World<'_>, step: &Step, at: &At<'_>) {
    let uses = at.find(&["uses"]);
    if uses.blotted() || step.uses.is_empty() {
        return;
    }
    if LATER.contains(&step.uses.as_str()) {
        uses.error(210, format!("step `{}` is not supported yet", step.uses));
        return;
    }
    let Some(kind) = step_kind(&step.uses) else {
        let known = STEPS.iter().map(|kind| kind.name);
        uses.unknown(312, format!("there is no step `{}`", step.uses), &step.uses, known);
        return;
    };
    let Some(with) = at.node.get("with") else {
        let needed: Vec<&str> =
            kind.args.iter().filter(|(_, _, needed)| *needed).map(|(name, ..)| *name).collect();
        uses.error(204, format!("step `{}` takes arguments", step.uses))
            .help(format!("add `with:` with {}", crate::yaml::fields::list(&needed)));
        return;
    };
    if !matches!(with.value.data, Data::Map(_)) {
        return;
    }
    let table = with.value.get("table").and_then(|entry| match &entry.value.data {
        Data::Scalar { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let Some(mut fields) = at.find(&["with"]).fields(format!("`with` of `{}`", step.uses)) else { return };
    for (name, arg, needed) in kind.args {
        let found = if *needed { fields.need(name) } else { fields.get(name) };
        if let Some(at) = found {
            value(world, &at, *arg, table);
        }
    }
    fields.finish();
    if step.uses == "dataset.build" {
        names::dataset(world, &at.find(&["with"]));
    }
    if step.uses == "model.register" {
        registered(&at.find(&["with"]));
    }
}

/// What a step left, or a file; not both, and not neither.
fn registered(with: &At<'_>) {
    let given = |name: &str| with.node.get(name).is_some();
    match (given("artifact"), given("file")) {
        (true, true) => with.error(209, "`artifact` and `file` are two models").help(
            "keep `artifact` for what a step of the pipeline left, or `file` for a model from elsewhere",
        ),
        (false, false) => with
            .error(204, "`with` of `model.register` needs `artifact` or `file`")
            .help("add `artifact: ${{ steps.NAME.outputs.artifact }}`, or `file:` with a path"),
        (true, false) if given("sample") => with
            .error(209, "`sample` is of a `file`")
            .help("leave it out: an artifact was proven by the step that left it"),
        _ => return,
    };
}

/// `table`: the one that the step is about, if any.
fn value(world: &World<'_>, at: &At<'_>, arg: Arg, table: Option<&str>) {
    if matches!(&at.node.data, Data::Scalar { text, .. } if text.contains("${{")) || at.blotted() {
        return;
    }
    match arg {
        Arg::Object(kind) => refer(world, at, kind),
        Arg::Inputs => inputs(world, at),
        Arg::Text => drop(at.text()),
        Arg::File => {
            if let Some((message, help)) = at.text().as_deref().and_then(unwritable) {
                at.error(324, message).help(help);
            }
        }
        Arg::Query => {
            if let Some(text) = at.text() {
                world.sql.borrow_mut().push(DeclaredSql::new(at, &text, SqlRole::Query));
            }
        }
        Arg::Conditions => conditions(world, at, table.unwrap_or_default()),
        Arg::Time => drop(at.time()),
        Arg::Duration => drop(at.duration()),
        Arg::KnownAt => {
            if at.text().is_some_and(|text| text != "label") {
                at.time();
            }
        }
        Arg::Version => drop(at.int(1, i64::from(u32::MAX))),
        Arg::Share => {
            if at.float(0.0).is_some_and(|share| share > 1.0) {
                at.error(209, "a share is 0 to 1");
            }
        }
        Arg::Entry => entry(at).iter().for_each(|entry| python::entry(world, at, entry)),
        Arg::Map => drop(at.entries()),
        Arg::Choice(words) => drop(at.choice(words)),
        Arg::Table => named_table(world, at),
    }
}

fn inputs(world: &World<'_>, at: &At<'_>) {
    match at.node.data {
        Data::Scalar { .. } => refer(world, at, ObjectKind::Model),
        _ => at.list().iter().flatten().for_each(|at| refer(world, at, ObjectKind::View)),
    }
}

fn refer(world: &World<'_>, at: &At<'_>, kind: ObjectKind) {
    if let Some(name) = at.name() {
        world.refer(at, kind, &name);
    }
}

/// Conditions over one row of a table. They may ask for the moment: a check of today's rows is made today.
fn conditions(world: &World<'_>, at: &At<'_>, table: &str) {
    let known = match table.split_once('/') {
        Some(("source", name)) if !world.broken(ObjectKind::Source, name) => world.source_columns(name),
        Some(("view", name)) if !world.broken(ObjectKind::View, name) => stored_columns(world, name),
        _ => None,
    };
    let whole = known.is_some();
    let mut columns = known.unwrap_or_default();
    for (name, ty) in [
        ("valid_at", Type::Timestamp),
        ("created_at", Type::Timestamp),
        ("seq", Type::Int),
        ("deleted", Type::Bool),
    ] {
        columns.insert(name.to_owned(), ty);
    }
    let row = Row { lacks: format!("table `{table}` has no column"), columns: &columns, whole };
    for at in at.list().into_iter().flatten() {
        let templated = matches!(&at.node.data, Data::Scalar { text, .. } if text.contains("${{"));
        if let Some(text) = at.text().filter(|_| !templated) {
            expression::sql(world, &at, &text, &row, Type::Bool, false);
        }
    }
}

/// Keys of a view, and the features that its rows hold: ages are computed at the moment of asking.
fn stored_columns(world: &World<'_>, view: &str) -> Option<IndexMap<String, Type>> {
    let view = world.objects.views.get(view)?;
    let entity = world.objects.entities.get(&view.entity)?;
    let stored = view.features.iter().filter(|(_, feature)| feature.rule != Rule::Age);
    let features = stored.map(|(name, feature)| (name.clone(), feature.ty));
    Some(entity.keys.iter().map(|(name, ty)| (name.clone(), *ty)).chain(features).collect())
}

fn named_table(world: &World<'_>, at: &At<'_>) {
    let Some(text) = at.text() else { return };
    let (kind, name) = match text.split_once('/') {
        Some(("source", name)) => (ObjectKind::Source, name),
        Some(("view", name)) => (ObjectKind::View, name),
        Some(("predictions" | "prediction_log", name)) => (ObjectKind::Model, name),
        Some(("dataset", _)) => return,
        _ => {
            at.error(209, format!("`{text}` is not a table"))
                .help("write `source/NAME`, `view/NAME`, `predictions/MODEL`, `prediction_log/MODEL` or `dataset/ID`");
            return;
        }
    };
    world.refer(at, kind, name);
}
