//! Objects as the catalog keeps them: one JSON body each, with a hash of what it means.

use std::fmt::Write as _;

use indexmap::IndexMap;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::{Definition, ObjectKind, ObjectRef, Objects};

impl Objects {
    /// Every object in a fixed order: project, entities, sources, views, labels, models, monitors,
    /// notifiers, pipelines; each in declared order.
    pub fn definitions(&self) -> Vec<Definition> {
        let mut all = Vec::new();
        all.extend(definition(ObjectKind::Project, &self.project.name, &self.project));
        collect(&mut all, ObjectKind::Entity, &self.entities);
        collect(&mut all, ObjectKind::Source, &self.sources);
        collect(&mut all, ObjectKind::View, &self.views);
        collect(&mut all, ObjectKind::Label, &self.labels);
        collect(&mut all, ObjectKind::Model, &self.models);
        collect(&mut all, ObjectKind::Monitor, &self.monitors);
        collect(&mut all, ObjectKind::Notifier, &self.notifiers);
        collect(&mut all, ObjectKind::Pipeline, &self.pipelines);
        all
    }

    /// The reverse of [`Self::definitions`].
    ///
    /// # Errors
    /// A body that is not of its kind's form.
    pub fn from_definitions(
        definitions: impl IntoIterator<Item = Definition>,
    ) -> Result<Self, serde_json::Error> {
        let mut objects = Self::default();
        for Definition { object: ObjectRef { kind, name }, body, .. } in definitions {
            match kind {
                ObjectKind::Project => objects.project = serde_json::from_value(body)?,
                ObjectKind::Entity => insert(&mut objects.entities, name, body)?,
                ObjectKind::Source => insert(&mut objects.sources, name, body)?,
                ObjectKind::View => insert(&mut objects.views, name, body)?,
                ObjectKind::Label => insert(&mut objects.labels, name, body)?,
                ObjectKind::Model => insert(&mut objects.models, name, body)?,
                ObjectKind::Monitor => insert(&mut objects.monitors, name, body)?,
                ObjectKind::Notifier => insert(&mut objects.notifiers, name, body)?,
                ObjectKind::Pipeline => insert(&mut objects.pipelines, name, body)?,
            }
        }
        Ok(objects)
    }
}

fn collect<T: Serialize>(all: &mut Vec<Definition>, kind: ObjectKind, objects: &IndexMap<String, T>) {
    all.extend(objects.iter().filter_map(|(name, object)| definition(kind, name, object)));
}

fn insert<T: DeserializeOwned>(
    objects: &mut IndexMap<String, T>,
    name: String,
    body: Json,
) -> Result<(), serde_json::Error> {
    objects.insert(name, serde_json::from_value(body)?);
    Ok(())
}

/// `None` cannot happen: the objects hold nothing that JSON lacks, as a test proves.
fn definition<T: Serialize>(kind: ObjectKind, name: &str, object: &T) -> Option<Definition> {
    let body = serde_json::to_value(object).ok()?;
    let hash = hash(&body);
    Some(Definition { object: ObjectRef::new(kind, name), body, hash })
}

/// sha256 of the body without `meta` and without what is empty, so that a field added later, left at its
/// default, changes no hash. The order of maps counts: it is the order of columns.
fn hash(body: &Json) -> String {
    let mut meaning = body.clone();
    if let Json::Object(fields) = &mut meaning {
        fields.shift_remove("meta");
    }
    prune(&mut meaning);
    let digest = Sha256::digest(meaning.to_string());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn prune(json: &mut Json) {
    match json {
        Json::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !empty(value));
        }
        Json::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn empty(json: &Json) -> bool {
    match json {
        Json::Null | Json::Bool(false) => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
