//! What others ask of the declared objects.

use std::time::Duration;

use indexmap::{IndexMap, IndexSet};
use serde_json::Value as Json;

use super::{ObjectKind, ObjectRef, Objects, hydrate};
use crate::{
    Check, FeatureView, Hydration, Input, InputView, Label, Model, Monitor, MonitorTarget, OnlineFeatures,
    Operand, Pipeline, Population, Rule, Type, ViewInput, ViewKind, expr::sql,
};

impl Rule {
    /// Columns of a row that it names, as it names them. Nothing of SQL that can't be read: `check` has said so before.
    pub fn columns(&self) -> Vec<String> {
        let of_sql = |expression: &String| sql::columns(expression).unwrap_or_default();
        match self {
            Self::Last(column) => vec![column.clone()],
            Self::Sql(expression) => of_sql(expression),
            Self::Window { of, condition, .. } => {
                let aggregated = match of {
                    None => Vec::new(),
                    Some(Operand::Column(column)) => vec![column.clone()],
                    Some(Operand::Sql(expression)) => of_sql(expression),
                };
                aggregated.into_iter().chain(condition.iter().flat_map(of_sql)).collect()
            }
            Self::Age | Self::Python => Vec::new(),
        }
    }
}

impl FeatureView {
    /// What rows whose calls end their process may cost one computation in all; past it the computation fails.
    pub fn call_patience(&self) -> Duration {
        (self.call_limit() * 3).max(Duration::from_mins(1))
    }

    /// The longest that one call of its Python function may take: 10 seconds for a row, a minute for a table, unless
    /// it is declared.
    pub fn call_limit(&self) -> Duration {
        self.timeout.unwrap_or(if self.batch { Duration::from_mins(1) } else { Duration::from_secs(10) })
    }

    /// Columns of its rows that its rules name, as they name them. A Python function is given whole rows, and names none.
    pub fn columns(&self) -> Vec<String> {
        self.features.values().flat_map(|feature| feature.rule.columns()).collect()
    }

