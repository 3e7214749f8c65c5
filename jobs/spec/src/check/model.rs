//! Models: whether the vector can be read by the entity's key alone.

use indexmap::IndexMap;

use super::{World, expression, names, view::mapped_keys};
use crate::{
    Element, Input, InputView, KeyOrigin, Model, ObjectKind, ObjectRef, Rule, Type,
    objects::{Unresolved, hydrate, row_of_model},
    yaml::fields::{At, list},
};

pub(super) fn model(world: &World<'_>, name: &str, at: &At<'_>) {
    let Some(model) = world.objects.models.get(name) else { return };
    world.refer(&at.find(&["entity"]), ObjectKind::Entity, &model.entity);
    let mut seen: Vec<String> = Vec::new();
    let mut once = |at: &At<'_>, column: String| {
        if seen.contains(&column) {
            at.error(316, format!("two inputs have a column `{column}`"))
                .help("a vector has each name once; a view that is read in a role, `{ view: VIEW, as: ROLE }`, names its columns after it");
        }
        seen.push(column);
    };
    for (index, input) in model.inputs.iter().enumerate() {
        let at = at.find(&["inputs", &index.to_string()]);
        match input {
            Input::Keys(keys) => {
                let columns = world.objects.entities.get(&model.entity).map(|entity| entity.keys.clone());
                let of = ObjectRef::new(ObjectKind::Entity, &model.entity);
                for (index, key) in keys.iter().enumerate() {
                    let at = at.find(&["keys", &index.to_string()]);
                    if let Some(columns) = &columns {
                        world.column(&at, &of, columns, key);
                    }
                    once(&at, key.clone());
                }
            }
            Input::View { view, features, role, keys } => {
                let read = InputView { view: view.clone(), role: role.clone(), keys: keys.clone() };
                view_input(world, &at, &read, features, &mut once);
            }
        }
    }
    for column in model.request.keys() {
        let at = at.find(&["request", column]);
        names::of_model(&at, "column", column);
        once(&at, column.clone());
    }
    for (name, ty) in &model.outputs {
        for (column, _) in ty.columns(name) {
            names::of_model(&at.find(&["outputs", name]), "output", &column);
        }
    }
    on_demand(world, model, at, &mut once);
    taken(world, model, at);
    masked(world, model, at);
    hydration(world, model, at);
}

/// What the log masks are columns that it has.
fn masked(world: &World<'_>, model: &Model, at: &At<'_>) {
    let mut columns = row_of_model(world.objects, model);
    columns.extend(model.on_demand.iter().map(|(name, feature)| (name.clone(), feature.ty)));
    columns.extend(model.outputs.iter().flat_map(|(name, ty)| ty.columns(name)));
    let of = ObjectRef::new(ObjectKind::Model, &model.name);
    for (index, name) in model.log.mask.iter().enumerate() {
        world.column(&at.find(&["log", "mask", &index.to_string()]), &of, &columns, name);
    }
}

/// What a vector is made of. A matrix of numbers has no place for a list; and a decimal would become a float without a
/// word.
fn taken(world: &World<'_>, model: &Model, at: &At<'_>) {
    let columns = row_of_model(world.objects, model);
    let named = |input: (usize, &Input)| {
        let at = at.find(&["inputs", &input.0.to_string()]);
        let names: Vec<String> = match input.1 {
            Input::Keys(keys) => keys.clone(),
            Input::View { view, features, role, .. } => {
                let read = InputView { view: view.clone(), role: role.clone(), ..InputView::default() };
                features.iter().map(|feature| read.column(feature)).collect()
            }
        };
        names.into_iter().map(move |name| (at.clone(), name))
    };
    let of_inputs = model.inputs.iter().enumerate().flat_map(named);
    let given = model.request.keys().map(|name| (at.find(&["request", name]), name.clone()));
    let computed = model.on_demand.keys().map(|name| (at.find(&["on_demand", name, "type"]), name.clone()));
    for (at, name) in of_inputs.chain(given).chain(computed) {
        let computed = model.on_demand.get(&name).map(|feature| feature.ty);
        let Some(ty) = computed.or_else(|| columns.get(&name).copied()) else { continue };
        if let Some(help) = refused(&model.runtime, ty) {
            at.error(
                318,
                format!("`{name}` is {ty}, which a model with runtime {} does not take", model.runtime),
            )
            .help(help);
        }
    }
}

/// What to do where a runtime does not take a type as an input; none: it takes it.
fn refused(runtime: &str, ty: Type) -> Option<&'static str> {
    let numbers = matches!(ty.element(), Some(Type::Int | Type::Float | Type::Bool));
    match (ty, runtime) {
        (Type::Decimal(_), _) => Some(
            "models compute in floats: declare a feature for it, `{ type: float, sql: CAST(amount AS DOUBLE) }`",
        ),
        (Type::List { of: Element::Decimal(_), .. }, _) => Some(
            "models compute in floats: declare a feature of floats for it, `{ type: \"float[]\", sql: … }`",
        ),
        (Type::List { length: Some(_), .. }, "onnx") if numbers => None,
        (Type::List { .. }, "onnx") => {
            Some("onnx takes lists of numbers with a fixed length, such as `float[64]`")
        }
        (Type::List { .. }, "lightgbm" | "xgboost") => Some(
            "trees take single values: declare features computed of it, such as `{ type: int, sql: len(words) }`, or use runtime sklearn or python",
        ),
        _ => None,
    }
}

