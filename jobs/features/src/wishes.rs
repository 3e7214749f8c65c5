//! Jobs of features as others wish for them: in the transaction that makes them necessary.

use std::collections::BTreeSet;

use tidemill_catalog::{Catalog, Change, ChangeKind, Position, ViewVersion};
use tidemill_core::{DataClock, Time};
use tidemill_offline::{CommitRange, Filter, Read, Version};
use tidemill_rows::{VALID_AT, value_at};
use tidemill_runtime::job_new;
use tidemill_spec::{
    ObjectKind, Objects, Value, ViewInput,
    args::{FEATURES_UPDATE, FeaturesUpdate, features_concurrency_key},
    steps::{FEATURES_BACKFILL, FeaturesBackfill},
};
use tidemill_store::{NewJob, Store};

use crate::{
    Deps, Error,
    rebuild::{FEATURES_REBUILD, FeaturesRebuild},
    subject::{Subject, online_view},
    target::Target,
};

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

/// What an applied project makes necessary: new views are computed, changed ones filled anew.
pub fn wishes_of_changes(changes: &[Change]) -> Vec<NewJob> {
    let wish = |change: &Change| match (change.object.kind, change.change, change.building) {
        (ObjectKind::View, _, Some(_)) => Some(backfill_new(&change.object.name)),
        (ObjectKind::View, ChangeKind::Added | ChangeKind::Changed, None) => {
            Some(update_new(&change.object.name))
        }
        _ => None,
    };
    changes.iter().filter_map(wish).collect()
}

/// Updates of the views that read a source directly; those behind them follow by themselves.
pub fn updates_of_source(objects: &Objects, source: &str) -> Vec<NewJob> {
    let reads = |input: &ViewInput| matches!(input, ViewInput::Source(name) if name == source);
    objects.views.values().filter(|view| reads(&view.input)).map(|view| update_new(&view.name)).collect()
}

/// Updates that the data clock makes necessary when it is moved: rows that waited for their time may go to Redis.
pub async fn clock_moved(catalog: &Catalog) -> Result<Vec<NewJob>, Error> {
    Ok(catalog.current_views().await?.iter().map(|version| update_new(&version.view)).collect())
}

/// What views need that nobody asks for by an event.
#[derive(Debug)]
pub struct Behind {
    /// Updates of views that live models read and the project has no more, where their inputs have new rows.
    pub in_lake: Vec<NewJob>,
    /// Rebuilds of the views that Redis holds less of than has been written: it came back empty or older. A Redis that is
    /// away keeps nothing of the lake waiting.
    pub in_redis: Result<Vec<NewJob>, Error>,
}

/// Looks once for views that are behind: in the lake and in Redis.
///
/// # Errors
/// Postgres can't be reached.
pub async fn behind(deps: &Deps) -> Result<Behind, Error> {
    let (objects, head) = (deps.catalog.objects().await?, deps.lake.head().await?);
    let versions = tidemill_live::maintained_versions(&deps.catalog, None).await?;
    // Before the markers: Redis is written first, so it holds at least what a position read earlier says.
    let positions = deps.catalog.positions(None).await?;
    let position = |version: &ViewVersion| {
        let own = |position: &&Position| position.view == version.view && position.version == version.version;
        positions.iter().find(own).map(|position| position.lake_version)
    };
    let kept: Vec<Kept> =
        versions.into_iter().map(|version| Kept { position: position(&version), version }).collect();
    Ok(Behind {
        in_lake: behind_in_lake(deps, &objects, &kept, head).await?,
        in_redis: behind_in_redis(deps, &objects, &kept).await,
    })
}

/// A version that is kept up to date, and how far it is.
struct Kept {
    version: ViewVersion,
    position: Option<Version>,
}

async fn behind_in_lake(
    deps: &Deps,
    objects: &Objects,
    kept: &[Kept],
    head: Version,
) -> Result<Vec<NewJob>, Error> {
    let mut behind = BTreeSet::new();
    for Kept { version, position } in kept {
        if objects.views.contains_key(&version.view) {
            continue;
        }
        let Ok(subject) = Subject::of(&deps.catalog, objects, version.clone()).await else { continue };
        let new = CommitRange { after: position.unwrap_or(0), upto: head };
        for table in subject.input_tables() {
            if !deps.lake.commits(&table, new).await?.is_empty() {
                behind.insert(subject.name().to_owned());
            }
        }
    }
    Ok(behind.iter().map(|view| update_new(view)).collect())
}

async fn behind_in_redis(deps: &Deps, objects: &Objects, kept: &[Kept]) -> Result<Vec<NewJob>, Error> {
    let markers = deps.online.markers().await?;
    let mut wishes: Vec<NewJob> = Vec::new();
    for Kept { version, position } in kept {
        let Some(view) = tidemill_offline::View::new(objects, &version.definition, version.version) else {
            continue;
        };
        let Some(position) = *position else { continue };
        if online_view(&view).is_some_and(|online| markers.held(&online) < position) {
            wishes.push(rebuild_new(&version.view));
        }
    }
    Ok(wishes)
}

/// An update for when a moving data clock reaches the next row that is in the lake ahead of its time.
pub(crate) async fn due_new(
    deps: &Deps,
    subject: &Subject,
    target: &Target,
    store: &Store,
) -> Result<Option<NewJob>, Error> {
    let mut next: Option<Time> = None;
    for table in subject.input_tables() {
        next = earliest(next, next_valid_at(deps, table, target).await?);
    }
    let Some(next) = next else { return Ok(None) };
    let Some(run_at) = wall_time(&store.data_clock().await?, next) else { return Ok(None) };
    let wish = update_new(subject.name());
    // A key of its own: a wish for later must not swallow a wish for now.
    Ok(Some(NewJob {
        key: wish.key.map(|key| format!("{key}@{}", next.timestamp_micros())),
        run_at: Some(run_at),
        ..wish
    }))
}

async fn next_valid_at(
    deps: &Deps,
    table: tidemill_offline::Table,
    target: &Target,
) -> Result<Option<Time>, Error> {
    let files = deps.lake.files(&table, target.lake_version).await?;
    let latest = files.iter().filter_map(|file| file.valid_at).map(|(_, latest)| latest).max();
    let Some(latest) = latest.filter(|latest| *latest > target.clock) else { return Ok(None) };
    let tick = chrono::TimeDelta::microseconds(1);
    let future = Read {
        table,
        commits: CommitRange::upto(target.lake_version),
        filter: Filter {
            between: Some((VALID_AT.to_owned(), target.clock + tick, latest + tick)),
            ..Filter::default()
        },
        columns: Some(vec![VALID_AT.to_owned()]),
    };
    let rows = deps.lake.read(&future).await?;
    let Some(column) = rows.column_by_name(VALID_AT) else { return Ok(None) };
    let times = (0..rows.num_rows()).filter_map(|row| match value_at(column, row) {
        Value::Timestamp(time) => Some(time),
        _ => None,
    });
    Ok(times.min())
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
