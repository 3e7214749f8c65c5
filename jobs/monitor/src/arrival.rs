//! Whether the rows of a window have arrived: what the data clock has passed may still be on its way.
//!
//! A source has arrived when no accepted file of it waits to be published, and its newest row is as new as the moment up
//! to which it is asked. A source that stood still all through the window and as long before it, such as a list of
//! planes, isn't waited for; labels are.

use std::{collections::BTreeSet, ops::Range};

use arrow::{array::AsArray as _, datatypes::TimestampMicrosecondType};
use tidemill_core::Time;
use tidemill_offline::{Filter, Read};
use tidemill_registry::Deps;
use tidemill_rows::VALID_AT;
use tidemill_spec::{Label, Monitor, MonitorTarget, Objects, Population, ViewInput};

use crate::{Error, facts::Pin, subject::Champion};

/// The sources whose rows a window takes: the label's, if it is a model's, and all others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) label: Option<String>,
    pub(crate) others: BTreeSet<String>,
    /// The view whose entities the label is asked of, if it is asked of a view's.
    pub(crate) population: Option<String>,
}

impl Sources {
    /// Of what a monitor watches.
    pub(crate) fn of(objects: &Objects, monitor: &Monitor, champion: Option<&Champion>) -> Self {
        let reads =
            champion.into_iter().flat_map(|champion| champion.version.hydration.rounds.iter().flatten());
        let mut views: Vec<String> = reads.map(|read| read.view.clone()).collect();
        let mut sources = Self::default();
        match &monitor.target {
            MonitorTarget::Source(name) if objects.sources.contains_key(name) => {
                sources.others.insert(name.clone());
            }
            MonitorTarget::Source(name) | MonitorTarget::View(name) => views.push(name.clone()),
            MonitorTarget::Model(_) => {}
        }
        let label = champion.and_then(|champion| objects.labels.get(&champion.dataset.label));
        match label.and_then(Label::ahead).map(|ahead| &ahead.population) {
            Some(Population::Entities { view, .. }) => {
                views.push(view.clone());
                sources.population = Some(view.clone());
            }
            Some(Population::Rows { source, .. }) => drop(sources.others.insert(source.clone())),
            None => {}
        }
        for view in objects.views_with_inputs(&views) {
            if let Some(ViewInput::Source(source)) = objects.views.get(&view).map(|view| &view.input) {
                sources.others.insert(source.clone());
            }
        }
        sources.label = label.map(|label| label.source.clone());
        sources
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.others.iter().chain(&self.label).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The sources whose rows of a window may still be on their way. `due`: when its last label is known.
pub(crate) async fn awaited(
    deps: &Deps,
    sources: &Sources,
    window: &Range<Time>,
    due: Time,
    pin: Pin,
) -> Result<Vec<String>, Error> {
    let mut awaited: BTreeSet<String> = deps
        .catalog
        .uploads_unpublished(&sources.all())
        .await?
        .into_iter()
        .map(|upload| upload.source)
        .collect();
    let objects = deps.catalog.objects().await?;
    if let Some(label) = &sources.label
        && newest(deps, &objects, label, None, pin).await?.is_none_or(|newest| newest < due)
    {
        awaited.insert(label.clone());
    }
    let before = window.start - (window.end - window.start);
    for source in &sources.others {
        let newest_row = newest(deps, &objects, source, None, pin).await?;
        if newest_row.is_some_and(|newest| newest >= window.end) {
            continue;
        }
        if newest(deps, &objects, source, Some(before..window.end), pin).await?.is_some() {
            awaited.insert(source.clone());
        }
    }
    Ok(awaited.into_iter().collect())
}

/// When the newest row of a source became known, of those within a range.
async fn newest(
    deps: &Deps,
    objects: &Objects,
    source: &str,
    within: Option<Range<Time>>,
    pin: Pin,
) -> Result<Option<Time>, Error> {
    let Some(source) = objects.sources.get(source) else { return Ok(None) };
    let between = within.map(|range| (VALID_AT.to_owned(), range.start, range.end));
    let read = Read {
        filter: Filter { between, last: Some(1), ..Filter::default() },
        columns: Some(vec![VALID_AT.to_owned()]),
        ..Read::source(source, pin.lake)
    };
    let rows = deps.lake.read(&read).await?;
    let times = rows
        .column_by_name(VALID_AT)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(times.and_then(|times| times.iter().flatten().max()).and_then(Time::from_timestamp_micros))
}
