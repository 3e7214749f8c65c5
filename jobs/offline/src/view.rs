//! A version of a view with what is needed to read and compute it.

use arrow::datatypes::SchemaRef;
use tidemill_spec::{Entity, FeatureView, Objects, Source, ViewInput, ViewKind};

use crate::{Error, Table, table::Version};

/// One version of a view, its entity, and the source it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// What is declared.
    pub definition: FeatureView,
    /// The entity it describes.
    pub entity: Entity,
    /// The source it reads; `None` for a derived view.
    pub source: Option<Source>,
    /// Which version of it.
    pub version: i32,
}

impl View {
    /// The definition `definition` at `version`, its entity and source as declared in `objects`; `None` if one of these, or a
    /// column that it reads, is not declared any more.
    pub fn new(objects: &Objects, definition: &FeatureView, version: i32) -> Option<Self> {
        let source = match &definition.input {
            ViewInput::Source(name) => {
                let source = objects.sources.get(name)?;
                let is = |column: &String| source.columns.contains_key(column);
                definition.columns().iter().all(is).then(|| Some(source.clone()))?
            }
            ViewInput::Views(_) => None,
        };
        let entity = objects.entities.get(&definition.entity)?.clone();
        Some(Self { definition: definition.clone(), entity, source, version })
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

#[cfg(test)]
mod tests {
    use tidemill_spec::{LoadOptions, diagnostic::SourceFile, load_files};

    use super::*;

    const PROJECT: &str = "
apiVersion: tidemill/v1
kind: Project
name: shop
---
apiVersion: tidemill/v1
kind: Entity
name: user
keys: { user_id: int }
---
apiVersion: tidemill/v1
kind: Source
name: events
columns: { user_id: int, at: timestamp, price: float, qty: int }
event_time: at
---
apiVersion: tidemill/v1
kind: FeatureView
name: v
entity: user
source: events
features: { cost: { type: float, sql: price * QTY }, price: float }
";

    #[test]
    fn a_version_that_reads_a_column_which_is_gone_is_none() {
        let objects = |text: &str| {
            let file = SourceFile { path: "tidemill.yaml".to_owned(), text: text.to_owned() };
            let loaded = load_files(vec![file], &LoadOptions::default());
            assert!(!loaded.failed(), "{:#?}", loaded.diagnostics);
            loaded.objects
        };
        let then = objects(PROJECT);
        assert!(View::new(&then, &then.views["v"], 1).is_some());
        let now = objects(&PROJECT.replace("price", "amount"));
        assert!(View::new(&now, &then.views["v"], 1).is_none());
        assert!(View::new(&now, &now.views["v"], 2).is_some());
    }
}
