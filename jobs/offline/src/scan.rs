//! Rows of a table's files as one relation, whatever types its columns had when each file was written.
//!
//! What is declared may change after rows came in. Files whose columns agree are read together; a column that was written
//! with another type is converted as the same text at the door would be, and is null where it can't be. A row's times and
//! its tombstone follow from its own columns: of a source they are what its declaration makes of them, not what an earlier
//! one did when the row came.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{FieldRef, Schema, SchemaRef},
};
use tidemill_rows::{CREATED_AT, DELETED, VALID_AT, arrow_type, type_of};
use tidemill_spec::{Source, Type};

use crate::{
    CommitRange,
    duck::in_columns,
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
    /// What makes times and tombstones, in rows of a source.
    stamps: Option<Stamps>,
}

/// The columns of a source that make a row's times and its tombstone.
#[derive(Clone, Debug)]
pub(crate) struct Stamps {
    /// What gives a row its `valid_at`; a row that lacks it counts nowhere.
    pub(crate) available_time: String,
    /// What gives it its `created_at`, where it is there.
    pub(crate) created_time: Option<String>,
    deleted: Option<String>,
}

impl Stamps {
    /// They and the system columns that they make.
    fn types(&self) -> Types {
        let column = |name: &String, ty| (name.clone(), Some(ty));
        let times = [Some(&self.available_time), self.created_time.as_ref()].into_iter().flatten();
        let times = times.map(|name| column(name, Type::Timestamp));
        let deleted = self.deleted.iter().map(|name| column(name, Type::Bool));
        let made = [(VALID_AT, Type::Timestamp), (CREATED_AT, Type::Timestamp), (DELETED, Type::Bool)];
        let made = made.map(|(name, ty)| column(&name.to_owned(), ty));
        times.chain(deleted).chain(made).collect()
    }

    /// `rows` with them. A row that lacks its available time, because it came before that was asked of it, counts nowhere.
    fn stamped(&self, rows: &str) -> String {
        let available = quoted(&self.available_time);
        let created = self.created_time.as_deref().map_or_else(
            || CREATED_AT.to_owned(),
            |name| format!("coalesce({}, {CREATED_AT})", quoted(name)),
        );
        let deleted = self.deleted.as_deref();
        let deleted =
            deleted.map_or_else(|| "false".to_owned(), |name| format!("coalesce({}, false)", quoted(name)));
        format!(
            "(SELECT * REPLACE ({available} AS {VALID_AT}, {created} AS {CREATED_AT}, {deleted} AS {DELETED}) FROM {rows} WHERE {available} IS NOT NULL)"
        )
    }
}

