//! Columns that tables have of their own, and those of a training set, which all need names of their own.

use indexmap::IndexMap;

use super::World;
use crate::{
    Feature, Input, Label, ObjectKind, Rule,
    object::column_of,
    reserved::taken,
    yaml::{Data, fields::At},
};

/// A feature may not be called as a column that is there without it.
pub(super) fn feature(at: &At<'_>, view: &str, name: &str, feature: &Feature) {
    let Some(whose) = taken(name) else { return };
    let ty = feature.ty;
    let help = match &feature.rule {
        Rule::Last(column) => format!("rename it: `{view}_{name}: {{ type: {ty}, last: {column} }}`"),
        _ => format!("rename it, e.g. `{view}_{name}`"),
    };
    at.key_error(209, format!("feature `{name}` would clash: {whose} has a column of that name"), "")
        .help(help);
}

/// A model's log has its row and its answers beside the columns of every table. Keys and features under names of their own
/// were said where they are declared.
pub(super) fn of_model(at: &At<'_>, what: &str, name: &str) {
    let Some(whose) = taken(name) else { return };
    at.key_error(209, format!("{what} `{name}` would clash: {whose} has a column of that name"), "")
        .help("rename it");
}

/// A label's answer stands beside its entity's keys, its times, and the features.
pub(super) fn label(world: &World<'_>, at: &At<'_>, label: &Label) {
    let keys = world.objects.entities.get(&label.entity).map(|entity| &entity.keys);
    let name = &label.name;
    if let Some(whose) = taken(name) {
        at.error(209, format!("label `{name}` would clash: {whose} has a column of that name"))
            .help("rename it");
    } else if keys.is_some_and(|keys| keys.contains_key(name)) {
        at.error(316, format!("label `{name}` has the name of a key of entity `{}`", label.entity))
            .help("both are columns of a training set; rename the label");
    }
}

/// The columns of a training set, by the step that builds it: keys and answer of the label, then all features.
pub(super) fn dataset(world: &World<'_>, with: &At<'_>) {
    let at = with.find(&["label"]);
    let Some(label) = at.node.text().and_then(|name| world.objects.labels.get(name)) else { return };
    let keys = world.objects.entities.get(&label.entity).into_iter().flat_map(|entity| entity.keys.keys());
    let mut whose: IndexMap<&str, String> =
        keys.map(|key| (key.as_str(), format!("key `{key}` of entity `{}`", label.entity))).collect();
    whose.insert(&label.name, format!("label `{}`", label.name));
    let inputs = with.find(&["inputs"]);
    match &inputs.node.data {
        Data::Scalar { text, .. } => {
            let model = world.objects.models.get(text);
            for input in model.into_iter().flat_map(|model| &model.inputs) {
                // Two inputs of one name are the model's own mistake.
                if let Input::View { view, features, role, .. } = input {
                    for name in features {
                        unlike(world, &inputs, &whose, view, &column_of(role.as_deref(), name));
                    }
                }
            }
        }
        Data::List(views) => {
            let named: Vec<&str> = views.iter().map(|view| view.text().unwrap_or_default()).collect();
            for (index, name) in named.iter().enumerate() {
                let at = inputs.find(&[&index.to_string()]);
                if !name.is_empty() && named[..index].contains(name) {
                    at.error(316, format!("view `{name}` is named twice")).help("name each view once");
                    continue;
                }
                let Some((view, declared)) = world.objects.views.get_key_value(*name) else { continue };
                for name in declared.features.keys() {
                    unlike(world, &at, &whose, view, name);
                    whose.entry(name).or_insert_with(|| format!("a feature of view `{view}`"));
                }
            }
        }
        Data::Map(_) => {}
    }
}

fn unlike(world: &World<'_>, at: &At<'_>, whose: &IndexMap<&str, String>, view: &str, feature: &str) {
    let Some(other) = whose.get(feature) else { return };
    // That a feature is called as a key of its own entity was said in the view.
    let entity = world.objects.views.get(view).map(|view| &view.entity);
    let keys = entity.and_then(|entity| world.objects.entities.get(entity)).map(|entity| &entity.keys);
    if world.broken(ObjectKind::View, view) || keys.is_some_and(|keys| keys.contains_key(feature)) {
        return;
    }
    at.error(
        316,
        format!(
            "two columns of the training set are called `{feature}`: {other}, and a feature of view `{view}`"
        ),
    )
    .help("rename one of them, or name a model whose inputs leave the feature out");
}