/// Features that are computed from the rest of the row.
fn on_demand(world: &World<'_>, model: &Model, at: &At<'_>, once: &mut impl FnMut(&At<'_>, String)) {
    let columns = row_of_model(world.objects, model);
    let views = model.inputs.iter().filter_map(|input| match input {
        Input::View { view, .. } => Some(view),
        Input::Keys(_) => None,
    });
    let whole = views.into_iter().all(|view| !world.broken(ObjectKind::View, view));
    let lacks = format!("neither keys, inputs nor request of model `{}` have a column", model.name);
    let row = expression::Row { lacks, columns: &columns, whole };
    for (name, feature) in &model.on_demand {
        let at = at.find(&["on_demand", name]);
        names::of_model(&at, "feature", name);
        once(&at, name.clone());
        if world.objects.entities.get(&model.entity).is_some_and(|entity| entity.keys.contains_key(name)) {
            at.key_error(316, format!("`{name}` is a key of entity `{}`", model.entity), "")
                .help("give the computed feature a name of its own");
        }
        if let Rule::Sql(sql) = &feature.rule {
            expression::sql(world, &at.find(&["sql"]), sql, &row, feature.ty, true);
        }
    }
}

fn view_input(
    world: &World<'_>,
    at: &At<'_>,
    read: &InputView,
    features: &[String],
    once: &mut impl FnMut(&At<'_>, String),
) {
    let view = &read.view;
    let long = at.node.get("view").is_some_and(|entry| entry.value.text().is_some());
    let listed = at.find(&[if long { "features" } else { view.as_str() }]);
    let name_at = At { node: at.node, key_span: listed.key_span, ..at.clone() };
    let name_at = if long { at.find(&["view"]) } else { name_at };
    if !world.refer(&name_at, ObjectKind::View, view) {
        return;
    }
    mapped_keys(world, at, read);
    let Some(declared) = world.objects.views.get(view) else { return };
    let of = ObjectRef::new(ObjectKind::View, view);
    let columns: IndexMap<String, Type> =
        declared.features.iter().map(|(name, feature)| (name.clone(), feature.ty)).collect();
    for (index, feature) in features.iter().enumerate() {
        let at = listed.find(&[&index.to_string()]);
        world.column(&at, &of, &columns, feature);
        if read.role.is_some() {
            names::of_model(&at, "feature", &read.column(feature));
        }
        once(&at, read.column(feature));
    }
}

fn hydration(world: &World<'_>, model: &Model, at: &At<'_>) {
    let inputs = at.find(&["inputs"]);
    let place = |view: &str| {
        let index = model
            .inputs
            .iter()
            .position(|input| matches!(input, Input::View { view: name, role, .. } if role.as_ref().unwrap_or(name) == view));
        let input = index.map_or(inputs.clone(), |index| inputs.find(&[&index.to_string()]));
        let named = input.find(&[view]);
        At { node: input.node, key_span: named.key_span, ..input }
    };
    match hydrate(world.objects, model) {
        Ok(plan) => {
            for read in plan.rounds.iter().flatten() {
                online(world, &place(read.name()), &read.view, &read.features, "");
                for origin in &read.keys {
                    if let KeyOrigin::Feature { view, feature } = origin
                        && let Some(giver) = plan.rounds.iter().flatten().find(|read| read.name() == view)
                    {
                        let why = format!(" as a key of `{}`", read.name());
                        online(world, &place(view), &giver.view, std::slice::from_ref(feature), &why);
                    }
                }
            }
        }
        Err(problems) => {
            for problem in problems {
                unresolved(world, model, &place, &problem);
            }
        }
    }
}

/// One mistake for each view, however many of its features are read.
pub(super) fn online(world: &World<'_>, at: &At<'_>, view: &str, features: &[String], why: &str) {
    let Some(declared) = world.objects.views.get(view) else { return };
    let online = declared.online_features();
    let missing = |feature: &&String| declared.features.contains_key(*feature) && !online.contains(*feature);
    let missing: Vec<&str> = features.iter().filter(missing).map(String::as_str).collect();
    let verb = match missing.len() {
        0 => return,
        1 => "is",
        _ => "are",
    };
    at.error(310, format!("{} of view `{view}` {verb} read{why}, but {verb} not online", list(&missing)))
        .help(format!("add to `online` of view `{view}`: `online: true`, or list {}", list(&missing)));
}

fn unresolved<'a>(world: &World<'_>, model: &Model, place: &impl Fn(&str) -> At<'a>, problem: &Unresolved) {
    let broken = |name: &str| {
        let named = |input: &&Input| matches!(input, Input::View { view, role, .. } if role.as_ref().unwrap_or(view) == name);
        let Some(Input::View { view, .. }) = model.inputs.iter().find(named) else { return false };
        let entity = world.objects.views.get(view).map(|view| view.entity.as_str());
        world.broken(ObjectKind::View, view)
            || entity.is_none_or(|entity| world.broken(ObjectKind::Entity, entity))
            || world.broken(ObjectKind::Entity, &model.entity)
    };
    match problem {
        Unresolved::Key { view, key, sought } if !broken(view) => {
            let message = format!(
                "key `{key}` of view `{view}` is found neither in the request nor in a view read before"
            );
            let message = if sought == key {
                message
            } else {
                format!("{message}, where it is looked for as `{sought}`")
            };
            let help = format!(
                "give an input view that is read first a feature `{sought}`, or add it to `request`, or name another column: `keys: {{ {key}: NAME }}`"
            );
            place(view).error(308, message).help(help);
        }
        Unresolved::KeyType { view, key, expected, found } if !broken(view) => {
            let message = format!(
                "key `{key}` of view `{view}` is {expected}, but what is found under that name is {found}"
            );
            place(view).error(304, message);
        }
        Unresolved::TooDeep { view } => {
            place(view)
                .error(309, format!("view `{view}` could only be read in a third round"))
                .help("two round trips are the most; bring its key into a view that is read earlier");
        }
        Unresolved::Key { .. } | Unresolved::KeyType { .. } => {}
    }
}
