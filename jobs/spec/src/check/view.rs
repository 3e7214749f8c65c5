//! A view's entity, input, rules and what of it is online.

use indexmap::IndexMap;

use super::{
    World,
    expression::{self, Row},
    names, python,
};
use crate::{
    Aggregate, Feature, FeatureView, ObjectKind, ObjectRef, OnlineFeatures, Operand, Rule, Type, ViewInput,
    yaml::fields::{At, list},
};

pub(super) fn view(world: &World<'_>, name: &str, at: &At<'_>) {
    let Some(view) = world.objects.views.get(name) else { return };
    world.refer(&at.find(&["entity"]), ObjectKind::Entity, &view.entity);
    kinds(view, at);
    named(world, view, at);
    match &view.input {
        ViewInput::Source(source) => over_source(world, view, source, at),
        ViewInput::Views(inputs) => over_views(world, view, inputs, at),
    }
    if let Some(entry) = view.python.as_ref().filter(|entry| !entry.is_empty()) {
        python::entry(world, &at.find(&["python"]), entry);
    } else if view.batch && view.python.is_none() {
        at.find(&["batch"]).key_error(212, "`batch` belongs to a view with `python`", "");
    }
}

/// Windows decay and rows do not, so one view has either.
fn kinds(view: &FeatureView, at: &At<'_>) {
    let windowed = |feature: &Feature| matches!(feature.rule, Rule::Window { .. });
    let (windows, rows): (Vec<_>, Vec<_>) = view.features.iter().partition(|(_, feature)| windowed(feature));
    if let (Some((window, _)), Some((row, _))) = (windows.first(), rows.first()) {
        at.find(&["features", row])
            .key_error(305, format!("`{row}` and the windowed `{window}` cannot be in one view"), "")
            .help("make two views: one of windows, one of the newest row's values");
    }
    if !windows.is_empty() && view.ttl.is_some() {
        at.find(&["ttl"])
            .key_error(402, "a windowed view has no ttl", "")
            .help("its values decay with the window; leave `ttl` out");
    }
}

fn named(world: &World<'_>, view: &FeatureView, at: &At<'_>) {
    let keys = world.objects.entities.get(&view.entity).map(|entity| &entity.keys);
    for (name, declared) in &view.features {
        let feature = at.find(&["features", name]);
        names::feature(&feature, &view.name, name, declared);
        if keys.is_some_and(|keys| keys.contains_key(name)) {
            feature
                .key_error(
                    316,
                    format!("feature `{name}` has the name of a key of entity `{}`", view.entity),
                    "",
                )
                .help("a model takes keys as inputs with `keys: [...]`; leave the feature out");
        }
    }
    if let OnlineFeatures::Some(names) = &view.online {
        let columns: IndexMap<String, Type> =
            view.features.iter().map(|(name, feature)| (name.clone(), feature.ty)).collect();
        let this = ObjectRef::new(ObjectKind::View, &view.name);
        for (index, name) in names.iter().enumerate() {
            world.column(&at.find(&["online", &index.to_string()]), &this, &columns, name);
        }
    }
}

fn over_source(world: &World<'_>, view: &FeatureView, source: &str, at: &At<'_>) {
    let source_at = at.find(&["source"]);
    if !world.refer(&source_at, ObjectKind::Source, source) {
        return;
    }
    world.keys_in_source(&at.find(&["entity"]), &view.entity, source);
    let Some(columns) = world.source_columns(source) else { return };
    let of = ObjectRef::new(ObjectKind::Source, source);
    let row = world.row_of_source(source, &columns);
    for (name, feature) in &view.features {
        let at = at.find(&["features", name]);
        match &feature.rule {
            Rule::Last(column) => {
                // The short form's column is its own name: the key is to blame, not the type.
                let short = at.node.get("last").is_none();
                let place = if short { At { node: at.node, ..at.clone() } } else { at.find(&["last"]) };
                match columns.get(column) {
                    None if short => {
                        if !world.broken(of.kind, &of.name) {
                            let known = columns.keys().map(String::as_str).collect::<Vec<_>>();
                            let said = crate::diagnostic::closest(column, &known);
                            let said = said.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
                            at.key_error(303, format!("source `{source}` has no column `{column}`"), &said)
                                .help("the short form takes the column of the feature's own name");
                        }
                    }
                    None => drop(world.column(&place, &of, &columns, column)),
                    Some(found) if *found != feature.ty => wrong_type(&at, name, feature.ty, column, *found),
                    Some(_) => {}
                }
            }
            Rule::Sql(sql) => {
                expression::sql(world, &at.find(&["sql"]), sql, &row, feature.ty, true);
            }
            Rule::Age if feature.ty != Type::Float => {
                at.find(&["type"]).error(304, format!("`{name}` is an age in minutes: a float"));
            }
            Rule::Window { aggregate, of: aggregated, condition, .. } => {
                if let Some(condition) = condition {
                    expression::sql(world, &at.find(&["where"]), condition, &row, Type::Bool, true);
                }
                let place = at.find(&[aggregate.as_str()]);
                match aggregated {
                    None if *aggregate == Aggregate::Count && feature.ty != Type::Int => {
                        at.find(&["type"]).error(304, format!("`{name}` counts rows: an int"));
                    }
                    None => {}
                    Some(Operand::Column(column)) => {
                        if let Some(found) = world.column(&place, &of, &columns, column) {
                            aggregated_column(&at, name, feature.ty, *aggregate, column, found);
                        }
                    }
                    Some(Operand::Sql(sql)) => {
                        if aggregate.types().contains(&feature.ty) {
                            // Of what is counted it only matters whether it is null; everything can be text.
                            let ty = aggregate.row_type(feature.ty).unwrap_or(Type::String);
                            expression::sql(world, &place, sql, &row, ty, true);
                        } else {
                            wrong_aggregate(&at, name, feature.ty, *aggregate);
                        }
                    }
                }
            }
            Rule::Age | Rule::Python => {}
        }
    }
}