    /// How it is computed.
    pub fn kind(&self) -> ViewKind {
        match self.input {
            ViewInput::Views(_) if self.python.is_some() => ViewKind::Snapshots,
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

    /// The views it reads, each as what and by which keys; none for a view over a source.
    pub fn inputs(&self) -> &[InputView] {
        match &self.input {
            ViewInput::Views(views) => views,
            ViewInput::Source(_) => &[],
        }
    }

    /// The views it is computed from, each once; none for a view over a source.
    pub fn input_views(&self) -> IndexSet<&str> {
        self.inputs().iter().map(|input| input.view.as_str()).collect()
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

    /// Objects that this one names directly, each once.
    pub fn uses(&self, object: &ObjectRef) -> Vec<ObjectRef> {
        let name = &object.name;
        let named = match object.kind {
            ObjectKind::View => self.views.get(name).map(of_view),
            ObjectKind::Label => self.labels.get(name).map(of_label),
            ObjectKind::Model => self.models.get(name).map(of_model),
            ObjectKind::Monitor => self.monitors.get(name).map(|monitor| self.of_monitor(monitor)),
            ObjectKind::Pipeline => self.pipelines.get(name).map(of_pipeline),
            ObjectKind::Project | ObjectKind::Entity | ObjectKind::Source | ObjectKind::Notifier => None,
        };
        named.into_iter().flatten().collect::<IndexSet<_>>().into_iter().collect()
    }

    fn of_monitor(&self, monitor: &Monitor) -> Vec<ObjectRef> {
        let mut named = vec![match &monitor.target {
            MonitorTarget::Model(model) => ObjectRef::new(ObjectKind::Model, model),
            MonitorTarget::Source(source) => ObjectRef::new(ObjectKind::Source, source),
            MonitorTarget::View(view) => ObjectRef::new(ObjectKind::View, view),
        }];
        named.extend(monitor.checks.iter().filter_map(|check| match check {
            Check::LabelRate { label, .. } | Check::Auc { label, .. } => {
                Some(ObjectRef::new(ObjectKind::Label, label))
            }
            Check::Freshness { object, .. } if self.sources.contains_key(object) => {
                Some(ObjectRef::new(ObjectKind::Source, object))
            }
            Check::Freshness { object, .. } => Some(ObjectRef::new(ObjectKind::View, object)),
            Check::Drift { .. } | Check::NullRate { .. } | Check::Volume { .. } => None,
        }));
        named.extend(monitor.notify.iter().map(|notifier| ObjectRef::new(ObjectKind::Notifier, notifier)));
        named
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
        view.input_views().into_iter().for_each(|input| self.visit(input, above, ordered));
        above.pop();
        ordered.insert(name.to_owned());
    }

    /// The source that a view reads directly.
    pub fn source_of_view(&self, view: &str) -> Option<String> {
        match &self.views.get(view)?.input {
            ViewInput::Source(source) => Some(source.clone()),
            ViewInput::Views(_) => None,
        }
    }

    /// Views among these, and among what they are computed from, that are declared `leak: allow`.
    pub fn leaks(&self, views: &[String]) -> Vec<String> {
        let allowed = |name: &String| self.views.get(name).is_some_and(|view| view.leak_allowed);
        self.views_with_inputs(views).into_iter().filter(allowed).collect()
    }
}

fn of_view(view: &FeatureView) -> Vec<ObjectRef> {
    let mut named = vec![ObjectRef::new(ObjectKind::Entity, &view.entity)];
    match &view.input {
        ViewInput::Source(source) => named.push(ObjectRef::new(ObjectKind::Source, source)),
        ViewInput::Views(views) => {
            named.extend(views.iter().map(|input| ObjectRef::new(ObjectKind::View, &input.view)));
        }
    }
    named
}

fn of_label(label: &Label) -> Vec<ObjectRef> {
    let population = label.ahead().map(|ahead| match &ahead.population {
        Population::Entities { view, .. } => ObjectRef::new(ObjectKind::View, view),
        Population::Rows { source, .. } => ObjectRef::new(ObjectKind::Source, source),
    });
    let own = [(ObjectKind::Entity, &label.entity), (ObjectKind::Source, &label.source)];
    own.map(|(kind, name)| ObjectRef::new(kind, name)).into_iter().chain(population).collect()
}

fn of_model(model: &Model) -> Vec<ObjectRef> {
    let views = model.inputs.iter().filter_map(|input| match input {
        Input::View { view, .. } => Some(ObjectRef::new(ObjectKind::View, view)),
        Input::Keys(_) => None,
    });
    [ObjectRef::new(ObjectKind::Entity, &model.entity)].into_iter().chain(views).collect()
}

/// What its steps name outright, not by an expression.
fn of_pipeline(pipeline: &Pipeline) -> Vec<ObjectRef> {
    const ARGUMENTS: [(&str, ObjectKind); 5] = [
        ("label", ObjectKind::Label),
        ("model", ObjectKind::Model),
        ("inputs", ObjectKind::Model),
        ("view", ObjectKind::View),
        ("source", ObjectKind::Source),
    ];
    let literal = |json: &Json| json.as_str().filter(|name| !name.contains("${{")).map(str::to_owned);
    let mut named = Vec::new();
    for step in pipeline.steps.values() {
        let single = |(argument, kind): &(&str, ObjectKind)| {
            step.with.get(*argument).and_then(literal).map(|name| ObjectRef::new(*kind, name))
        };
        named.extend(ARGUMENTS.iter().filter_map(single));
        let views = step.with.get("inputs").and_then(Json::as_array).into_iter().flatten();
        named.extend(views.filter_map(literal).map(|view| ObjectRef::new(ObjectKind::View, view)));
    }
    named
}
