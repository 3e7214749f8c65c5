//! A view's entity, input, rules and what of it is online.

use indexmap::{IndexMap, IndexSet};

use super::{
    World,
    expression::{self, Row},
    model::online as online_in,
    names, python,
};
use crate::{
    Aggregate, Feature, FeatureView, HydrationRead, InputView, ObjectKind, ObjectRef, OnlineFeatures,
    Operand, Rule, Type, ViewInput, ViewKind,
    objects::{Unresolved, find},
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
    rules(world, &view.features, source, &at.find(&["features"]));
}

/// What is computed of rows of a source. `at`: where the features stand, by name.
pub(super) fn rules(world: &World<'_>, features: &IndexMap<String, Feature>, source: &str, at: &At<'_>) {
    let Some(columns) = world.source_columns(source) else { return };
    let of = ObjectRef::new(ObjectKind::Source, source);
    let row = world.row_of_source(source, &columns);
    for (name, feature) in features {
        let at = at.find(&[name]);
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
                        if aggregate.gives(feature.ty) {
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
            let takes = Type::PLAIN.into_iter().filter(|ty| aggregate.over(*ty).is_some());
            let mut takes: Vec<String> = takes.map(|ty| ty.to_string()).collect();
            takes.push("decimals".to_owned());
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
    let types = Type::PLAIN.into_iter().filter(|ty| aggregate.gives(*ty));
    let mut types: Vec<String> = types.map(|ty| ty.to_string()).collect();
    match aggregate {
        Aggregate::Sum => types.push("a decimal of 38 digits".to_owned()),
        Aggregate::LastN { .. } | Aggregate::Top { .. } => {
            types.push("a list of any length, such as `string[]`".to_owned());
        }
        _ => {}
    }
    at.find(&["type"])
        .error(304, format!("`{name}` is a {}, which cannot be {declared}", aggregate.as_str()))
        .help(format!("declare {}", types.join(" or ")));
}

fn wrong_type(at: &At<'_>, feature: &str, declared: Type, column: &str, found: Type) {
    let ty = if at.node.get("type").is_some() { at.find(&["type"]) } else { at.clone() };
    ty.error(304, format!("`{feature}` is {declared}, but column `{column}` is {found}"))
        .help(format!("write `{found}`, or convert it: {{ type: {declared}, sql: … }}"));
}

fn over_views(world: &World<'_>, view: &FeatureView, inputs: &[InputView], at: &At<'_>) {
    let mut columns: IndexMap<String, Type> = IndexMap::new();
    let mut whole = true;
    if let Some(entity) = world.objects.entities.get(&view.entity) {
        columns.extend(entity.keys.iter().map(|(name, ty)| (name.clone(), *ty)));
    }
    for (index, input) in inputs.iter().enumerate() {
        let at = input_at(at, index);
        whole &= world.refer(&named_at(&at), ObjectKind::View, &input.view)
            && !world.broken(ObjectKind::View, &input.view);
        let Some(declared) = world.objects.views.get(&input.view) else { continue };
        mapped_keys(world, &at, input);
        if inputs[..index].iter().any(|other| other.name() == input.name()) {
            at.error(316, format!("two inputs are called `{}`", input.name()))
                .help(format!("give each a role of its own: `{{ view: {}, as: NAME }}`", input.view));
            continue;
        }
        for (name, feature) in &declared.features {
            let name = input.column(name);
            if columns.insert(name.clone(), feature.ty).is_some() {
                at.error(316, format!("two inputs have a column `{name}`")).help(format!(
                    "read one of them in a role, `{{ view: {}, as: NAME }}`, or rename it in one of the views; a row has each name once",
                    input.view
                ));
            }
        }
    }
    match view.kind() {
        ViewKind::Snapshots => in_python(world, view, at),
        _ => in_sql(world, view, at),
    }
    // Columns of a derived view are those of its inputs; where one is unknown, nothing is missed for sure.
    let named = list(&inputs.iter().map(InputView::name).collect::<Vec<_>>()).replace('`', "");
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

fn input_at<'a>(at: &At<'a>, index: usize) -> At<'a> {
    at.find(&["inputs", &index.to_string()])
}

/// Where an input names its view: the short form is the name.
fn named_at<'a>(at: &At<'a>) -> At<'a> {
    if at.node.get("view").is_some() { at.find(&["view"]) } else { at.clone() }
}

/// What `keys` of an input maps are keys of the input's entity.
pub(super) fn mapped_keys(world: &World<'_>, at: &At<'_>, input: &InputView) {
    let Some((declared, entity)) = find(world.objects, &input.view) else { return };
    for key in input.keys.keys().filter(|key| !entity.keys.contains_key(*key)) {
        let known: Vec<&str> = entity.keys.keys().map(String::as_str).collect();
        let message = format!("entity `{}` of view `{}` has no key `{key}`", declared.entity, input.view);
        at.find(&["keys", key]).key_error(303, message, "").help(format!("its keys are {}", list(&known)));
    }
}

