//! Rows of a table's files as one relation, whatever types its columns had when each file was written.
//!
//! A declared type may change after rows came in. Files whose columns agree are read together; a column that was
//! written with another type is converted as the same text at the door would be, and is null where it can't be.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use arrow::datatypes::{DataType, SchemaRef};
use tidemill_rows::type_of;
use tidemill_spec::Type;

use crate::{
    CommitRange,
    sql::{quoted, text},
    upload::text::{declared_as_text, text_of, typed},
};

/// In merged files: the commit that a row came with.
pub(crate) const LAKE_COMMIT: &str = "_lake_commit";

/// The type of each column; `None` for one that can't be declared.
pub(crate) type Types = BTreeMap<String, Option<Type>>;

/// Rows of a table's files, local by now.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    /// Files that can be read as one relation, each in the order of their commits.
    pub(crate) groups: Vec<Group>,
    /// Of merged files the rows of these commits count.
    pub(crate) commits: CommitRange,
}

/// Files whose columns of one name have one type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Files of which every row counts.
    whole: Vec<PathBuf>,
    /// Merged files of which only the rows of some commits count.
    partly: Vec<PathBuf>,
    /// Their columns.
    types: Types,
}

impl Scan {
    /// Of no file yet.
    pub(crate) fn of(commits: CommitRange) -> Self {
        Self { groups: Vec::new(), commits }
    }

    /// Adds a file. `whole`: all its rows count.
    pub(crate) fn push(&mut self, path: PathBuf, types: &Types, whole: bool) {
        let place = match self.groups.iter().position(|group| agree(&group.types, types)) {
            Some(place) => place,
            None => {
                self.groups.push(Group::default());
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[place];
        group.types.extend(types.iter().map(|(name, ty)| (name.clone(), *ty)));
        if whole { group.whole.push(path) } else { group.partly.push(path) }
    }

    /// All files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.groups.iter().flat_map(|group| group.whole.iter().chain(&group.partly))
    }

    /// A subquery with exactly the columns of `schema`, which older files may lack or have of another type; rows that
    /// `condition` holds of.
    pub(crate) fn rows(&self, schema: &SchemaRef, condition: &str) -> String {
        let fields = || schema.fields().iter();
        let names: Vec<String> = fields().map(|field| quoted(field.name())).collect();
        let empty = fields().map(|field| {
            format!("CAST(NULL AS {}) AS {}", duckdb_type(field.data_type()), quoted(field.name()))
        });
        let wanted: Types =
            fields().map(|field| (field.name().clone(), type_of(field.data_type()))).collect();
        let mut parts = vec![format!("SELECT {} WHERE false", empty.collect::<Vec<_>>().join(", "))];
        parts.extend(self.parts(&wanted));
        format!(
            "(SELECT {} FROM ({}) WHERE {condition})",
            names.join(", "),
            parts.join(" UNION ALL BY NAME ")
        )
    }

    /// A subquery with whatever columns the files have, each as the newest of them has it; `None` without files.
    pub(crate) fn any_rows(&self) -> Option<String> {
        let mut wanted = Types::new();
        for group in &self.groups {
            wanted.extend(group.types.iter().map(|(name, ty)| (name.clone(), *ty)));
        }
        wanted.remove(LAKE_COMMIT);
        let parts: Vec<String> = self.parts(&wanted).collect();
        (!parts.is_empty()).then(|| format!("({})", parts.join(" UNION ALL BY NAME ")))
    }

    fn parts<'a>(&'a self, wanted: &'a Types) -> impl Iterator<Item = String> + 'a {
        self.groups.iter().flat_map(move |group| group.parts(wanted, self.commits))
    }
}

impl Group {
    /// Columns that `wanted` has of another type.
    pub(crate) fn otherwise<'a>(&'a self, wanted: &'a Types) -> impl Iterator<Item = (&'a String, Type)> {
        let other = |(name, ty): (&'a String, &Option<Type>)| {
            let stored = self.types.get(name)?;
            (stored != ty).then_some((name, (*ty)?))
        };
        wanted.iter().filter_map(other)
    }

    /// The wanted columns that it has, of its whole files and of its others.
    pub(crate) fn parts(&self, wanted: &Types, commits: CommitRange) -> Vec<String> {
        let column = |(name, ty): (&String, &Option<Type>)| {
            let stored = self.types.get(name)?;
            Some(match ty {
                Some(ty) if stored != &Some(*ty) => format!("{} AS {}", converted(name, *ty), quoted(name)),
                _ => quoted(name),
            })
        };
        let columns: Vec<String> = wanted.iter().filter_map(column).collect();
        // A file without any of them still has rows.
        let columns = if columns.is_empty() { "NULL AS _nothing".to_owned() } else { columns.join(", ") };
        self.froms(commits).iter().map(|from| format!("SELECT {columns} FROM {from}")).collect()
    }

    /// What the rows are read from, with the condition that they count.
    pub(crate) fn froms(&self, commits: CommitRange) -> Vec<String> {
        let files = |paths: &[PathBuf]| {
            let paths: Vec<String> = paths.iter().map(|path| text(&path.to_string_lossy())).collect();
            format!("read_parquet([{}], union_by_name = true)", paths.join(", "))
        };
        let mut froms = Vec::new();
        if !self.whole.is_empty() {
            froms.push(files(&self.whole));
        }
        if !self.partly.is_empty() {
            let mut from = files(&self.partly);
            let _ = write!(
                from,
                " WHERE {LAKE_COMMIT} > {} AND {LAKE_COMMIT} <= {}",
                commits.after, commits.upto
            );
            froms.push(from);
        }
        froms
    }
}

/// A column of another type as `ty`; null where it can't be.
pub(crate) fn converted(name: &str, ty: Type) -> String {
    typed(&text_of(&declared_as_text(&quoted(name)), ty), ty)
}

/// Whether no column has two types.
pub(crate) fn agree(a: &Types, b: &Types) -> bool {
    a.iter().all(|(name, ty)| b.get(name).is_none_or(|other| other == ty))
}

/// The DuckDB type of a column of ours.
fn duckdb_type(arrow: &DataType) -> &'static str {
    type_of(arrow).map_or("VARCHAR", Type::duckdb)
}
