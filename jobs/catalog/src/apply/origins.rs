//! Lineage as far as the declarations alone tell it: columns to views to features, and to labels. Pure.

use std::collections::HashMap;

use tidemill_spec::{Ahead, Asked, InputView, Label, Objects, Population, ViewInput};

use crate::{Edge, Node};

/// What the declarations alone say of lineage: columns to views to features.
pub(super) fn declared_edges(
    objects: &Objects,
    versions: &HashMap<String, i32>,
    code_hash: &str,
) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut draw = |from: Node, to: Node| {
        edges.push(Edge { code_hash: Some(code_hash.to_owned()), ..Edge::new(from, to) });
    };
    for source in objects.sources.values() {
        for column in source.columns.keys() {
            draw(Node::Source(source.name.clone()), Node::Column(source.name.clone(), column.clone()));
        }
    }
    for (name, view) in &objects.views {
        let Some(&version) = versions.get(name) else { continue };
        let this = || Node::View(name.clone(), version);
        match &view.input {
            ViewInput::Source(source) => draw(Node::Source(source.clone()), this()),
            ViewInput::Views(inputs) => {
                for InputView { view, .. } in inputs {
                    draw(Node::View(view.clone(), versions.get(view).copied().unwrap_or(1)), this());
                }
            }
        }
        for (feature, declared) in &view.features {
            let to = Node::Feature(name.clone(), version, feature.clone());
            draw(this(), to.clone());
            for column in declared.rule.columns() {
                if let Some(from) = origin(objects, versions, &view.input, column) {
                    draw(from, to.clone());
                }
            }
        }
    }
    for label in objects.labels.values() {
        let to = || Node::Label(label.name.clone());
        draw(Node::Source(label.source.clone()), to());
        for (source, column) in columns_of(label) {
            draw(Node::Column(source.clone(), column), to());
        }
        match label.ahead().map(|ahead| &ahead.population) {
            Some(Population::Entities { view, .. }) => {
                draw(Node::View(view.clone(), versions.get(view).copied().unwrap_or(1)), to());
            }
            Some(Population::Rows { source, .. }) => draw(Node::Source(source.clone()), to()),
            None => {}
        }
    }
    edges
}

/// The columns of sources that a label is computed from.
fn columns_of(label: &Label) -> Vec<(&String, String)> {
    let of_source = |columns: Vec<String>| columns.into_iter().map(|column| (&label.source, column));
    match &label.asked {
        Asked::OfRows(asked_at) => {
            of_source(sql_columns(&label.sql)).chain(of_source(sql_columns(asked_at))).collect()
        }
        Asked::Ahead(Ahead { population, aggregates }) => {
            let aggregated = aggregates.values().flat_map(|aggregate| of_source(aggregate.rule.columns()));
            let asked = match population {
                Population::Rows { source, asked_at } => {
                    sql_columns(asked_at).into_iter().map(|column| (source, column)).collect()
                }
                Population::Entities { .. } => Vec::new(),
            };
            aggregated.chain(asked).collect()
        }
    }
}

/// Nothing where it can't be read: `check` has said so before.
fn sql_columns(sql: &str) -> Vec<String> {
    tidemill_spec::expr::sql::columns(sql).unwrap_or_default()
}

/// Where a view finds a column: in its source, or among the features of its inputs; a key is no one's.
fn origin(
    objects: &Objects,
    versions: &HashMap<String, i32>,
    input: &ViewInput,
    column: String,
) -> Option<Node> {
    match input {
        ViewInput::Source(source) => Some(Node::Column(source.clone(), column)),
        ViewInput::Views(inputs) => {
            let feature = |input: &InputView| {
                let features = objects.views.get(&input.view)?.features.keys();
                let feature = features.into_iter().find(|name| input.column(name) == column)?;
                Some((input.view.clone(), feature.clone()))
            };
            let (view, feature) = inputs.iter().find_map(feature)?;
            let version = *versions.get(&view)?;
            Some(Node::Feature(view, version, feature))
        }
    }
}
