//! All declared objects of a project, by name, and what can be asked of them.
//!
//! Built by [`crate::load`] after every reference was proven, or read back from the catalog's JSON; so the
//! queries here take names that exist and answer `None` only for names that do not.

mod definition;
mod hydration;
mod queries;

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub(crate) use hydration::{Unresolved, find, hydrate, row as row_of_model};

use crate::{Entity, FeatureView, Label, Model, Monitor, Notifier, Pipeline, Project, Source};

/// Everything that one project declares, in the order of its files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Objects {
    /// The project itself.
    pub project: Project,
    /// Entities by name.
    #[serde(default)]
    pub entities: IndexMap<String, Entity>,
    /// Sources by name.
    #[serde(default)]
    pub sources: IndexMap<String, Source>,
    /// Feature views by name.
    #[serde(default)]
    pub views: IndexMap<String, FeatureView>,
    /// Labels by name.
    #[serde(default)]
    pub labels: IndexMap<String, Label>,
    /// Models by name.
    #[serde(default)]
    pub models: IndexMap<String, Model>,
    /// Monitors by name.
    #[serde(default)]
    pub monitors: IndexMap<String, Monitor>,
    /// Notifiers by name.
    #[serde(default)]
    pub notifiers: IndexMap<String, Notifier>,
    /// Pipelines by name.
    #[serde(default)]
    pub pipelines: IndexMap<String, Pipeline>,
}

/// What kinds of objects there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// The project.
    Project,
    /// An entity.
    Entity,
    /// A source.
    Source,
    /// A feature view.
    View,
    /// A label.
    Label,
    /// A model.
    Model,
    /// A monitor.
    Monitor,
    /// A notifier.
    Notifier,
    /// A pipeline.
    Pipeline,
}

impl ObjectKind {
    /// The word that output and the catalog use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Entity => "entity",
            Self::Source => "source",
            Self::View => "view",
            Self::Label => "label",
            Self::Model => "model",
            Self::Monitor => "monitor",
            Self::Notifier => "notifier",
            Self::Pipeline => "pipeline",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One declared object, printed as `view/aircraft_delay`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// Names an object.
    pub fn new(kind: ObjectKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// One object as the catalog stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Which object.
    pub object: ObjectRef,
    /// The object as JSON; its type's serde form.
    pub body: serde_json::Value,
    /// sha256 (hex) of what changes its meaning: all but description, owner and tags.
    pub hash: String,
}
