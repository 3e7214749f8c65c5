//! A version of a view with everything it is computed from and read by.

use indexmap::IndexMap;
use tidemill_catalog::{Catalog, ViewState, ViewVersion};
use tidemill_core::Time;
use tidemill_offline::{Commit, Lake, Table, View};
use tidemill_online::OnlineView;
use tidemill_spec::{Objects, ViewInput, ViewKind};

use crate::{Deps, Error, target::Target};

/// One version of a view.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// As the catalog has it.
    pub(crate) version: ViewVersion,
    /// As the lake computes it.
    pub(crate) view: View,
    /// The current versions of the views it reads; none over a source.
    pub(crate) inputs: Vec<View>,
    /// As Redis holds it; `None` if nothing of it is online.
    pub(crate) online: Option<OnlineView>,
}

impl Subject {
    /// Gathers what a version needs.
    ///
    /// # Errors
    /// Its entity, source or one of its inputs is no longer declared.
    pub(crate) async fn of(
        catalog: &Catalog,
        objects: &Objects,
        version: ViewVersion,
    ) -> Result<Self, Error> {
        let view = View::new(objects, &version.definition, version.version)
            .ok_or_else(|| Error::no_view(&version.view))?;
        let mut inputs = Vec::new();
        if let ViewInput::Views(names) = &version.definition.input {
            for name in names {
                let current = catalog.current_view(name).await?.ok_or_else(|| Error::no_view(name))?;
                let input = View::new(objects, &current.definition, current.version);
                inputs.push(input.ok_or_else(|| Error::no_view(name))?);
            }
        }
        let online = online_view(&view);
        Ok(Self { version, view, inputs, online })
    }

    /// The version of a view that is read by default.
    pub(crate) async fn current(deps: &Deps, view: &str) -> Result<Self, Error> {
        let objects = deps.catalog.objects().await?;
        let version = deps.catalog.current_view(view).await?.ok_or_else(|| Error::no_view(view))?;
        Self::of(&deps.catalog, &objects, version).await
    }

    /// The versions that updates keep up to date: the current one, and older ones that live models read. One of these that
    /// can't be computed from what is declared now is left alone; the live set says so of the models that read it.
    pub(crate) async fn maintained(deps: &Deps, view: &str) -> Result<Vec<Self>, Error> {
        let objects = deps.catalog.objects().await?;
        let mut subjects = Vec::new();
        for version in tidemill_live::maintained_versions(&deps.catalog, Some(view)).await? {
            let current = version.state == ViewState::Current;
            match Self::of(&deps.catalog, &objects, version).await {
                Err(Error::Catalog(error)) => return Err(error.into()),
                Err(error) if current => return Err(error),
                Err(_) => {}
                Ok(subject) => subjects.push(subject),
            }
        }
        Ok(subjects)
    }

    /// The view's name.
    pub(crate) fn name(&self) -> &str {
        self.view.name()
    }

    /// Whether rows of its source replace each other, so that its last rows follow from all of them.
    pub(crate) fn upserts(&self) -> bool {
        self.view.upserts()
    }

    /// The tables whose commits it consumes. A derived view follows a window view by the rows of its source:
    /// those are the moments at which a window changes.
    pub(crate) fn input_tables(&self) -> Vec<Table> {
        let table_of = |view: &View| match (&view.source, view.kind()) {
            (Some(source), ViewKind::Windows) => Table::source(&source.name),
            _ => view.table(),
        };
        match &self.view.source {
            Some(source) => vec![Table::source(&source.name)],
            None => self.inputs.iter().map(table_of).collect(),
        }
    }

    /// Commits of its inputs that a target has to consume.
    pub(crate) async fn commits(&self, lake: &Lake, target: &Target) -> Result<Vec<Commit>, Error> {
        let mut commits = Vec::new();
        for table in self.input_tables() {
            commits.extend(lake.commits(&table, target.commits()).await?);
        }
        Ok(commits)
    }

    /// How far to bring it: from where it is to the lake's head and the data clock's `now`.
    pub(crate) async fn target(&self, deps: &Deps, now: Time) -> Result<Target, Error> {
        let position = deps.catalog.position(self.name(), self.version.version).await?;
        // Inputs first, head second: what they had reached is then surely below the head.
        let mut reached = i64::MAX;
        for input in &self.inputs {
            let position = deps.catalog.position(input.name(), input.version).await?;
            reached = reached.min(position.map_or(0, |position| position.reached));
        }
        let head = deps.lake.head().await?;
        let clock_before = position.as_ref().map(|position| position.data_clock);
        Ok(Target {
            version: self.version.version,
            after: position.map_or(0, |position| position.lake_version),
            clock_before,
            lake_version: head,
            reached: reached.min(head),
            clock: clock_before.map_or(now, |before| before.max(now)),
        })
    }
}

/// A version of a view as Redis holds it; `None` if nothing of it is online.
pub(crate) fn online_view(view: &View) -> Option<OnlineView> {
    let keys: IndexMap<_, _> = view.entity.keys.clone();
    let online = OnlineView::new(view.definition.clone(), view.version.unsigned_abs(), keys, view.upserts());
    let any = online.features().next().is_some();
    any.then_some(online)
}
