//! How a model's entity key becomes its vector: which views are read in which round, and where each key is found.
//!
//! A view's key columns are looked up by name: first in the request, then in the values of views already read.

use indexmap::IndexMap;

use super::Objects;
use crate::{Hydration, HydrationRead, Input, KeyOrigin, Model, Type};

/// Reads that may follow one another.
const MAX_ROUNDS: usize = 2;

/// Why a model's vector cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Unresolved {
    /// No request column and no feature read before has the name of a view's key.
    Key { view: String, key: String },
    /// A column of that name is there, but of another type.
    KeyType { view: String, key: String, expected: Type, found: Type },
    /// It would take a third round.
    TooDeep { view: String },
}

/// The plan, or everything that stands against it. Views that don't exist are left out; that is said elsewhere.
pub(crate) fn hydrate(objects: &Objects, model: &Model) -> Result<Hydration, Vec<Unresolved>> {
    let mut known: IndexMap<String, (KeyOrigin, Type)> = IndexMap::new();
    let request = objects.entities.get(&model.entity).map(|entity| &entity.keys).into_iter().flatten();
    for (name, ty) in request.chain(&model.request) {
        known.entry(name.clone()).or_insert((KeyOrigin::Request(name.clone()), *ty));
    }
    let mut waiting: Vec<(&String, &Vec<String>)> = reads(model);
    let mut rounds = Vec::new();
    loop {
        let (ready, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(view, _)| missing(objects, view, &known).is_empty());
        waiting = later;
        if ready.is_empty() {
            break;
        }
        let round: Vec<HydrationRead> =
            ready.iter().filter_map(|(view, features)| read(objects, view, features, &known)).collect();
        for (view, _) in ready {
            learn(objects, view, &mut known);
        }
        rounds.push(round);
    }
    let mut problems: Vec<Unresolved> =
        waiting.iter().flat_map(|(view, _)| missing(objects, view, &known)).collect();
    let deep = rounds.iter().skip(MAX_ROUNDS).flatten();
    problems.extend(deep.map(|read| Unresolved::TooDeep { view: read.view.clone() }));
    if problems.is_empty() {
        Ok(Hydration { rounds, columns: columns(objects, model) })
    } else {
        Err(problems)
    }
}

/// The views of a model's inputs with the features it takes, each view once.
fn reads(model: &Model) -> Vec<(&String, &Vec<String>)> {
    model
        .inputs
        .iter()
        .filter_map(|input| match input {
            Input::View { view, features } => Some((view, features)),
            Input::Keys(_) => None,
        })
        .collect()
}

fn missing(objects: &Objects, view: &str, known: &IndexMap<String, (KeyOrigin, Type)>) -> Vec<Unresolved> {
    let keys = objects.views.get(view).and_then(|declared| objects.entities.get(&declared.entity));
    let problem = |(key, expected): (&String, &Type)| match known.get(key) {
        None => Some(Unresolved::Key { view: view.to_owned(), key: key.clone() }),
        Some((_, found)) if found != expected => {
            let (view, key) = (view.to_owned(), key.clone());
            Some(Unresolved::KeyType { view, key, expected: *expected, found: *found })
        }
        Some(_) => None,
    };
    keys.into_iter().flat_map(|entity| &entity.keys).filter_map(problem).collect()
}

fn read(
    objects: &Objects,
    view: &str,
    features: &[String],
    known: &IndexMap<String, (KeyOrigin, Type)>,
) -> Option<HydrationRead> {
    let entity = objects.entities.get(&objects.views.get(view)?.entity)?;
    let keys =
        entity.keys.keys().filter_map(|key| known.get(key)).map(|(origin, _)| origin.clone()).collect();
    Some(HydrationRead { view: view.to_owned(), keys, features: features.to_vec() })
}

/// Every feature of a view that was read can be the key of the next; the request and earlier views go first.
fn learn(objects: &Objects, view: &str, known: &mut IndexMap<String, (KeyOrigin, Type)>) {
    for (name, feature) in objects.views.get(view).into_iter().flat_map(|declared| &declared.features) {
        let origin = KeyOrigin::Feature { view: view.to_owned(), feature: name.clone() };
        known.entry(name.clone()).or_insert((origin, feature.ty));
    }
}

/// The vector's columns: inputs in order, then the request's.
fn columns(objects: &Objects, model: &Model) -> IndexMap<String, Type> {
    let mut columns = IndexMap::new();
    for input in &model.inputs {
        match input {
            Input::Keys(keys) => {
                let entity = objects.entities.get(&model.entity);
                let typed = |key: &String| Some((key.clone(), *entity?.keys.get(key)?));
                columns.extend(keys.iter().filter_map(typed));
            }
            Input::View { view, features } => {
                let declared = objects.views.get(view);
                let typed = |name: &String| Some((name.clone(), declared?.features.get(name)?.ty));
                columns.extend(features.iter().filter_map(typed));
            }
        }
    }
    columns.extend(model.request.iter().map(|(name, ty)| (name.clone(), *ty)));
    columns
}
