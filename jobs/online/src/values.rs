//! The one function that says what an entity's features are at a moment, given what Redis holds.
//!
//! Serving, `features get` and `features parity` all call it, so they can't disagree about ttl, defaults, ages,
//! deletions and windows. The point-in-time join says the same in SQL; tests hold the two together.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_core::Time;
use tidemill_spec::{Feature, Rule, Type, Value};
use tidemill_windows::{Damaged, Window};

use crate::{
    error::Error,
    stored::{Body, Series, Stored},
    view::{Layout, OnlineView},
};

/// Whether an entity's values may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Found, and young enough.
    Fresh,
    /// Found and served, but older than `freshness.fail`.
    Stale,
    /// Found, but older than the view's ttl: null, or the default.
    Expired,
    /// Never seen, or deleted: null, or the default; counts are 0.
    Absent,
}

impl Status {
    /// The word that replies and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Absent => "absent",
        }
    }
}

/// One entity's features in one view at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewFeatures {
    /// The view.
    pub view: String,
    /// Its version.
    pub version: u32,
    /// Whether they may be relied on.
    pub status: Status,
    /// When the newest row behind them became known.
    pub valid_at: Option<Time>,
    /// Every online feature, in declared order.
    pub values: IndexMap<String, Value>,
    /// Those that are their declared default, because nothing was found.
    pub defaulted: Vec<String>,
}

impl ViewFeatures {
    /// Data time since the newest row behind the values, in seconds.
    pub fn age_seconds(&self, now: Time) -> Option<f64> {
        self.valid_at.map(|valid_at| minutes_between(valid_at, now) * 60.0)
    }
}

/// An entity's features at the data clock's `now`, from the bytes Redis holds for it.
///
/// # Errors
/// [`Error::Unreadable`] if the bytes weren't written for this view version.
pub fn values(view: &OnlineView, bytes: Option<&[u8]>, now: Time) -> Result<ViewFeatures, Error> {
    let stored = bytes.map(|bytes| Stored::decode(view, bytes)).transpose()?;
    Ok(match (stored, view.layout()) {
        (Some(Stored { body: Body::Row(row), order }), Layout::Row(columns)) => {
            let valid_at = view.valid_at(order).unwrap_or(now);
            row_values(view, columns, row, valid_at, now)
        }
        (Some(Stored { body: Body::Tiles(series), .. }), Layout::Tiles(_)) => {
            let newest = series.iter().flat_map(|series| &series.tiles).filter_map(|tile| tile.newest).max();
            let status = newest.map_or(Status::Absent, |newest| freshness(view, newest, now));
            window_values(view, &series, status, newest, now)?
        }
        (_, Layout::Row(_)) => complete(view, Status::Absent, None, |_, _| Value::Null),
        (_, Layout::Tiles(layouts)) => {
            window_values(view, &vec![Series::default(); layouts.len()], Status::Absent, None, now)?
        }
    })
}

fn row_values(
    view: &OnlineView,
    columns: &[(String, Type)],
    row: Vec<Value>,
    valid_at: Time,
    now: Time,
) -> ViewFeatures {
    // Both ends count: a value exactly as old as the ttl is still served.
    if view.definition().ttl.is_some_and(|ttl| older_than(valid_at, now, ttl)) {
        return complete(view, Status::Expired, Some(valid_at), |_, _| Value::Null);
    }
    let mut features: IndexMap<&str, Value> =
        columns.iter().map(|(name, _)| name.as_str()).zip(row).collect();
    let mut found = complete_found(view, freshness(view, valid_at, now), Some(valid_at));
    for (name, feature) in view.features() {
        let value = match feature.rule {
            Rule::Age => age(feature, valid_at, now),
            _ => features.swap_remove(name).unwrap_or(Value::Null),
        };
        found.values.insert(name.to_owned(), value);
    }
    found
}

fn window_values(
    view: &OnlineView,
    series: &[Series],
    status: Status,
    newest: Option<Time>,
    now: Time,
) -> Result<ViewFeatures, Error> {
    let mut damaged = None;
    let found = complete(view, status, newest, |name, feature| {
        let (Some(window), Layout::Tiles(layouts)) = (Window::of(feature), view.layout()) else {
            return Value::Null;
        };
        let place = layouts.iter().zip(series).find_map(|(layout, series)| {
            let position = layout.features.iter().position(|(feature, _)| feature == name)?;
            Some((&series.tiles, position))
        });
        place.map_or(Value::Null, |(tiles, position)| {
            let partials = tiles.iter().map(|tile| (tile.index, &tile.partials[position]));
            let merged = window.merge(partials, now.timestamp_micros());
            merged.map_err(|reason| damaged = Some(reason)).unwrap_or(Value::Null)
        })
    });
    match damaged {
        None => Ok(found),
        Some(Damaged(reason)) => Err(view.unreadable(reason)),
    }
}

/// Every feature by `value`, nulls replaced by the declared default.
fn complete(
    view: &OnlineView,
    status: Status,
    valid_at: Option<Time>,
    mut value: impl FnMut(&str, &Feature) -> Value,
) -> ViewFeatures {
    let mut features = complete_found(view, status, valid_at);
    for (name, feature) in view.features() {
        let value = match (value(name, feature), &feature.default) {
            (Value::Null, Some(default)) => {
                features.defaulted.push(name.to_owned());
                default.clone()
            }
            (value, _) => value,
        };
        features.values.insert(name.to_owned(), value);
    }
    features
}

fn complete_found(view: &OnlineView, status: Status, valid_at: Option<Time>) -> ViewFeatures {
    ViewFeatures {
        view: view.name().to_owned(),
        version: view.version(),
        status,
        valid_at,
        values: IndexMap::new(),
        defaulted: Vec::new(),
    }
}

/// Whether a value that became known then is older than the view's values may be.
pub(crate) fn freshness(view: &OnlineView, valid_at: Time, now: Time) -> Status {
    let limit = view.definition().freshness.and_then(|freshness| freshness.fail);
    if limit.is_some_and(|limit| older_than(valid_at, now, limit)) { Status::Stale } else { Status::Fresh }
}

fn older_than(valid_at: Time, now: Time, limit: Duration) -> bool {
    (now - valid_at).to_std().is_ok_and(|age| age > limit)
}

fn age(feature: &Feature, valid_at: Time, now: Time) -> Value {
    let minutes = minutes_between(valid_at, now);
    match feature.ty {
        #[expect(clippy::cast_possible_truncation, reason = "an age in minutes fits 64 bits")]
        Type::Int => Value::Int(minutes.floor() as i64),
        _ => Value::Float(minutes),
    }
}

fn minutes_between(valid_at: Time, now: Time) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact below 285 years")]
    let micros = (now - valid_at).num_microseconds().unwrap_or(0).max(0) as f64;
    micros / 60e6
}
