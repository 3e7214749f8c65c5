//! What others ask of the declared objects.

use indexmap::{IndexMap, IndexSet};
use serde_json::Value as Json;

use super::{ObjectKind, ObjectRef, Objects, hydrate};
use crate::{
    Check, FeatureView, Hydration, Input, MonitorTarget, OnlineFeatures, Pipeline, Rule, Type, ViewInput,
    ViewKind,
};

impl FeatureView {
    /// How it is computed.
    pub fn kind(&self) -> ViewKind {
        match self.input {
            ViewInput::Views(_) => ViewKind::Derived,
            ViewInput::Source(_) if self.features.values().any(|f| matches!(f.rule, Rule::Window { .. })) => {
                ViewKind::Windows
            }
            ViewInput::Source(_) => ViewKind::Rows,
        }
    }

    /// Names of the features that are online, in the view's order.
    pub fn online_features(&self) -> Vec<String> {
        match &self.online {
            OnlineFeatures::None => Vec::new(),
            OnlineFeatures::All => self.features.keys().cloned().collect(),
            OnlineFeatures::Some(names) => {
                self.features.keys().filter(|name| names.contains(name)).cloned().collect()
            }
        }
    }

    /// The views it is computed from; none for a view over a source.
    pub fn input_views(&self) -> &[String] {
        match &self.input {
            ViewInput::Views(views) => views,
            ViewInput::Source(_) => &[],
        }
    }
}

impl Objects {
    /// How a view is computed.
    pub fn view_kind(&self, view: &str) -> Option<ViewKind> {
        self.views.get(view).map(FeatureView::kind)
    }

    /// Key columns of the view's entity, then its features, with their types.
    pub fn view_columns(&self, view: &str) -> Option<IndexMap<String, Type>> {
        let view = self.views.get(view)?;
        let keys = self.entities.get(&view.entity)?.keys.iter().map(|(name, ty)| (name.clone(), *ty));
        Some(keys.chain(view.features.iter().map(|(name, feature)| (name.clone(), feature.ty))).collect())
    }

    /// Features of a view that are online, in the view's order; empty where none is.
    pub fn online_features(&self, view: &str) -> Vec<String> {
        self.views.get(view).map(FeatureView::online_features).unwrap_or_default()
    }

    /// How a model's entity key becomes its vector.
    pub fn hydration(&self, model: &str) -> Option<Hydration> {
        hydrate(self, self.models.get(model)?).ok()
    }

    /// Objects that name this one directly.
    pub fn used_by(&self, object: &ObjectRef) -> Vec<ObjectRef> {
        self.refs().into_iter().filter(|other| self.uses(other).contains(object)).collect()
    }

    /// Every object but the project.
    fn refs(&self) -> Vec<ObjectRef> {
        fn named<T>(kind: ObjectKind, objects: &IndexMap<String, T>) -> impl Iterator<Item = ObjectRef> {
            objects.keys().map(move |name| ObjectRef::new(kind, name))
        }
        named(ObjectKind::Entity, &self.entities)
            .chain(named(ObjectKind::Source, &self.sources))
            .chain(named(ObjectKind::View, &self.views))
            .chain(named(ObjectKind::Label, &self.labels))
            .chain(named(ObjectKind::Model, &self.models))
            .chain(named(ObjectKind::Monitor, &self.monitors))
            .chain(named(ObjectKind::Notifier, &self.notifiers))
            .chain(named(ObjectKind::Pipeline, &self.pipelines))
            .collect()
    }

