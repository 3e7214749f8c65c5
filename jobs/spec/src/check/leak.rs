//! Point-in-time leaks: a column that is used at a moment at which the world did not know it yet.
//!
//! A row of a view counts from its source's available time on, and so it does in the windows of a label. A column with
//! `known_at: K` may be read there only if that time *is* K: that another column is never earlier cannot be proven from declarations. A column that
//! serves as another's `known_at` is itself known only then.

use super::World;
use crate::{FeatureView, ObjectKind, Source, ViewInput, diagnostic::Leak, yaml::fields::At};

/// Reports every leak, as a warning where it is allowed; returns the views that leak.
pub(super) fn leaks(world: &World<'_>, allow: bool) -> Vec<String> {
    in_labels(world, allow);
    let mut leaking = Vec::new();
    for (name, view) in &world.objects.views {
        let ViewInput::Source(source) = &view.input else { continue };
        if world.broken(ObjectKind::Source, source) {
            continue;
        }
        let (Some(source), Some(document)) =
            (world.objects.sources.get(source), world.document(ObjectKind::View, name))
        else {
            continue;
        };
        let at = At::root(&document.root, &document.file, world.report).find(&["source"]);
        for (column, known_at) in leaked(columns_read(view, source), source) {
            report(&at, source, &column, known_at, allow || view.leak_allowed);
            if !leaking.contains(name) {
                leaking.push(name.clone());
            }
        }
    }
    leaking
}

/// A label that is said to have matured before its columns were known would be learnt from too early.
fn in_labels(world: &World<'_>, allow: bool) {
    for (name, label) in &world.objects.labels {
        let Some(ahead) = label.ahead() else { continue };
        if world.broken(ObjectKind::Source, &label.source) {
            continue;
        }
        let (Some(source), Some(document)) =
            (world.objects.sources.get(&label.source), world.document(ObjectKind::Label, name))
        else {
            continue;
        };
        let at = At::root(&document.root, &document.file, world.report).find(&["source"]);
        let read = ahead.aggregates.values().flat_map(|aggregate| aggregate.rule.columns()).collect();
        for (column, known_at) in leaked(read, source) {
            report(&at, source, &column, known_at, allow);
        }
    }
}

fn report(at: &At<'_>, source: &Source, column: &str, known_at: &str, allowed: bool) {
    let used_at = &source.available_time;
    let draft = at
        .error(
            412,
            format!(
                "point-in-time leak: `{column}` is used at `{used_at}`, but is known only at `{known_at}`"
            ),
        )
        .help(format!("declare `available_time: {known_at}` on source `{}`", source.name))
        .leak(Leak {
            source: source.name.clone(),
            column: column.to_owned(),
            used_at: used_at.clone(),
            known_at: known_at.to_owned(),
        });
    if allowed {
        draft.warning();
    }
}

/// Columns that are read too early, with the time at which each is known.
fn leaked(read: Vec<String>, source: &Source) -> Vec<(String, &str)> {
    let mut found: Vec<(String, &str)> = Vec::new();
    for column in read {
        if let Some(known_at) = known_at(source, &column)
            && known_at != source.available_time
            && !found.iter().any(|(other, _)| *other == column)
        {
            found.push((column, known_at));
        }
    }
    found
}

fn known_at<'s>(source: &'s Source, column: &str) -> Option<&'s str> {
    let declared = source.columns.get(column)?.known_at.as_deref();
    let own =
        || source.columns.values().find_map(|other| other.known_at.as_deref().filter(|time| *time == column));
    declared.or_else(own)
}

/// What a view reads of a source's rows; a Python function gets the whole row.
fn columns_read(view: &FeatureView, source: &Source) -> Vec<String> {
    if view.python.is_some() {
        return source.columns.keys().cloned().collect();
    }
    view.columns()
}
