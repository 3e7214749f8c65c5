//! Jobs of features as others wish for them: in the transaction that makes them necessary.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemill_catalog::{Catalog, Change, ChangeKind, Position, ViewState, ViewVersion};
use tidemill_core::{DataClock, Kind, Time};
use tidemill_offline::{Filter, Read, View};
use tidemill_rows::VALID_AT;
use tidemill_runtime::job_new;
use tidemill_spec::{
    FeatureView, ObjectKind, Objects,
    args::{FEATURES_UPDATE, FeaturesUpdate, features_concurrency_key},
    steps::{FEATURES_BACKFILL, FeaturesBackfill},
};
use tidemill_store::{NewJob, Store, Tx};

use crate::{
    Deps, Error,
    drop::{FEATURES_DROP, FeaturesDrop, KEPT},
    subject::{Subject, online_view},
    target::{Arrival, Target},
};

/// Kind of [`FeaturesRebuild`].
pub(crate) const FEATURES_REBUILD: Kind = Kind::new("features.rebuild");

/// Which view to write again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeaturesRebuild {
    /// The view.
    pub(crate) view: String,
}

/// Brings a view up to the lake's head and the data clock. Wishes for a view that waits already are one.
pub fn update_new(view: &str) -> NewJob {
    let update = FeaturesUpdate { view: view.to_owned() };
    NewJob {
        key: Some(update.key()),
        concurrency_key: Some(features_concurrency_key(view)),
        ..job_new(FEATURES_UPDATE, &update)
    }
}

/// Writes a view's values to Redis again, from the lake.
pub fn rebuild_new(view: &str) -> NewJob {
    NewJob {
        key: Some(format!("features.rebuild/{view}")),
        concurrency_key: Some(features_concurrency_key(view)),
        ..job_new(FEATURES_REBUILD, &FeaturesRebuild { view: view.to_owned() })
    }
}

/// Fills a new version of a view and switches to it.
pub fn backfill_new(view: &str) -> NewJob {
    NewJob {
        key: Some(format!("features.backfill/{view}")),
        concurrency_key: Some(features_concurrency_key(view)),
        ..job_new(FEATURES_BACKFILL, &FeaturesBackfill { view: view.to_owned() })
    }
}

/// Takes away what nothing needs any more of a view's retired versions.
pub fn drop_new(view: &str) -> NewJob {
    NewJob {
        key: Some(format!("features.drop/{view}")),
        concurrency_key: Some(features_concurrency_key(view)),
        ..job_new(FEATURES_DROP, &FeaturesDrop { view: view.to_owned() })
    }
}

/// What an applied project makes necessary: new views are computed, changed ones filled anew. One over a version that is
/// itself being filled follows when that is full.
pub fn wishes_of_changes(objects: &Objects, changes: &[Change]) -> Vec<NewJob> {
    let building: BTreeSet<&str> = changes
        .iter()
        .filter(|change| change.object.kind == ObjectKind::View && change.building.is_some())
        .map(|change| change.object.name.as_str())
        .collect();
    let waits = |view: &str| {
        let inputs = objects.views.get(view).map(FeatureView::input_views).unwrap_or_default();
        inputs.into_iter().any(|input| building.contains(input))
    };
    let wish = |change: &Change| match (change.object.kind, change.change, change.building) {
        (ObjectKind::View, _, Some(_)) => {
            (!waits(&change.object.name)).then(|| backfill_new(&change.object.name))
        }
        (ObjectKind::View, ChangeKind::Added | ChangeKind::Changed, None) => {
            let stored = objects.views.get(&change.object.name).is_some_and(|view| view.kind().stored());
            stored.then(|| update_new(&change.object.name))
        }
        _ => None,
    };
    changes.iter().filter_map(wish).collect()
}

/// Updates of the views of which a version reads a source directly; those behind them follow by themselves.
pub async fn updates_of_source(
    catalog: &Catalog,
    tx: &mut Tx,
    source: &str,
) -> Result<Vec<NewJob>, tidemill_catalog::Error> {
    Ok(catalog.views_over(tx, source).await?.iter().map(|view| update_new(view)).collect())
}

/// What the versions computed from one that has got further need: updates, or what their own readers need where they hold
/// nothing; and those that waited for it to be filled, their own filling.
pub(crate) async fn readers_follow(
    catalog: &Catalog,
    version: &ViewVersion,
    arrival: Arrival,
) -> Result<Vec<NewJob>, Error> {
    let versions = catalog.view_versions(None).await?;
    let (mut wishes, mut open) = (BTreeMap::new(), vec![version]);
    while let Some(version) = open.pop() {
        let reads = |reader: &&ViewVersion| reader.plan.inputs.get(&version.view) == Some(&version.version);
        for reader in versions.iter().filter(reads) {
            let wish = match reader.state {
                ViewState::Current | ViewState::Retired if reader.plan.definition.kind().stored() => {
                    update_new(&reader.view)
                }
                ViewState::Current | ViewState::Retired => {
                    open.push(reader);
                    continue;
                }
                ViewState::Building if arrival == Arrival::Switched => backfill_new(&reader.view),
                ViewState::Building | ViewState::Dropped => continue,
            };
            wishes.insert(wish.key.clone(), wish);
        }
    }
    Ok(wishes.into_values().collect())
}

