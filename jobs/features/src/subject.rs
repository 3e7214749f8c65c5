//! A version of a view with everything it is computed from and read by.

use indexmap::IndexMap;
use tidemill_catalog::{ViewState, ViewVersion};
use tidemill_core::Time;
use tidemill_offline::{Commit, CommitRange, Lake, LakeFile, Read, Table, Version, View};
use tidemill_online::OnlineView;
use tidemill_spec::ViewKind;

use crate::{
    Deps, Error,
    target::{Size, Target},
};

/// One version of a view.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// As the catalog has it.
    pub(crate) version: ViewVersion,
    /// As the lake computes it.
    pub(crate) view: View,
    /// As Redis holds it; `None` if it holds nothing of it.
    pub(crate) online: Option<OnlineView>,
}

impl Subject {
    /// What a version needs, by its plan.
    pub(crate) fn of(version: &ViewVersion) -> Self {
        let view = View::of(&version.plan, version.version);
        let online = online_view(&view);
        Self { version: version.clone(), view, online }
    }

    /// The version of a view that is read by default.
    pub(crate) async fn current(deps: &Deps, view: &str) -> Result<Self, Error> {
        let versions = deps.catalog.view_versions(None).await?;
        Ok(Self::of(current(&versions, view)?))
    }

    /// The version of a view that is read by default, after all that it is computed from.
    pub(crate) async fn chain(deps: &Deps, view: &str) -> Result<Vec<Self>, Error> {
        let versions = deps.catalog.view_versions(None).await?;
        let mut chain = Vec::new();
        current(&versions, view)?.with_inputs(&versions, &mut chain);
        Ok(chain.into_iter().map(Self::of).collect())
    }

    /// The versions that updates keep up to date: the current one, those that live models read, and those that one of
    /// these, of whatever view, is computed from. None of a view that holds nothing.
    pub(crate) async fn maintained(deps: &Deps, view: &str) -> Result<Vec<Self>, Error> {
        // What these are computed from is among them.
        let kept = tidemill_live::maintained_versions(&deps.catalog, None).await?;
        let subjects = kept.iter().filter(|version| version.view == view).map(Self::of);
        Ok(subjects.filter(Self::stored).collect())
    }

    /// The view's name.
    pub(crate) fn name(&self) -> &str {
        self.view.name()
    }

    /// Whether it has rows or tiles of its own; else it is computed whenever it is asked.
    pub(crate) fn stored(&self) -> bool {
        self.view.kind().stored()
    }

    /// Whether its features are read online: from Redis, or computed from what is there.
    pub(crate) fn read_online(&self) -> bool {
        !self.view.definition.online_features().is_empty()
    }

    /// The views with rows of their own whose changes its rows follow; none over a source, and of a view that has none.
    fn follows(&self) -> Vec<&View> {
        if !self.stored() {
            return Vec::new();
        }
        let mut follows: Vec<&View> = Vec::new();
        for view in self.view.inputs.iter().flat_map(|input| input.view.stored()) {
            if !follows.iter().any(|known| (known.name(), known.version) == (view.name(), view.version)) {
                follows.push(view);
            }
        }
        follows
    }

    /// Whether rows of its source replace each other, so that its last rows follow from all of them.
    pub(crate) fn upserts(&self) -> bool {
        self.view.upserts()
    }

    /// The tables whose commits it consumes.
    fn input_tables(&self) -> impl Iterator<Item = Table> {
        self.input_rows(0).into_iter().map(|read| read.table)
    }

    /// The rows that it is computed from, as of a version.
    pub(crate) fn input_rows(&self, version: Version) -> Vec<Read> {
        match &self.view.source {
            Some(source) => vec![Read::source(source, version)],
            None => self.follows().into_iter().map(|input| rows_of(input, version)).collect(),
        }
    }

    /// Commits of its inputs in a range.
    pub(crate) async fn commits(&self, lake: &Lake, range: CommitRange) -> Result<Vec<Commit>, Error> {
        let mut commits = Vec::new();
        for table in self.input_tables() {
            commits.extend(lake.commits(&table, range).await?);
        }
        Ok(commits)
    }

    /// The tables that it is computed from, and its own: of all of them rows may be taken away.
    pub(crate) fn tables(&self) -> Vec<Table> {
        self.input_tables().chain([self.view.table()]).collect()
    }

    /// How far to bring it: from where it is to the lake's head and the data clock's `now`.
    pub(crate) async fn target(&self, deps: &Deps, now: Time) -> Result<Target, Error> {
        // First: what is read after it is at least as new.
        let removals = deps.lake.removals(&self.tables()).await?;
        let position = deps.catalog.position(self.name(), self.version.version).await?;
        // Inputs first, head second: what they had reached is then surely below the head.
        let mut reached = i64::MAX;
        for input in self.follows() {
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
            parts: 1,
            removals,
        })
    }

    /// A target, cut so that a part of what it touches fits into memory.
    pub(crate) async fn cut(&self, deps: &Deps, target: Target) -> Result<Target, Error> {
        Ok(target.cut(self.size(&deps.lake, &target).await?))
    }

    /// How much of its inputs a target touches at most: files with rows that are new, or that the clock passes; of a window
    /// view, if it reaches them.
    pub(crate) async fn size(&self, lake: &Lake, target: &Target) -> Result<Size, Error> {
        let passed_from = target.clock_before.filter(|before| *before < target.clock);
        let reach = self.view.reach(target.clock);
        let mut size = Size::default();
        for input in self.input_rows(target.lake_version) {
            let touched = |file: &&LakeFile| {
                let range = file.valid_at_of(input.source.as_ref());
                let passed = passed_from.is_some_and(|before| {
                    range.is_none_or(|(least, greatest)| least <= target.clock && greatest > before)
                });
                let reached = reach.is_none_or(|from| range.is_none_or(|(_, greatest)| greatest > from));
                (file.last_commit > target.after || passed) && reached
            };
            for file in lake.files(&input.table, target.lake_version).await?.iter().filter(touched) {
                size.rows += file.rows;
                size.bytes += file.size_bytes;
            }
        }
        Ok(size)
    }
}

/// The rows at whose moments a view changes, as of a version: its own, or those of its source for a window view, whose tiles
/// are computed at the clock.
pub(crate) fn rows_of(view: &View, version: Version) -> Read {
    match (&view.source, view.kind()) {
        (Some(source), ViewKind::Windows) => Read::source(source, version),
        _ => Read::all(view.table(), version),
    }
}

fn current<'a>(versions: &'a [ViewVersion], view: &str) -> Result<&'a ViewVersion, Error> {
    let current = |version: &&ViewVersion| version.view == view && version.state == ViewState::Current;
    versions.iter().find(current).ok_or_else(|| Error::no_view(view))
}

/// A version of a view as Redis holds it; `None` if it holds nothing of it.
pub(crate) fn online_view(view: &View) -> Option<OnlineView> {
    let keys: IndexMap<_, _> = view.entity.keys.clone();
    let online = OnlineView::new(view.definition.clone(), view.version.unsigned_abs(), keys, view.upserts());
    let any = online.features().next().is_some();
    (any && !online.derived()).then_some(online)
}