fn aggregated_column(
    at: &At<'_>,
    name: &str,
    declared: Type,
    aggregate: Aggregate,
    column: &str,
    found: Type,
) {
    match aggregate.over(found) {
        None => {
            let word = aggregate.as_str();
            let takes: Vec<&str> =
                Type::ALL.into_iter().filter(|ty| aggregate.over(*ty).is_some()).map(Type::as_str).collect();
            at.find(&[word])
                .error(304, format!("`{column}` is {found}, which `{word}` does not take"))
                .help(format!("`{word}` takes {}; `count` takes any column", takes.join(", ")));
        }
        Some(ty) if ty != declared => {
            at.find(&["type"]).error(304, format!("`{name}` is {ty}, but {declared} is declared"));
        }
        Some(_) => {}
    }
}

fn wrong_aggregate(at: &At<'_>, name: &str, declared: Type, aggregate: Aggregate) {
    let types: Vec<&str> = aggregate.types().into_iter().map(Type::as_str).collect();
    at.find(&["type"])
        .error(304, format!("`{name}` is a {}, which cannot be {declared}", aggregate.as_str()))
        .help(format!("declare {}", types.join(" or ")));
}

fn wrong_type(at: &At<'_>, feature: &str, declared: Type, column: &str, found: Type) {
    let ty = if at.node.get("type").is_some() { at.find(&["type"]) } else { at.clone() };
    ty.error(304, format!("`{feature}` is {declared}, but column `{column}` is {found}"))
        .help(format!("write `{found}`, or convert it: {{ type: {declared}, sql: … }}"));
}

fn over_views(world: &World<'_>, view: &FeatureView, inputs: &[String], at: &At<'_>) {
    let mut columns: IndexMap<String, Type> = IndexMap::new();
    let mut whole = true;
    if let Some(entity) = world.objects.entities.get(&view.entity) {
        columns.extend(entity.keys.iter().map(|(name, ty)| (name.clone(), *ty)));
    }
    for (index, input) in inputs.iter().enumerate() {
        let at = at.find(&["inputs", &index.to_string()]);
        whole &= world.refer(&at, ObjectKind::View, input) && !world.broken(ObjectKind::View, input);
        let Some(declared) = world.objects.views.get(input) else { continue };
        if declared.entity != view.entity {
            at.error(
                210,
                format!(
                    "input `{input}` describes `{}`, not `{}`: not supported yet",
                    declared.entity, view.entity
                ),
            )
            .help("a view over views takes inputs of its own entity");
        }
        for (name, feature) in &declared.features {
            if columns.insert(name.clone(), feature.ty).is_some() {
                at.error(316, format!("two inputs have a column `{name}`"))
                    .help("rename it in one of the views; a row has each name once");
            }
        }
    }
    // Columns of a derived view are those of its inputs; where one is unknown, nothing is missed for sure.
    let named = list(inputs).replace('`', "");
    let row = Row { lacks: format!("none of the inputs {named} has a feature"), columns: &columns, whole };
    for (name, feature) in &view.features {
        let at = at.find(&["features", name]);
        match &feature.rule {
            Rule::Sql(sql) => expression::sql(world, &at.find(&["sql"]), sql, &row, feature.ty, true),
            Rule::Python => {}
            Rule::Last(_) | Rule::Age | Rule::Window { .. } => {
                at.key_error(305, format!("`{name}` needs rows of a source, but the view reads views"), "")
                    .help("write `sql` over the inputs' features, or move it to a view over a source");
            }
        }
    }
}

/// Views that are computed from themselves.
pub(super) fn circles(world: &World<'_>) {
    for document in world.documents.iter().filter(|document| document.kind == ObjectKind::View) {
        let mut path = vec![document.name.as_str()];
        if let Some(circle) = circle(world, &mut path) {
            At::root(&document.root, &document.file, world.report).find(&["inputs"]).key_error(
                311,
                format!("view `{}` is computed from itself: {circle}", document.name),
                "",
            );
        }
    }
}

fn circle<'w>(world: &World<'w>, path: &mut Vec<&'w str>) -> Option<String> {
    let inputs = world.objects.views.get(*path.last()?)?.input_views();
    for input in inputs {
        if input == path[0] {
            return Some(path.iter().copied().chain([path[0]]).collect::<Vec<_>>().join(" → "));
        }
        if !path.contains(&input.as_str()) {
            path.push(input);
            let found = circle(world, path);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
    }
    None
}
