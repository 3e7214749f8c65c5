//! How keys become values of views: which views are read in which round, and where each key is found. For the vector of a
//! model, and for the inputs of a view over views.
//!
//! A view's key columns are looked up by name, or by the name that the reader gives for one: first among what was asked
//! with, then among the values of views already read.

use indexmap::IndexMap;

use super::Objects;
use crate::{
    Entity, FeatureView, Hydration, HydrationRead, Input, InputView, KeyOrigin, Model, OnDemand, Type,
    object::column_of,
};

/// Reads that may follow one another.
const MAX_ROUNDS: usize = 2;

/// Why a view cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Unresolved {
    /// Nothing that was asked with and no feature read before has the name under which a view's key is looked for.
    Key { view: String, key: String, sought: String },
    /// A column of that name is there, but of another type.
    KeyType { view: String, key: String, expected: Type, found: Type },
    /// It would take a third round.
    TooDeep { view: String },
}

/// What has a value so far, by name.
type Known = IndexMap<String, (KeyOrigin, Type)>;

/// A view to read, and what of it.
struct Wanted<'w> {
    view: &'w str,
    role: Option<&'w str>,
    keys: &'w IndexMap<String, String>,
    features: Vec<String>,
}

/// The plan, or everything that stands against it. Views that don't exist are left out; that is said elsewhere.
pub(crate) fn hydrate(objects: &Objects, model: &Model) -> Result<Hydration, Vec<Unresolved>> {
    let keys = objects.entities.get(&model.entity).map(|entity| &entity.keys).into_iter().flatten();
    let wanted = model.inputs.iter().filter_map(|input| match input {
        Input::View { view, features, role, keys } => {
            Some(Wanted { view, role: role.as_deref(), keys, features: features.clone() })
        }
        Input::Keys(_) => None,
    });
    let find = |view: &str| find(objects, view);
    let rounds = rounds(asked_with(keys.chain(&model.request)), wanted.collect(), find)?;
    let columns = columns(objects, model);
    let features = model.on_demand.clone();
    let on_demand = (!features.is_empty()).then(|| OnDemand { row: row(objects, model), features });
    Ok(Hydration { rounds, columns, on_demand })
}

/// Types of what the on-demand features of a model may read: keys, features of the inputs, and the request's columns.
pub(crate) fn row(objects: &Objects, model: &Model) -> IndexMap<String, Type> {
    let mut row = objects.entities.get(&model.entity).map(|entity| entity.keys.clone()).unwrap_or_default();
    row.extend(given(objects, model));
    row
}

/// A view and its entity among the objects.
pub(crate) fn find<'o>(objects: &'o Objects, view: &str) -> Option<(&'o FeatureView, &'o Entity)> {
    let view = objects.views.get(view)?;
    Some((view, objects.entities.get(&view.entity)?))
}

impl FeatureView {
    /// The reads of its inputs, each after those that give its keys, with the features that its rules name; or everything
    /// that stands against them. `find`: the views that it reads. None over a source.
    pub(crate) fn reads<'o>(
        &self,
        entity: &Entity,
        find: impl Fn(&str) -> Option<(&'o FeatureView, &'o Entity)>,
    ) -> Result<Vec<HydrationRead>, Vec<Unresolved>> {
        let named = self.columns();
        let wanted = self.inputs().iter().map(|input| {
            let features = find(&input.view).into_iter().flat_map(|(view, _)| view.features.keys());
            // A Python function is given whole rows.
            let used = |name: &&String| self.python.is_some() || named.contains(&input.column(name));
            let InputView { view, role, keys } = input;
            Wanted { view, role: role.as_deref(), keys, features: features.filter(used).cloned().collect() }
        });
        let rounds = rounds(asked_with(&entity.keys), wanted.collect(), &find)?;
        Ok(rounds.into_iter().flatten().collect())
    }
}

fn asked_with<'k>(columns: impl IntoIterator<Item = (&'k String, &'k Type)>) -> Known {
    let mut known = Known::new();
    for (name, ty) in columns {
        known.entry(name.clone()).or_insert((KeyOrigin::Request(name.clone()), *ty));
    }
    known
}