/// Updates that the data clock makes necessary when it is moved: rows that waited for their time may go to Redis.
pub async fn clock_moved(catalog: &Catalog) -> Result<Vec<NewJob>, Error> {
    let maintained = tidemill_live::maintained_versions(catalog, None).await?;
    let stored = maintained.into_iter().filter(|version| version.plan.definition.kind().stored());
    let views: BTreeSet<String> = stored.map(|version| version.view).collect();
    Ok(views.iter().map(|view| update_new(view)).collect())
}

/// What views need that nobody asks for by an event: rebuilds of those that Redis holds less of than has been written (it
/// came back empty or older), or more than there is (the database came back older); and the end of what nothing needs.
///
/// # Errors
/// Postgres or Redis can't be reached.
pub async fn behind(deps: &Deps) -> Result<Vec<NewJob>, Error> {
    // Before the markers: Redis is written first, so it holds at least what a position read earlier says.
    let positions = deps.catalog.positions(None).await?;
    let markers = deps.online.markers().await?;
    // After them: nothing is written for a version that isn't there.
    let head = deps.lake.head().await?;
    let mut wishes = BTreeMap::new();
    for version in tidemill_live::maintained_versions(&deps.catalog, None).await? {
        let own = |position: &&Position| position.view == version.view && position.version == version.version;
        let Some(position) = positions.iter().find(own) else { continue };
        let Some(online) = online_view(&View::of(&version.plan, version.version)) else { continue };
        if markers.lost(&online, position.lake_version, head) {
            wishes.insert(version.view.clone(), rebuild_new(&version.view));
        }
    }
    Ok(wishes.into_values().collect())
}

/// Takes away retired versions that nothing has needed for a while.
///
/// # Errors
/// Postgres can't be reached.
pub async fn dispensable(deps: &Deps, now: Time) -> Result<Vec<NewJob>, Error> {
    let unneeded = tidemill_live::unneeded_versions(&deps.catalog).await?;
    let long = unneeded.iter().filter(|version| version.retired_at.is_some_and(|at| now - at > KEPT));
    let views: BTreeSet<&str> = long.map(|version| version.view.as_str()).collect();
    Ok(views.into_iter().map(drop_new).collect())
}

/// An update for when a moving data clock reaches the next row that is in the lake ahead of its time.
pub(crate) async fn due_new(
    deps: &Deps,
    subject: &Subject,
    target: &Target,
    store: &Store,
) -> Result<Option<NewJob>, Error> {
    let clock = store.data_clock().await?;
    if wall_time(&clock, target.clock).is_none() {
        // It stands still: nothing is looked for.
        return Ok(None);
    }
    let mut next: Option<Time> = None;
    for input in subject.input_rows(target.lake_version) {
        next = earliest(next, next_valid_at(deps, input, target).await?);
    }
    let Some(next) = next else { return Ok(None) };
    let Some(run_at) = wall_time(&clock, next) else { return Ok(None) };
    let wish = update_new(subject.name());
    // A key of its own: a wish for later must not swallow a wish for now.
    Ok(Some(NewJob {
        key: wish.key.map(|key| format!("{key}@{}", next.timestamp_micros())),
        run_at: Some(run_at),
        ..wish
    }))
}

/// When the first of the rows ahead of the clock becomes known.
async fn next_valid_at(deps: &Deps, input: Read, target: &Target) -> Result<Option<Time>, Error> {
    let files = deps.lake.files(&input.table, target.lake_version).await?;
    let ranges: Vec<_> = files.iter().map(|file| file.valid_at_of(input.source.as_ref())).collect();
    // Of a file that is ahead as a whole the manifest says it; only those across the clock are read.
    let ahead = ranges.iter().flatten().map(|(least, _)| *least).filter(|least| *least > target.clock).min();
    let across = |range: &Option<(Time, Time)>| {
        range.is_none_or(|(least, greatest)| least <= target.clock && greatest > target.clock)
    };
    if !ranges.iter().any(across) {
        return Ok(ahead);
    }
    let tick = chrono::TimeDelta::microseconds(1);
    let between = Some((VALID_AT.to_owned(), target.clock + tick, ahead.unwrap_or(Time::MAX_UTC)));
    let read = Read { filter: Filter { between, ..Filter::default() }, ..input };
    Ok(earliest(ahead, deps.lake.first_valid_at(&read).await?))
}

fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// When a moving clock shows `time`; `None` if it stands still.
fn wall_time(clock: &DataClock, time: Time) -> Option<Time> {
    match *clock {
        DataClock::Wall => Some(time),
        DataClock::Replay { start, speed, anchored_at } if speed > 0.0 => {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                reason = "within 285 years"
            )]
            let micros = ((time - start).num_microseconds()? as f64 / speed).ceil() as i64;
            anchored_at.checked_add_signed(chrono::TimeDelta::microseconds(micros))
        }
        DataClock::Replay { .. } => None,
    }
}
