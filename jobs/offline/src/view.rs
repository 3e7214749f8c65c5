//! A version of a view with what is needed to read and compute it.

use arrow::datatypes::SchemaRef;
use indexmap::IndexMap;
use tidemill_core::Time;
use tidemill_spec::{Entity, FeatureView, HydrationRead, KeyOrigin, Plan, Source, Type, ViewKind};
use tidemill_windows::Window;

use crate::{Error, Table, table::Version};

/// One version of a view: its plan, but for its code.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// What was declared.
    pub definition: FeatureView,
    /// The entity it describes.
    pub entity: Entity,
    /// The source it reads; `None` for a view over views.
    pub source: Option<Source>,
    /// The views it reads, each after those that give its keys; none over a source.
    pub inputs: Vec<Input>,
    /// Which version of it.
    pub version: i32,
}

/// A version of a view that another is computed from.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// As what it is read, by which keys, and what of it. `Request` names a key of the reader's entity.
    pub read: HydrationRead,
    /// The version.
    pub view: View,
}

impl View {
    /// The version that a plan was made for.
    pub fn of(plan: &Plan, version: i32) -> Self {
        let input = |read: HydrationRead| {
            let (over, number) = (plan.over.get(&read.view)?, plan.inputs.get(&read.view)?);
            Some(Input { view: Self::of(over, *number), read })
        };
        let inputs = plan.reads().into_iter().filter_map(input).collect();
        let Plan { definition, entity, source, .. } = plan.clone();
        Self { definition, entity, source, inputs, version }
    }

    /// The views with rows or tiles of their own that its values follow from, each once: itself, unless it holds nothing.
    pub fn stored(&self) -> Vec<&Self> {
        let mut all: Vec<&Self> = match self.kind() {
            ViewKind::Derived => self.inputs.iter().flat_map(|input| input.view.stored()).collect(),
            _ => vec![self],
        };
        let mut seen = Vec::new();
        all.retain(|view| {
            let name = (view.name().to_owned(), view.version);
            !seen.contains(&name) && (seen.push(name), true).1
        });
        all
    }

    /// Those of [`stored`](Self::stored) that have its own keys: their entities are the ones it knows of.
    pub fn of_same_entity(&self) -> Vec<&Self> {
        if self.kind() != ViewKind::Derived {
            return vec![self];
        }
        let own = |input: &&Input| {
            let keys = self.entity.keys.keys().zip(input.view.entity.keys.keys()).zip(&input.read.keys);
            let same = keys
                .filter(|((own, key), origin)| own == key && **origin == KeyOrigin::Request((*own).clone()));
            input.view.entity.keys.len() == self.entity.keys.len() && same.count() == self.entity.keys.len()
        };
        self.inputs.iter().filter(own).flat_map(|input| input.view.of_same_entity()).collect()
    }

    /// Types of the columns that its expressions read: the keys of its entity and its inputs' features.
    pub fn row(&self) -> IndexMap<String, Type> {
        let mut row = self.entity.keys.clone();
        for Input { read, view } in &self.inputs {
            let features = view.definition.features.iter();
            row.extend(features.map(|(name, feature)| (read.column(name), feature.ty)));
        }
        row
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
    /// It is a view over views.
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