fn rounds<'o>(
    mut known: Known,
    mut waiting: Vec<Wanted<'_>>,
    find: impl Fn(&str) -> Option<(&'o FeatureView, &'o Entity)>,
) -> Result<Vec<Vec<HydrationRead>>, Vec<Unresolved>> {
    let mut rounds = Vec::new();
    loop {
        let resolved = |wanted: &Wanted<'_>| missing(wanted, find(wanted.view), &known).is_empty();
        let (ready, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(resolved);
        waiting = later;
        if ready.is_empty() {
            break;
        }
        let round: Vec<HydrationRead> =
            ready.iter().filter_map(|wanted| read(wanted, find(wanted.view)?.1, &known)).collect();
        for wanted in ready {
            learn(&wanted, find(wanted.view), &mut known);
        }
        rounds.push(round);
    }
    let mut problems: Vec<Unresolved> =
        waiting.iter().flat_map(|wanted| missing(wanted, find(wanted.view), &known)).collect();
    let deep = rounds.iter().skip(MAX_ROUNDS).flatten();
    problems.extend(deep.map(|read| Unresolved::TooDeep { view: read.name().to_owned() }));
    if problems.is_empty() { Ok(rounds) } else { Err(problems) }
}

impl Wanted<'_> {
    fn name(&self) -> &str {
        self.role.unwrap_or(self.view)
    }

    /// Under which name a key of its entity is looked for.
    fn sought<'s>(&'s self, key: &'s String) -> &'s String {
        self.keys.get(key).unwrap_or(key)
    }
}

fn missing(wanted: &Wanted<'_>, found: Option<(&FeatureView, &Entity)>, known: &Known) -> Vec<Unresolved> {
    let view = || wanted.name().to_owned();
    let problem = |(key, expected): (&String, &Type)| match known.get(wanted.sought(key)) {
        None => {
            let (key, sought) = (key.clone(), wanted.sought(key).clone());
            Some(Unresolved::Key { view: view(), key, sought })
        }
        Some((_, found)) if found != expected => {
            Some(Unresolved::KeyType { view: view(), key: key.clone(), expected: *expected, found: *found })
        }
        Some(_) => None,
    };
    found.into_iter().flat_map(|(_, entity)| &entity.keys).filter_map(problem).collect()
}

fn read(wanted: &Wanted<'_>, entity: &Entity, known: &Known) -> Option<HydrationRead> {
    let origin = |key| Some(known.get(wanted.sought(key))?.0.clone());
    Some(HydrationRead {
        view: wanted.view.to_owned(),
        keys: entity.keys.keys().map(origin).collect::<Option<_>>()?,
        features: wanted.features.clone(),
        role: wanted.role.map(str::to_owned),
    })
}

/// Every feature of a view that was read can be the key of the next; what was asked with and earlier views go first.
fn learn(wanted: &Wanted<'_>, found: Option<(&FeatureView, &Entity)>, known: &mut Known) {
    for (name, feature) in found.into_iter().flat_map(|(view, _)| &view.features) {
        let origin = KeyOrigin::Feature { view: wanted.name().to_owned(), feature: name.clone() };
        known.entry(column_of(wanted.role, name)).or_insert((origin, feature.ty));
    }
}

/// The vector's columns: inputs in order, then the request's, then those that are computed.
fn columns(objects: &Objects, model: &Model) -> IndexMap<String, Type> {
    let computed = model.on_demand.iter().map(|(name, feature)| (name.clone(), feature.ty));
    given(objects, model).into_iter().chain(computed).collect()
}

fn given(objects: &Objects, model: &Model) -> IndexMap<String, Type> {
    let mut columns = IndexMap::new();
    for input in &model.inputs {
        match input {
            Input::Keys(keys) => {
                let entity = objects.entities.get(&model.entity);
                let typed = |key: &String| Some((key.clone(), *entity?.keys.get(key)?));
                columns.extend(keys.iter().filter_map(typed));
            }
            Input::View { view, features, role, .. } => {
                let declared = objects.views.get(view);
                let typed = |name: &String| {
                    Some((column_of(role.as_deref(), name), declared?.features.get(name)?.ty))
                };
                columns.extend(features.iter().filter_map(typed));
            }
        }
    }
    columns.extend(model.request.iter().map(|(name, ty)| (name.clone(), *ty)));
    columns
}
