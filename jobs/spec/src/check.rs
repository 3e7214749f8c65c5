//! What can be said of the objects together: references, types, keys, leaks.
//!
//! An object that was broken when it was read is not blamed for what it lacks, nor are those that refer to it.

mod expression;
mod label;
mod leak;
mod model;
mod monitor;
pub(crate) mod names;
mod pipeline;
mod python;
mod source;
mod step;
mod view;

use std::cell::RefCell;

use indexmap::IndexMap;

use crate::{
    DeclaredSql, Input, ObjectKind, ObjectRef, Objects, Type,
    diagnostic::{Report, SourceFile},
    parse::Document,
    yaml::fields::At,
};

/// Checks every object against the others, fills in what a short form leaves out, and reports all that is wrong.
/// Returns the SQL that is right as far as can be told without DuckDB.
pub(crate) fn all(
    objects: &mut Objects,
    documents: &[Document],
    files: &[SourceFile],
    allow_leaks: bool,
    report: &Report,
) -> Vec<DeclaredSql> {
    expand_inputs(objects);
    let sql = RefCell::default();
    let world = World { objects, documents, files, report, sql: &sql };
    objects_of(&world, ObjectKind::Source, source::source);
    objects_of(&world, ObjectKind::View, view::view);
    objects_of(&world, ObjectKind::Label, label::label);
    objects_of(&world, ObjectKind::Model, model::model);
    objects_of(&world, ObjectKind::Monitor, monitor::monitor);
    objects_of(&world, ObjectKind::Pipeline, pipeline::pipeline);
    view::circles(&world);
    let leaking = leak::leaks(&world, allow_leaks);
    for view in leaking.iter().filter(|_| allow_leaks) {
        if let Some(view) = objects.views.get_mut(view) {
            view.leak_allowed = true;
        }
    }
    sql.into_inner()
}

fn objects_of(world: &World<'_>, kind: ObjectKind, check: fn(&World<'_>, &str, &At<'_>)) {
    // Of two with one name the first was kept; the second was reported.
    let mut seen = Vec::new();
    for document in world.documents.iter().filter(|document| document.kind == kind) {
        if !seen.contains(&&document.name) {
            check(world, &document.name, &At::root(&document.root, &document.file, world.report));
            seen.push(&document.name);
        }
    }
}

/// An input that names a view alone takes all its features.
fn expand_inputs(objects: &mut Objects) {
    for input in objects.models.values_mut().flat_map(|model| &mut model.inputs) {
        if let Input::View { view, features, .. } = input
            && features.is_empty()
            && let Some(declared) = objects.views.get(view)
        {
            features.extend(declared.features.keys().cloned());
        }
    }
}

/// All that a check may look at.
#[derive(Clone, Copy)]
struct World<'a> {
    objects: &'a Objects,
    documents: &'a [Document],
    files: &'a [SourceFile],
    report: &'a Report,
    sql: &'a RefCell<Vec<DeclaredSql>>,
}

impl<'a> World<'a> {
    fn document(&self, kind: ObjectKind, name: &str) -> Option<&'a Document> {
        self.documents.iter().find(|document| document.kind == kind && document.name == name)
    }

    /// Whether what an object lacks may be due to its own mistakes, which were reported.
    fn broken(&self, kind: ObjectKind, name: &str) -> bool {
        self.document(kind, name).is_none_or(|document| document.broken)
    }

    fn names(&self, kind: ObjectKind) -> Vec<&'a str> {
        self.documents
            .iter()
            .filter(|document| document.kind == kind)
            .map(|document| document.name.as_str())
            .collect()
    }

    /// Whether an object of that name was declared, right or wrong; reported where it wasn't.
    fn refer(&self, at: &At<'_>, kind: ObjectKind, name: &str) -> bool {
        let declared = self.document(kind, name).is_some();
        if !declared && !name.is_empty() {
            at.unknown(301, format!("there is no {kind} `{name}`"), name, self.names(kind));
        }
        declared
    }

    /// Whether `column` is among an object's columns; reported where it isn't, unless the object is broken.
    /// `part`: offset and length within the text at `at`, where it is more than the name alone.
    fn column(
        &self,
        at: &At<'_>,
        of: &ObjectRef,
        columns: &IndexMap<String, Type>,
        column: &str,
    ) -> Option<Type> {
        if let Some(ty) = columns.get(column) {
            return Some(*ty);
        }
        if !column.is_empty() && !self.broken(of.kind, &of.name) {
            let names: Vec<&str> = columns.keys().map(String::as_str).collect();
            let message = format!("{} `{}` has no column `{column}`", of.kind, of.name);
            let said =
                crate::diagnostic::closest(column, &names).map(|near| format!("did you mean `{near}`?"));
            let draft = at.error_within(303, message, said.as_deref().unwrap_or_default(), at.word(column));
            if said.is_none() {
                draft.help(format!("its columns are {}", crate::yaml::fields::list(&names)));
            }
        }
        None
    }

    /// Key columns of an entity must be columns of a source, with their types.
    fn keys_in_source(&self, at: &At<'_>, entity: &str, source: &str) {
        let (Some(entity), Some(declared)) =
            (self.objects.entities.get(entity), self.objects.sources.get(source))
        else {
            return;
        };
        for (key, expected) in &entity.keys {
            match declared.columns.get(key) {
                Some(column) if column.ty == *expected => {}
                Some(column) => {
                    at.error(
                        304,
                        format!(
                            "key `{key}` of entity `{}` is {expected}, but column `{key}` of source `{source}` is {}",
                            entity.name, column.ty
                        ),
                    );
                }
                None if self.broken(ObjectKind::Source, source) => {}
                None => {
                    at.error(
                        303,
                        format!(
                            "source `{source}` has no column for key `{key}` of entity `{}`",
                            entity.name
                        ),
                    )
                    .help(format!("a row must say which {} it is about: `{key}: {expected}`", entity.name));
                }
            }
        }
    }

    /// A row of a source with these columns.
    fn row_of_source<'c>(&self, source: &str, columns: &'c IndexMap<String, Type>) -> expression::Row<'c> {
        let whole = !self.broken(ObjectKind::Source, source);
        expression::Row { lacks: format!("source `{source}` has no column"), columns, whole }
    }

    /// Columns of a source with their types.
    fn source_columns(&self, source: &str) -> Option<IndexMap<String, Type>> {
        let source = self.objects.sources.get(source)?;
        Some(source.columns.iter().map(|(name, column)| (name.clone(), column.ty)).collect())
    }
}
