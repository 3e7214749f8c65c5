//! All declared objects of a project, by name, and what can be asked of them.
//!
//! Built by [`crate::load`] after every reference was proven, or read back from the catalog's JSON; so the
//! queries here take names that exist and answer `None` only for names that do not.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    Entity, FeatureView, Hydration, Label, Model, Monitor, Notifier, Pipeline, Project, Source, Type,
    ViewKind,
};

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

impl Objects {
    /// Every object in a fixed order: project, entities, sources, views, labels, models, monitors,
    /// notifiers, pipelines; each in declared order.
    pub fn definitions(&self) -> Vec<Definition> {
        todo!()
    }

    /// The reverse of [`Self::definitions`].
    ///
    /// # Errors
    /// A body that is not of its kind's form.
    pub fn from_definitions(
        _definitions: impl IntoIterator<Item = Definition>,
    ) -> Result<Self, serde_json::Error> {
        todo!()
    }

    /// How a view is computed.
    pub fn view_kind(&self, _view: &str) -> Option<ViewKind> {
        todo!()
    }

    /// Key columns of the view's entity, then its features, with their types.
    pub fn view_columns(&self, _view: &str) -> Option<IndexMap<String, Type>> {
        todo!()
    }

    /// Features of a view that are online, in the view's order; empty where none is.
    pub fn online_features(&self, _view: &str) -> Vec<String> {
        todo!()
    }

    /// How a model's entity key becomes its vector.
    pub fn hydration(&self, _model: &str) -> Option<Hydration> {
        todo!()
    }

    /// Objects that name this one directly.
    pub fn used_by(&self, _object: &ObjectRef) -> Vec<ObjectRef> {
        todo!()
    }

    /// Objects that this one names directly.
    pub fn uses(&self, _object: &ObjectRef) -> Vec<ObjectRef> {
        todo!()
    }

    /// Views in an order in which each comes after its inputs.
    pub fn views_in_order(&self) -> Vec<String> {
        todo!()
    }

    /// The given views and all they are computed from, in an order in which each comes after its inputs.
    pub fn views_with_inputs(&self, _views: &[String]) -> Vec<String> {
        todo!()
    }

    /// Views among these, and among what they are computed from, that are declared `leak: allow`.
    pub fn leaks(&self, _views: &[String]) -> Vec<String> {
        todo!()
    }
}
