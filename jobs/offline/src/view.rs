//! A version of a view with what is needed to read and compute it.

use arrow::datatypes::SchemaRef;
use tidemill_core::Time;
use tidemill_spec::{Entity, FeatureView, Plan, Source, ViewKind};
use tidemill_windows::Window;

use crate::{Error, Table, table::Version};

/// One version of a view: its plan, but for the versions of its inputs and its code.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// What was declared.
    pub definition: FeatureView,
    /// The entity it describes.
    pub entity: Entity,
    /// The source it reads; `None` for a derived view.
    pub source: Option<Source>,
    /// Which version of it.
    pub version: i32,
}

impl View {
    /// The version that a plan was made for.
    pub fn of(plan: &Plan, version: i32) -> Self {
        let Plan { definition, entity, source, .. } = plan.clone();
        Self { definition, entity, source, version }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// Where its rows (or tiles) are.
    pub fn table(&self) -> Table {
        Table::view(self.name(), self.version)
    }

    /// How it is computed.
    pub fn kind(&self) -> ViewKind {
        self.definition.kind()
    }

    /// Whether its rows replace each other: a row view over a source with `unique` columns.
    pub fn upserts(&self) -> bool {
        let unique = self.source.as_ref().is_some_and(|source| !source.unique.is_empty());
        unique && self.kind() == ViewKind::Rows
    }

    /// The instant after which rows count in its windows at a moment, if it has any.
    pub fn reach(&self, at: Time) -> Option<Time> {
        let windows = self.definition.features.values().filter_map(Window::of);
        let tail_us = windows.map(|window| window.tail_us(at.timestamp_micros())).min()?;
        Time::from_timestamp_micros(tail_us)
    }

    /// The source it reads.
    ///
    /// # Errors
    /// It is a derived view.
    pub(crate) fn source(&self) -> Result<&Source, Error> {
        self.source
            .as_ref()
            .ok_or_else(|| Error::invalid(605, format!("view `{}` reads no source", self.name())))
    }

    /// Columns of its lake table.
    pub fn schema(&self) -> SchemaRef {
        tidemill_rows::view_schema(&self.definition, &self.entity)
    }

    /// Key columns of its entity, in declared order: what its files are sorted by.
    pub fn keys(&self) -> Vec<String> {
        self.entity.keys.keys().cloned().collect()
    }
}

/// Commits `(after, upto]` of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitRange {
    /// The last commit that is not of it.
    pub after: Version,
    /// The last commit that is.
    pub upto: Version,
}

impl CommitRange {
    /// One commit alone.
    pub fn one(version: Version) -> Self {
        Self { after: version - 1, upto: version }
    }

    /// Everything as of a version.
    pub fn upto(version: Version) -> Self {
        Self { after: 0, upto: version }
    }
}
