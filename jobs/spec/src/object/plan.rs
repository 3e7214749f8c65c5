//! What one version of a view is: everything that its values depend on.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Entity, Feature, FeatureView, HydrationRead, Rule, Source, ViewInput};
use crate::{Objects, units::format_duration};

/// A view with everything that its values depend on, as it was declared when the version was made. What reads or computes
/// the version looks up nothing by name: the project may have changed since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The view.
    pub definition: FeatureView,
    /// The entity it describes.
    pub entity: Entity,
    /// The source it reads; `None` for a derived view.
    #[serde(default)]
    pub source: Option<Source>,
    /// The version of each view that it reads, in declared order; empty over a source.
    #[serde(default)]
    pub inputs: IndexMap<String, i32>,
    /// The plans of these versions, by view. Not stored with the plan: whoever reads versions fills them in.
    #[serde(skip)]
    pub over: IndexMap<String, Plan>,
    /// Hash of all project code that its Python function reaches; `None` without one.
    #[serde(default)]
    pub code: Option<String>,
}

impl Plan {
    /// `definition` as it stands among `objects`, over the versions of its inputs that `version_of` knows; `None` if its
    /// entity, its source or one of its inputs is not there.
    pub fn of(
        objects: &Objects,
        definition: &FeatureView,
        version_of: impl Fn(&str) -> Option<i32>,
        code: Option<String>,
    ) -> Option<Self> {
        Self::among(objects, definition, &version_of, code)
    }

    fn among(
        objects: &Objects,
        definition: &FeatureView,
        version_of: &dyn Fn(&str) -> Option<i32>,
        code: Option<String>,
    ) -> Option<Self> {
        let source = match &definition.input {
            ViewInput::Source(name) => Some(objects.sources.get(name)?.clone()),
            ViewInput::Views(_) => None,
        };
        let (mut inputs, mut over) = (IndexMap::new(), IndexMap::new());
        for name in definition.input_views() {
            inputs.insert(name.to_owned(), version_of(name)?);
            over.insert(name.to_owned(), Self::among(objects, objects.views.get(name)?, version_of, None)?);
        }
        let entity = objects.entities.get(&definition.entity)?.clone();
        Some(Self { definition: definition.clone(), entity, source, inputs, over, code })
    }

    /// The reads that a view over views is computed from, each after those that give its keys, with the features that it
    /// needs of them; none over a source.
    pub fn reads(&self) -> Vec<HydrationRead> {
        let find = |view: &str| self.over.get(view).map(|plan| (&plan.definition, &plan.entity));
        // What can't be resolved was refused when it was declared.
        self.definition.reads(&self.entity, find).unwrap_or_default()
    }
}

impl Plan {
    /// What of the plan is not as it was `before`, a phrase each, as far as it changes values or where they lie.
    pub fn differences(&self, before: &Self) -> Vec<String> {
        let (now, then) = (&self.definition, &before.definition);
        let mut told = Vec::new();
        let mut changed = |what: &str, then: String, now: String| {
            if then != now {
                told.push(format!("{what}: {then} → {now}"));
            }
        };
        changed("entity", then.entity.clone(), now.entity.clone());
        changed("keys", names(before.entity.keys.keys()), names(self.entity.keys.keys()));
        changed("ttl", duration(then.ttl), duration(now.ttl));
        changed("online", names(then.online_features().iter()), names(now.online_features().iter()));
        changed("python", or_none(then.python.as_ref()), or_none(now.python.as_ref()));
        told.extend(self.features_changed(before));
        told.extend(self.input_changed(before));
        if now.python == then.python && self.code != before.code {
            told.push("its code has changed".to_owned());
        }
        told
    }

    fn features_changed(&self, before: &Self) -> Vec<String> {
        let (now, then) = (&self.definition.features, &before.definition.features);
        let of_new = now.iter().filter_map(|(name, feature)| match then.get(name) {
            None => Some(format!("`{name}` is new")),
            Some(old) if old == feature => None,
            Some(old) => Some(format!("`{name}`: {}", feature.difference(old))),
        });
        let gone =
            then.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("`{name}` is gone"));
        of_new.chain(gone).collect()
    }

    fn input_changed(&self, before: &Self) -> Vec<String> {
        let mut told = Vec::new();
        for (input, version) in &self.inputs {
            match before.inputs.get(input) {
                Some(then) if then == version => {}
                Some(then) => told.push(format!("reads {input} v{version} instead of v{then}")),
                None => told.push(format!("reads {input}")),
            }
        }
        let (Some(now), Some(then)) = (&self.source, &before.source) else { return told };
        if now.name != then.name {
            told.push(format!("source: {} → {}", then.name, now.name));
        }
        let mut changed = |what: &str, then: String, now: String| {
            if then != now {
                told.push(format!("`{what}` of its source: {then} → {now}"));
            }
        };
        changed("available_time", then.available_time.clone(), now.available_time.clone());
        changed("created_time", or_none(then.created_time.as_ref()), or_none(now.created_time.as_ref()));
        changed("deleted", or_none(then.deleted.as_ref()), or_none(now.deleted.as_ref()));
        changed("unique", names(then.unique.iter()), names(now.unique.iter()));
        changed("unique.newest", then.newest.to_string(), now.newest.to_string());
        for (name, column) in &now.columns {
            if let Some(old) = then.columns.get(name) {
                changed(name, old.ty.to_string(), column.ty.to_string());
            }
        }
        told
    }
}

impl Feature {
    fn difference(&self, before: &Self) -> String {
        match (&before.rule, &self.rule) {
            (Rule::Window { window: then, .. }, Rule::Window { window: now, .. }) if then != now => {
                format!("window {} → {}", duration(Some(*then)), duration(Some(*now)))
            }
            (Rule::Sql(then), Rule::Sql(now)) if then != now => format!("{then} → {now}"),
            (Rule::Last(then), Rule::Last(now)) if then != now => format!("last {then} → last {now}"),
            (then, now) if then == now && self.ty != before.ty => format!("{} → {}", before.ty, self.ty),
            (then, now) if then == now => "another default".to_owned(),
            _ => "another rule".to_owned(),
        }
    }
}

fn duration(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "none".to_owned(), format_duration)
}

fn or_none(text: Option<&String>) -> String {
    text.map_or_else(|| "none".to_owned(), Clone::clone)
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