/// A file of which all rows count, or only those of some commits.
#[derive(Clone, Debug)]
pub(crate) struct ScannedFile {
    pub(crate) path: PathBuf,
    /// Of a merged file: whose rows count.
    pub(crate) commits: Option<CommitRange>,
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
    /// Of no file yet; `source`: whose rows they are, if they are one's.
    pub(crate) fn of(commits: CommitRange, source: Option<&Source>) -> Self {
        let stamps = source.map(|source| {
            let Source { available_time, created_time, deleted, .. } = source.clone();
            Stamps { available_time, created_time, deleted }
        });
        Self { groups: Vec::new(), commits, stamps }
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

    /// All files of a source, each with what counts of it, if they have these columns of their types, as far as they have them;
    /// some they must.
    pub(crate) fn files_with(
        &self,
        schema: &SchemaRef,
        needed: &[String],
    ) -> Option<(Vec<ScannedFile>, &Stamps)> {
        let stamps = self.stamps.as_ref()?;
        let wanted = self.wanted(schema);
        let as_wanted = |group: &Group| {
            let mut needed = needed.iter().chain([&stamps.available_time]);
            needed.all(|name| group.types.contains_key(name)) && group.otherwise(&wanted).next().is_none()
        };
        self.groups.iter().all(as_wanted).then(|| (self.files(), stamps))
    }

    fn files(&self) -> Vec<ScannedFile> {
        let whole = |path: &PathBuf| ScannedFile { path: path.clone(), commits: None };
        let partly = |path: &PathBuf| ScannedFile { path: path.clone(), commits: Some(self.commits) };
        let of_group = |group: &Group| {
            group.whole.iter().map(whole).chain(group.partly.iter().map(partly)).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// A subquery with exactly the columns of `schema`, which older files may lack or have of another type; rows that
    /// `condition` holds of.
    pub(crate) fn rows(&self, schema: &SchemaRef, condition: &str) -> String {
        let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name())).collect();
        let wanted = self.wanted(schema);
        format!("(SELECT {} FROM {} WHERE {condition})", names.join(", "), self.relation(&wanted))
    }

    /// The types of some columns, and of those that times and tombstones are made of.
    fn wanted(&self, schema: &SchemaRef) -> Types {
        let fields = schema.fields().iter();
        let asked = fields.map(|field| (field.name().clone(), type_of(field.data_type())));
        asked.chain(self.stamps.iter().flat_map(Stamps::types)).collect()
    }

    /// A subquery with whatever columns the files have, each as the newest of them has it; `None` without files.
    pub(crate) fn any_rows(&self) -> Option<String> {
        let mut wanted = Types::new();
        for group in &self.groups {
            wanted.extend(group.types.iter().map(|(name, ty)| (name.clone(), *ty)));
        }
        wanted.remove(LAKE_COMMIT);
        wanted.extend(self.stamps.iter().flat_map(Stamps::types));
        (!self.groups.is_empty()).then(|| self.relation(&wanted))
    }

    /// All rows, in the columns of `wanted` and no others.
    fn relation(&self, wanted: &Types) -> String {
        let stored = |name: &String| self.groups.iter().any(|group| group.types.contains_key(name));
        let empty = wanted.iter().filter(|(name, ty)| ty.is_some() || !stored(name)).map(|(name, ty)| {
            let ty = ty.map_or_else(|| "VARCHAR".to_owned(), Type::duckdb);
            format!("CAST(NULL AS {ty}) AS {}", quoted(name))
        });
        let empty = empty.collect::<Vec<_>>().join(", ");
        let empty = (!empty.is_empty()).then(|| format!("SELECT {empty} WHERE false"));
        let parts = self.groups.iter().flat_map(|group| group.parts(wanted, self.commits)).chain(empty);
        let rows = format!("({})", parts.collect::<Vec<_>>().join(" UNION ALL BY NAME "));
        self.stamps.as_ref().map_or(rows.clone(), |stamps| stamps.stamped(&rows))
    }
}

impl Group {
    /// Columns that `wanted` has of another type: as they are stored, and as they are wanted.
    pub(crate) fn otherwise<'a>(
        &'a self,
        wanted: &'a Types,
    ) -> impl Iterator<Item = (&'a String, Option<Type>, Type)> {
        let other = |(name, ty): (&'a String, &Option<Type>)| {
            let stored = self.types.get(name)?;
            (stored != ty).then_some((name, *stored, (*ty)?))
        };
        wanted.iter().filter_map(other)
    }

    /// The wanted columns that it has, of its whole files and of its others.
    pub(crate) fn parts(&self, wanted: &Types, commits: CommitRange) -> Vec<String> {
        let column = |(name, ty): (&String, &Option<Type>)| {
            let stored = self.types.get(name)?;
            Some(match ty {
                Some(ty) if stored != &Some(*ty) => {
                    format!("{} AS {}", converted(name, *stored, *ty), quoted(name))
                }
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

/// A column that was stored with another type as `ty`; null where it can't be.
pub(crate) fn converted(name: &str, stored: Option<Type>, ty: Type) -> String {
    typed(&text_of(&declared_as_text(&quoted(name), stored), ty), ty)
}

/// Rows of files that have these columns, to be written again, as they were stored: a list has its length, which SQL
/// forgets.
pub(crate) fn as_stored(rows: &RecordBatch, types: &Types) -> Result<RecordBatch, tidemill_rows::Error> {
    let schema = rows.schema();
    let field = |field: &FieldRef| match types.get(field.name()) {
        Some(Some(ty @ Type::List { .. })) => {
            Arc::new(field.as_ref().clone().with_data_type(arrow_type(*ty)))
        }
        _ => Arc::clone(field),
    };
    let stored = Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>());
    in_columns(rows, &Arc::new(stored))
}

/// Whether no column has two types.
pub(crate) fn agree(a: &Types, b: &Types) -> bool {
    a.iter().all(|(name, ty)| b.get(name).is_none_or(|other| other == ty))
}