    /// Objects that this one names directly.
    pub fn uses(&self, object: &ObjectRef) -> Vec<ObjectRef> {
        let name = &object.name;
        let mut uses = IndexSet::new();
        let mut add = |kind, name: &str| drop(uses.insert(ObjectRef::new(kind, name)));
        match object.kind {
            ObjectKind::View => {
                for view in self.views.get(name) {
                    add(ObjectKind::Entity, &view.entity);
                    match &view.input {
                        ViewInput::Source(source) => add(ObjectKind::Source, source),
                        ViewInput::Views(views) => views.iter().for_each(|view| add(ObjectKind::View, view)),
                    }
                }
            }
            ObjectKind::Label => {
                for label in self.labels.get(name) {
                    add(ObjectKind::Entity, &label.entity);
                    add(ObjectKind::Source, &label.source);
                }
            }
            ObjectKind::Model => {
                for model in self.models.get(name) {
                    add(ObjectKind::Entity, &model.entity);
                    for input in &model.inputs {
                        if let Input::View { view, .. } = input {
                            add(ObjectKind::View, view);
                        }
                    }
                }
            }
            ObjectKind::Monitor => {
                for monitor in self.monitors.get(name) {
                    match &monitor.target {
                        MonitorTarget::Model(model) => add(ObjectKind::Model, model),
                        MonitorTarget::Source(source) => add(ObjectKind::Source, source),
                        MonitorTarget::View(view) => add(ObjectKind::View, view),
                    }
                    for check in &monitor.checks {
                        match check {
                            Check::LabelRate { label, .. } | Check::Auc { label, .. } => {
                                add(ObjectKind::Label, label)
                            }
                            Check::Freshness { object, .. } if self.sources.contains_key(object) => {
                                add(ObjectKind::Source, object);
                            }
                            Check::Freshness { object, .. } => add(ObjectKind::View, object),
                            _ => {}
                        }
                    }
                    monitor.notify.iter().for_each(|notifier| add(ObjectKind::Notifier, notifier));
                }
            }
            ObjectKind::Pipeline => {
                self.pipelines.get(name).iter().for_each(|pipeline| named_in(pipeline, &mut add));
            }
            ObjectKind::Project | ObjectKind::Entity | ObjectKind::Source | ObjectKind::Notifier => {}
        }
        uses.into_iter().collect()
    }

    /// Views in an order in which each comes after its inputs.
    pub fn views_in_order(&self) -> Vec<String> {
        let all: Vec<String> = self.views.keys().cloned().collect();
        self.views_with_inputs(&all)
    }

    /// The given views and all they are computed from, in an order in which each comes after its inputs.
    pub fn views_with_inputs(&self, views: &[String]) -> Vec<String> {
        let mut ordered = IndexSet::new();
        for view in views {
            self.visit(view, &mut Vec::new(), &mut ordered);
        }
        ordered.into_iter().collect()
    }

    fn visit(&self, name: &str, above: &mut Vec<String>, ordered: &mut IndexSet<String>) {
        let Some(view) = self.views.get(name) else { return };
        // A circle is a mistake that `check` reports; here it only must not hang.
        if ordered.contains(name) || above.iter().any(|other| other == name) {
            return;
        }
        above.push(name.to_owned());
        view.input_views().iter().for_each(|input| self.visit(input, above, ordered));
        above.pop();
        ordered.insert(name.to_owned());
    }

    /// Views among these, and among what they are computed from, that are declared `leak: allow`.
    pub fn leaks(&self, views: &[String]) -> Vec<String> {
        let allowed = |name: &String| self.views.get(name).is_some_and(|view| view.leak_allowed);
        self.views_with_inputs(views).into_iter().filter(allowed).collect()
    }
}

/// Objects that a pipeline's steps name outright, not by an expression.
fn named_in(pipeline: &Pipeline, add: &mut impl FnMut(ObjectKind, &str)) {
    for step in pipeline.steps.values() {
        for (argument, kind) in [
            ("label", ObjectKind::Label),
            ("model", ObjectKind::Model),
            ("view", ObjectKind::View),
            ("source", ObjectKind::Source),
        ] {
            if let Some(name) =
                step.with.get(argument).and_then(Json::as_str).filter(|name| !name.contains("${{"))
            {
                add(kind, name);
            }
        }
        match step.with.get("inputs") {
            Some(Json::String(model)) if !model.contains("${{") => add(ObjectKind::Model, model),
            Some(Json::Array(views)) => {
                views.iter().filter_map(Json::as_str).for_each(|view| add(ObjectKind::View, view));
            }
            _ => {}
        }
    }
}
