//! Which views a training set reads, and how their keys are found. The decision is pure ([`hydration_of_views`]).
//!
//! A key's value comes from the label's own entity key or from a feature that was itself read as of the label's
//! moment, never from the label's row: what that row holds beyond its key was known later.

use std::collections::BTreeMap;

use indexmap::{IndexMap, map::Entry};
use tidemill_catalog::{Catalog, ViewState, ViewVersion};
use tidemill_offline::View;
use tidemill_spec::{Hydration, HydrationRead, KeyOrigin, Objects, Type, steps::DatasetInputs};

use crate::Error;

/// What is joined to the labels.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The model whose inputs were asked for.
    pub model: Option<String>,
    /// Reads in order, and the columns they give.
    pub hydration: Hydration,
    /// Columns that only a caller knows: the labels must have them.
    pub request: IndexMap<String, Type>,
    /// The version read of each view, by name.
    pub views: BTreeMap<String, View>,
    /// Views read, or computed from, whose declared leak is allowed.
    pub leak_allowed: Vec<String>,
    /// Versions of views that must have reached the lake's head: those read and all they are computed from, but for those
    /// that hold nothing.
    pub waits_for: Vec<ViewVersion>,
}

impl Inputs {
    /// The vector's columns: what a model trained on the set takes.
    pub fn columns(&self) -> IndexMap<String, Type> {
        self.hydration.columns.iter().chain(&self.request).map(|(name, ty)| (name.clone(), *ty)).collect()
    }

    /// Resolves what was asked for against what is declared and the view versions in force.
    ///
    /// # Errors
    /// A name that isn't declared, a key that can't be found, or the database can't be reached.
    pub async fn resolve(
        catalog: &Catalog,
        objects: &Objects,
        asked: &DatasetInputs,
        label_columns: &[String],
    ) -> Result<Self, Error> {
        let (model, hydration, request) = match asked {
            DatasetInputs::Model(name) => {
                let hydration =
                    objects.hydration(name).ok_or_else(|| unknown("model", name, objects.models.keys()))?;
                let request = objects.models.get(name).map(|model| model.request.clone()).unwrap_or_default();
                (Some(name.clone()), hydration, request)
            }
            DatasetInputs::Views(views) => {
                (None, hydration_of_views(objects, views, label_columns)?, IndexMap::new())
            }
        };
        let names: Vec<String> = hydration.rounds.iter().flatten().map(|read| read.view.clone()).collect();
        let versions = catalog.view_versions(None).await?;
        let (mut views, mut waits_for) = (BTreeMap::new(), Vec::new());
        for name in &names {
            let current = current(&versions, objects, name)?;
            views.insert(name.clone(), View::of(&current.plan, current.version));
            current.with_inputs(&versions, &mut waits_for);
        }
        let stored = |version: &&ViewVersion| version.plan.definition.kind().stored();
        let waits_for = waits_for.into_iter().filter(stored).cloned().collect();
        Ok(Self { model, hydration, request, views, leak_allowed: objects.leaks(&names), waits_for })
    }

    /// The version read of each view.
    pub fn view_versions(&self) -> BTreeMap<String, i32> {
        self.views.iter().map(|(name, view)| (name.clone(), view.version)).collect()
    }
}

