//! Labels: what is asked, of whom, and what the answer is computed from.

use indexmap::IndexMap;

use super::{World, expression, names, view::rules};
use crate::{Ahead, Asked, Label, ObjectKind, Population, Type, ViewKind, yaml::fields::At};

pub(super) fn label(world: &World<'_>, name: &str, at: &At<'_>) {
    let Some(label) = world.objects.labels.get(name) else { return };
    let entity = at.find(&["entity"]);
    world.refer(&entity, ObjectKind::Entity, &label.entity);
    names::label(world, &at.find(&["name"]), label);
    if world.refer(&at.find(&["source"]), ObjectKind::Source, &label.source) {
        world.keys_in_source(&entity, &label.entity, &label.source);
    }
    if matches!(label.ty, Type::Decimal(_) | Type::List { .. }) {
        at.find(&["value", "type"])
            .error(318, format!("a label cannot be {}", label.ty))
            .help("a model learns a single value: declare float, and convert it in `sql`");
    }
    match &label.asked {
        Asked::OfRows(asked_at) => of_rows(world, label, asked_at, at),
        Asked::Ahead(ahead) => over_windows(world, label, ahead, at),
    }
}

fn of_rows(world: &World<'_>, label: &Label, asked_at: &str, at: &At<'_>) {
    let Some(columns) = world.source_columns(&label.source) else { return };
    let row = world.row_of_source(&label.source, &columns);
    expression::sql(world, &at.find(&["value", "sql"]), &label.sql, &row, label.ty, true);
    expression::sql(world, &at.find(&["asked_at"]), asked_at, &row, Type::Timestamp, true);
}

fn over_windows(world: &World<'_>, label: &Label, ahead: &Ahead, at: &At<'_>) {
    rules(world, &ahead.aggregates, &label.source, &at.find(&["aggregates"]));
    let columns: IndexMap<String, Type> =
        ahead.aggregates.iter().map(|(name, aggregate)| (name.clone(), aggregate.ty)).collect();
    let lacks = format!("label `{}` has no aggregate", label.name);
    let whole = !world.broken(ObjectKind::Label, &label.name);
    let row = expression::Row { lacks, columns: &columns, whole };
    expression::sql(world, &at.find(&["value", "sql"]), &label.sql, &row, label.ty, true);
    let at = at.find(&["population"]);
    match &ahead.population {
        Population::Entities { view, .. } => entities(world, label, view, &at.find(&["view"])),
        Population::Rows { source, asked_at } => rows(world, label, source, asked_at, &at),
    }
}

/// The entities of a view are those of the label, and it can list them.
fn entities(world: &World<'_>, label: &Label, name: &str, at: &At<'_>) {
    if !world.refer(at, ObjectKind::View, name) {
        return;
    }
    let Some(view) = world.objects.views.get(name) else { return };
    if view.entity != label.entity {
        at.error(
            405,
            format!(
                "label `{}` is asked of entity `{}`, but view `{name}` describes `{}`",
                label.name, label.entity, view.entity
            ),
        )
        .help(format!("name a view of `{}`, or the rows of a source that has its keys", label.entity));
    } else if !lists_entities(world, name, &mut Vec::new()) {
        at.error(
            405,
            format!("view `{name}` cannot list its entities: none of its inputs describes `{}`", view.entity),
        )
        .help("name a view over a source");
    }
}

/// Whether a view has entities of its own, or an input that has the same.
fn lists_entities<'w>(world: &World<'w>, name: &str, above: &mut Vec<&'w str>) -> bool {
    let Some((name, view)) = world.objects.views.get_key_value(name) else { return true };
    // A circle is reported where it is.
    if view.kind() != ViewKind::Derived || above.contains(&name.as_str()) {
        return true;
    }
    above.push(name);
    let same = |view_of: &str| world.objects.views.get(view_of).is_none_or(|of| of.entity == view.entity);
    let found = view.inputs().iter().any(|input| {
        let own = input.keys.iter().all(|(key, from)| key == from);
        own && same(&input.view) && lists_entities(world, &input.view, above)
    });
    above.pop();
    found
}

fn rows(world: &World<'_>, label: &Label, source: &str, asked_at: &str, at: &At<'_>) {
    let source_at = at.find(&["source"]);
    if !world.refer(&source_at, ObjectKind::Source, source) {
        return;
    }
    world.keys_in_source(&source_at, &label.entity, source);
    let Some(columns) = world.source_columns(source) else { return };
    let row = world.row_of_source(source, &columns);
    expression::sql(world, &at.find(&["asked_at"]), asked_at, &row, Type::Timestamp, true);
}
