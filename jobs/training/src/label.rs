//! A label with everything that its rows are read from.

use std::ops::Range;

use tidemill_catalog::{Catalog, ViewVersion};
use tidemill_core::{Schedule, Time};
use tidemill_offline::{LabelRequest, Population, Version, View};
use tidemill_spec::{Entity, Label, Objects, Population as Declared, Source};

use crate::{
    Error,
    inputs::{current, unknown},
};

/// A label, its source, and of whom it is asked.
#[derive(Clone, Debug)]
pub struct LabelRead {
    /// The label.
    pub label: Label,
    /// Its entity.
    pub entity: Entity,
    /// Its source.
    pub source: Source,
    /// Of whom it is asked; none where each row of the source is an answer.
    pub population: Option<Population>,
    /// Versions of views that must have reached the lake's head: the population's, and all that it is computed from, but
    /// for those that hold nothing.
    pub waits_for: Vec<ViewVersion>,
}

impl LabelRead {
    /// Resolves a label against what is declared and the view versions in force.
    ///
    /// # Errors
    /// A name that isn't declared, or the database can't be reached.
    pub async fn resolve(catalog: &Catalog, objects: &Objects, name: &str) -> Result<Self, Error> {
        let label = objects.labels.get(name).ok_or_else(|| unknown("label", name, objects.labels.keys()))?;
        let (population, waits_for) = match label.ahead().map(|ahead| &ahead.population) {
            None => (None, Vec::new()),
            Some(Declared::Rows { source, asked_at }) => {
                let (source, asked_at) = (Box::new(objects.sources[source].clone()), asked_at.clone());
                (Some(Population::Rows { source, asked_at }), Vec::new())
            }
            Some(Declared::Entities { view, cron, timezone }) => {
                let versions = catalog.view_versions(None).await?;
                let read = current(&versions, objects, view)?;
                let mut waits_for = Vec::new();
                read.with_inputs(&versions, &mut waits_for);
                waits_for.retain(|version| version.plan.definition.kind().stored());
                let (view, schedule) =
                    (Box::new(View::of(&read.plan, read.version)), Schedule::new(cron, timezone)?);
                let waits_for = waits_for.into_iter().cloned().collect();
                (Some(Population::Entities { view, schedule }), waits_for)
            }
        };
        let entity = objects.entities[&label.entity].clone();
        let source = objects.sources[&label.source].clone();
        Ok(Self { label: label.clone(), entity, source, population, waits_for })
    }

    /// Its rows of a range of event times, as of a data clock and a lake version.
    pub fn rows(&self, range: Range<Time>, clock: Time, version: Version) -> LabelRequest {
        LabelRequest {
            label: self.label.clone(),
            entity: self.entity.clone(),
            source: self.source.clone(),
            population: self.population.clone(),
            from: range.start,
            to: range.end,
            clock,
            version,
        }
    }

    /// The sources whose rows it reads itself, and not by a view.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let population = self.population.iter().filter_map(|population| match population {
            Population::Rows { source, .. } => Some(source.as_ref()),
            Population::Entities { .. } => None,
        });
        std::iter::once(&self.source).chain(population)
    }
}