/// Reads features of views, in the order given: `view` for all of them, `view:feature` for one. A key is taken from the labels where they have a column of its name,
/// else from a feature of that name in a view that can be read before.
///
/// # Errors
/// A view that isn't declared or is named twice, a key that can't be found, or two features of one name.
pub fn hydration_of_views(
    objects: &Objects,
    views: &[String],
    label_columns: &[String],
) -> Result<Hydration, Error> {
    let mut columns = IndexMap::new();
    let mut wanted: IndexMap<String, Vec<String>> = IndexMap::new();
    for (place, asked) in views.iter().enumerate() {
        let view = asked.split(':').next();
        // A view's name alone stands for all its features.
        if views[..place].iter().any(|other| other == asked || Some(other.as_str()) == view) {
            return Err(Error::NamedTwice(asked.clone()));
        }
        let (name, feature) =
            asked.split_once(':').map_or((asked.as_str(), None), |(name, feature)| (name, Some(feature)));
        let view = objects.views.get(name).ok_or_else(|| unknown("view", name, objects.views.keys()))?;
        let features: Vec<&String> = match feature {
            None => view.features.keys().collect(),
            Some(one) => match view.features.get_key_value(one) {
                Some((known, _)) => vec![known],
                None => return Err(unknown("feature", asked, view.features.keys())),
            },
        };
        for feature in features {
            match columns.entry(feature.clone()) {
                Entry::Vacant(place) => place.insert(view.features[feature].ty),
                Entry::Occupied(_) => return Err(Error::DoubleColumn(feature.clone())),
            };
            wanted.entry(name.to_owned()).or_default().push(feature.clone());
        }
    }
    let mut rounds: Vec<Vec<HydrationRead>> = Vec::new();
    let mut waiting: Vec<&String> = wanted.keys().collect();
    while !waiting.is_empty() {
        let read: Vec<&str> = rounds.iter().flatten().map(|read| read.view.as_str()).collect();
        let found = waiting.iter().map(|view| (*view, keys_of(objects, view, label_columns, &read)));
        let (ready, later): (Vec<_>, Vec<_>) = found.partition(|(_, keys)| keys.is_ok());
        if ready.is_empty() {
            let missing = later.into_iter().find_map(|(view, keys)| Some((view.clone(), keys.err()?)));
            let (view, key) = missing.unwrap_or_default();
            return Err(Error::UnresolvedKey { view, key });
        }
        waiting = later.into_iter().map(|(view, _)| view).collect();
        let reads = ready.into_iter().filter_map(|(view, keys)| {
            let features = wanted[view].clone();
            Some(HydrationRead { view: view.clone(), role: None, keys: keys.ok()?, features })
        });
        rounds.push(reads.collect());
    }
    Ok(Hydration { rounds, columns, ..Hydration::default() })
}

/// Where each key of a view comes from, or the key that can't be found.
fn keys_of(
    objects: &Objects,
    view: &str,
    label_columns: &[String],
    read: &[&str],
) -> Result<Vec<KeyOrigin>, String> {
    let entity = objects.views.get(view).and_then(|view| objects.entities.get(&view.entity));
    let keys = entity.into_iter().flat_map(|entity| entity.keys.keys());
    keys.map(|key| {
        if label_columns.contains(key) {
            return Ok(KeyOrigin::Request(key.clone()));
        }
        let has =
            |name: &&&str| objects.views.get(**name).is_some_and(|view| view.features.contains_key(key));
        let origin = read.iter().find(has).ok_or_else(|| key.clone())?;
        Ok(KeyOrigin::Feature { view: (*origin).to_owned(), feature: key.clone() })
    })
    .collect()
}

/// The version of a view that is read.
pub(crate) fn current<'v>(
    versions: &'v [ViewVersion],
    objects: &Objects,
    view: &str,
) -> Result<&'v ViewVersion, Error> {
    let current = versions.iter().find(|it| it.view == *view && it.state == ViewState::Current);
    current.ok_or_else(|| unknown("view", view, objects.views.keys()))
}

pub(crate) fn unknown<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    Error::Unknown { kind, name: name.to_owned(), known: known.cloned().collect() }
}

#[cfg(test)]
mod tests {
    use tidemill_spec::{LoadOptions, diagnostic::SourceFile, load_files};

    use super::*;

    const PROJECT: &str = "
apiVersion: tidemill/v1
kind: Project
name: test
---
apiVersion: tidemill/v1
kind: Entity
name: user
keys: { user_id: int }
---
apiVersion: tidemill/v1
kind: Source
name: events
columns: { user_id: int, at: timestamp, fare: float }
event_time: at
---
apiVersion: tidemill/v1
kind: FeatureView
name: plain
entity: user
source: events
features: { fare: float }
";

    #[test]
    fn what_is_named_twice_is_said_to_be() {
        let file = SourceFile { path: "tidemill.yaml".to_owned(), text: PROJECT.to_owned() };
        let objects = load_files(vec![file], &LoadOptions::default()).objects;
        for asked in [["plain", "plain"], ["plain", "plain:fare"], ["plain:fare", "plain:fare"]] {
            let asked = asked.map(str::to_owned);
            let error = hydration_of_views(&objects, &asked, &[]).unwrap_err();
            let expected = format!("[TM0813] `{}` is named twice", asked[1]);
            assert_eq!(error.fault().to_string(), expected);
        }
    }
}