/// A view in SQL over views holds nothing: what it says of an entity follows from its inputs at that moment.
fn in_sql(world: &World<'_>, view: &FeatureView, at: &At<'_>) {
    if view.ttl.is_some() {
        at.find(&["ttl"])
            .key_error(402, "a view over views in SQL has no ttl: it is computed whenever it is asked", "")
            .help("leave it out; what its inputs say ends with their own");
    }
    let Some(reads) = resolved(world, view, at) else { return };
    for (index, input) in view.inputs().iter().enumerate() {
        let Some(read) = reads.iter().find(|read| read.name() == input.name()) else { continue };
        let online = view.online_features();
        let of_online = online.iter().filter_map(|name| view.features.get(name));
        let named: Vec<String> = of_online.flat_map(|feature| feature.rule.columns()).collect();
        let mut needed: Vec<String> =
            read.features.iter().filter(|name| named.contains(&input.column(name))).cloned().collect();
        if !online.is_empty() {
            needed.extend(read.gives(&reads));
        }
        online_in(
            world,
            &input_at(at, index),
            &input.view,
            &needed,
            &format!(" by online features of `{}`", view.name),
        );
    }
}

/// A row of a Python view over views is computed at each moment of its inputs: these have to be moments of its entity.
fn in_python(world: &World<'_>, view: &FeatureView, at: &At<'_>) {
    if resolved(world, view, at).is_none() {
        return;
    }
    for (index, input) in view.inputs().iter().enumerate() {
        let (at, name) = (input_at(at, index), &input.view);
        if !of_entity(world, &view.entity, input) {
            at.error(
                210,
                format!(
                    "input `{name}` does not describe `{}` alone: not supported yet in Python",
                    view.entity
                ),
            )
            .help(format!(
                "read it in a view with `sql` features over `{name}`, for the model to take beside this one"
            ));
        } else if windowed(world, name) {
            at.error(404, format!("what `{}` makes of `{name}` does not decay with its windows", view.name))
                .help("Python is called when rows come in; write the features in `sql` to have them computed whenever they are asked")
                .warning();
        }
    }
}

/// Whether an input is read by the keys of an entity, and is itself computed from nothing else.
fn of_entity(world: &World<'_>, entity: &str, input: &InputView) -> bool {
    let own = |input: &InputView| {
        let of = world.objects.views.get(&input.view);
        of.is_none_or(|of| of.entity == entity) && input.keys.iter().all(|(key, name)| key == name)
    };
    let through = followed(world, &input.view);
    let derived = through.iter().filter_map(|name| world.objects.views.get(*name));
    let mut inputs = derived.filter(|view| !view.kind().stored()).flat_map(FeatureView::inputs);
    own(input) && inputs.all(own)
}

/// Whether a view says something else when time passes, without a row.
fn windowed(world: &World<'_>, view: &str) -> bool {
    followed(world, view).into_iter().any(|view| world.objects.view_kind(view) == Some(ViewKind::Windows))
}

/// A view and, where it holds nothing, those that it is computed from whenever it is asked. Ends in a circle, too.
fn followed<'w>(world: &World<'w>, view: &'w str) -> IndexSet<&'w str> {
    let mut followed = IndexSet::from([view]);
    let mut next = 0;
    while let Some(name) = followed.get_index(next).copied() {
        next += 1;
        if let Some(view) = world.objects.views.get(name).filter(|view| !view.kind().stored()) {
            followed.extend(view.input_views());
        }
    }
    followed
}

/// How the inputs are read; what stands against it is reported.
fn resolved(world: &World<'_>, view: &FeatureView, at: &At<'_>) -> Option<Vec<HydrationRead>> {
    let entity = world.objects.entities.get(&view.entity)?;
    // A view that is computed from itself was reported as that.
    let problems = match view.reads(entity, |input| find(world.objects, input)) {
        Ok(reads) => return Some(reads),
        Err(problems) => problems,
    };
    let input = |name: &str| view.inputs().iter().position(|input| input.name() == name);
    for problem in problems {
        let (Unresolved::Key { view: name, .. }
        | Unresolved::KeyType { view: name, .. }
        | Unresolved::TooDeep { view: name }) = &problem;
        let Some(index) = input(name) else { continue };
        let at = input_at(at, index);
        let of = &view.inputs()[index].view;
        let owner = world.objects.views.get(of).map(|view| view.entity.as_str());
        if world.broken(ObjectKind::View, of)
            || owner.is_none_or(|owner| world.broken(ObjectKind::Entity, owner))
        {
            continue;
        }
        match &problem {
            Unresolved::Key { key, sought, .. } => {
                at.error(308, format!("key `{key}` of input `{name}` is looked for as `{sought}`, which is neither a key of entity `{}` nor a feature of another input", view.entity))
                    .help(format!("say where it is found: `{{ view: {of}, keys: {{ {key}: NAME }} }}`"));
            }
            Unresolved::KeyType { key, expected, found, .. } => {
                at.error(
                    304,
                    format!(
                        "key `{key}` of input `{name}` is {expected}, but what is found for it is {found}"
                    ),
                );
            }
            Unresolved::TooDeep { .. } => {
                at.error(309, format!("input `{name}` could only be read in a third round"))
                    .help("two rounds are the most; bring its key into an input that is read earlier");
            }
        }
    }
    None
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
        if !path.contains(&input) {
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
