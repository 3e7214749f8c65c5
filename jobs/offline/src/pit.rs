//! The point-in-time join: what the features of each label row were at its own moment.
//!
//! For views with rows the winner is the greatest row by `(valid_at, created_at, seq)` with equal keys and
//! `valid_at <= label_ts`; then nothing is found where it is deleted or `valid_at < label_ts - ttl`. Over a source
//! with `unique` columns the winner is the newest row of the last unique key that is not withdrawn ([`upserts`]).
//! Where nothing is found the feature's default is taken, or null; a winner's own null is a null. A null key joins
//! nothing. Every label row is kept, in order, duplicates too. Windows see [`crate::window`]; a view in SQL over views has
//! what its expressions make of its inputs at that moment (`derived`).

mod asked;
mod derived;
mod join;
mod newest;
mod upserts;
mod winners;

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, make_comparator},
    compute::{SortOptions, concat_batches, kernels::cmp::distinct},
    datatypes::{Field, FieldRef, Schema},
};
use tidemill_core::{Fault, Time};
use tidemill_rows::{self as rows, value::normal};
use tidemill_spec::{Hydration, KeyOrigin, OnDemand, Type};

use crate::{Error, Lake, Version, View};
pub(crate) use asked::{Asked, Entities, Known, grouped};
use join::Join;

/// What is asked: features of several views for rows with a moment each.
#[derive(Clone, Debug)]
pub struct PitRequest {
    /// The label rows; all columns are kept as they are.
    pub labels: RecordBatch,
    /// Their timestamp column that holds each row's moment; no nulls.
    pub label_ts: String,
    /// What to read, in order: a read may take its keys from the reads before it.
    pub reads: Vec<PitRead>,
    /// The state of the lake that is read.
    pub version: Version,
    /// Which corrections count.
    pub known_at: KnownAt,
    /// What is computed from the label rows' columns and what was read; it ends the columns.
    pub on_demand: Option<OnDemand>,
}

/// One view to read.
#[derive(Clone, Debug)]
pub struct PitRead {
    /// The view.
    pub view: View,
    /// What it is called where later reads take keys from it; none: by its own name.
    pub role: Option<String>,
    /// For each key column of its entity: where its value comes from. `Request` names a label column.
    pub keys: Vec<KeyOrigin>,
    /// Features and the columns they become.
    pub features: Vec<(String, String)>,
    /// A column for the `valid_at` of what was found (for windows: of the newest row within the longest window
    /// asked for); null where nothing was.
    pub found_at: Option<String>,
}

/// Which rows count, by when they were accepted. Both ends are inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum KnownAt {
    /// All: corrections and bulk history count.
    #[default]
    Any,
    /// Those accepted by each label row's own moment.
    Label,
    /// Those accepted by this instant.
    Time(Time),
}

impl PitRead {
    /// All features of a view under their own names, keys from the label columns of the same names.
    pub fn all(view: View) -> Self {
        let keys = view.entity.keys.keys().map(|key| KeyOrigin::Request(key.clone())).collect();
        let features = view.definition.features.keys().map(|name| (name.clone(), name.clone())).collect();
        Self { view, role: None, keys, features, found_at: None }
    }

    fn name(&self) -> &str {
        self.role.as_deref().unwrap_or(self.view.name())
    }
}

impl PitRequest {
    /// The column of [`Self::at`]'s moment.
    pub const MOMENT: &str = "_at";

    /// All features of a view for some entities, all at one moment; in `valid_at` when what was found became known.
    /// `entities`: their keys.
    ///
    /// # Errors
    /// `entities` lacks columns.
    pub fn at(view: &View, entities: &RecordBatch, version: Version, at: Time) -> Result<Self, Error> {
        let asked = Asked::at(view, entities, at);
        let moment: (&str, ArrayRef, bool) = (Self::MOMENT, asked.moments, false);
        let keys = asked.keys.iter().map(|(name, array)| (name.as_str(), Arc::clone(array), true));
        let labels = RecordBatch::try_from_iter_with_nullable([moment].into_iter().chain(keys));
        Ok(Self {
            labels: labels.map_err(rows::Error::from)?,
            label_ts: Self::MOMENT.to_owned(),
            reads: vec![PitRead { found_at: Some(rows::VALID_AT.to_owned()), ..PitRead::all(view.clone()) }],
            version,
            known_at: KnownAt::Any,
            on_demand: None,
        })
    }

    /// What a model's vector needs: every read of its hydration, features under the names of its columns, and what is
    /// computed from these.
    /// `view`: finds the version to read of each view.
    ///
    /// # Errors
    /// A view that `view` doesn't know.
    pub fn hydrating(
        labels: RecordBatch,
        label_ts: impl Into<String>,
        hydration: &Hydration,
        view: impl Fn(&str) -> Option<View>,
        version: Version,
    ) -> Result<Self, Error> {
        let read = |read: &tidemill_spec::HydrationRead| {
            let view = view(&read.view)
                .ok_or_else(|| Error::invalid(602, format!("view `{}` has no version to read", read.view)))?;
            let features = read.features.iter().map(|name| (name.clone(), read.column(name))).collect();
            let (role, keys) = (read.role.clone(), read.keys.clone());
            Ok(PitRead { view, role, keys, features, found_at: None })
        };
        let reads = hydration.rounds.iter().flatten().map(read).collect::<Result<_, Error>>()?;
        let (label_ts, on_demand) = (label_ts.into(), hydration.on_demand.clone());
        Ok(Self { labels, label_ts, reads, version, known_at: KnownAt::Any, on_demand })
    }
}

impl Lake {
    /// The label rows with a column for every feature asked for.
    ///
    /// # Errors
    /// A null moment, a key column that is not there, two columns of one name, `known_at` with a Python view over views.
    pub async fn point_in_time(&self, request: &PitRequest) -> Result<RecordBatch, Error> {
        let strict_from = if request.known_at == KnownAt::Label { 0 } else { request.labels.num_rows() };
        self.joined(request, strict_from).await
    }

    /// The same, and how many rows would be others if each saw of that only what was accepted by its own moment. Every
    /// label is asked twice in one join, so the files are read once.
    ///
    /// # Errors
    /// As [`point_in_time`](Self::point_in_time); a Python view over views.
    pub async fn audited(&self, request: &PitRequest) -> Result<(RecordBatch, u64), Error> {
        if request.known_at == KnownAt::Label {
            return Ok((self.point_in_time(request).await?, 0));
        }
        let (labels, count) = (&request.labels, request.labels.num_rows());
        let twice = concat_batches(&labels.schema(), [labels, labels]).map_err(rows::Error::from)?;
        let joined = self.joined(&PitRequest { labels: twice, ..request.clone() }, count).await?;
        let (rows, strict) = (joined.slice(0, count), joined.slice(count, count));
        let others = rows_that_differ(&rows, &strict, labels.num_columns())?;
        Ok((rows, others))
    }

    /// `strict_from`: the first of the label rows that see only what was accepted by their own moment.
    async fn joined(&self, request: &PitRequest, strict_from: usize) -> Result<RecordBatch, Error> {
        let moments = moments_of(request)?;
        let by = if let KnownAt::Time(time) = request.known_at { Some(time) } else { None };
        let known = Known { by, strict_from };
        let (join, wanted) = (Join::new(self, request), plan(request)?);
        let mut found: Vec<Found> = Vec::new();
        for (read, features) in request.reads.iter().zip(wanted) {
            let asked = Asked { keys: keys_of(request, read, &found)?, moments: moments.clone(), known };
            let columns = join.features(read, &features, &asked).await?;
            found.push(Found { view: read.name().to_owned(), columns });
        }
        let rows = assemble(request, &found)?;
        match &request.on_demand {
            Some(on_demand) => derived::on_demand(self, on_demand, rows).await,
            None => Ok(rows),
        }
    }
}

/// Rows of which any column from `first` on differs; two nulls are equal. Those before are the labels' own, of any type.
fn rows_that_differ(a: &RecordBatch, b: &RecordBatch, first: usize) -> Result<u64, Error> {
    let mut differs = vec![false; a.num_rows()];
    for (left, right) in a.columns().iter().zip(b.columns()).skip(first) {
        if left.data_type().is_nested() {
            let order = make_comparator(left, right, SortOptions::default()).map_err(rows::Error::from)?;
            for (row, differs) in differs.iter_mut().enumerate() {
                *differs |= order(row, row).is_ne();
            }
        } else {
            for (row, unlike) in distinct(left, right).map_err(rows::Error::from)?.iter().enumerate() {
                differs[row] |= unlike.unwrap_or(false);
            }
        }
    }
    Ok(differs.into_iter().filter(|differs| *differs).count() as u64)
}

/// What was read of one view: column name in the request's rows → values, and the same by feature for later keys.
struct Found {
    view: String,
    columns: Vec<(String, ArrayRef)>,
}

/// The column that stands for when what was found was known.
pub(crate) const FOUND_AT: &str = "found_at of the row";

/// For each read the features to compute: those asked for and those that later reads take keys from.
fn plan(request: &PitRequest) -> Result<Vec<Vec<String>>, Error> {
    let needed = |read: &PitRead| {
        let keys = request.reads.iter().flat_map(|later| &later.keys).filter_map(|origin| match origin {
            KeyOrigin::Feature { view, feature } if view == read.name() => Some(feature),
            _ => None,
        });
        let mut names: Vec<String> = Vec::new();
        for name in read.features.iter().map(|(name, _)| name).chain(keys) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        match names.iter().find(|name| !read.view.definition.features.contains_key(*name)) {
            Some(name) => {
                Err(Error::invalid(602, format!("view `{}` has no feature `{name}`", read.view.name())))
            }
            None => Ok(names),
        }
    };
    request.reads.iter().map(needed).collect()
}

fn moments_of(request: &PitRequest) -> Result<ArrayRef, Error> {
    let moments = normal(label_column(request, &request.label_ts)?, Type::Timestamp)?;
    if moments.null_count() > 0 {
        let message = format!("{} label rows have no `{}`", moments.null_count(), request.label_ts);
        return Err(Error::invalid(606, message));
    }
    Ok(moments)
}

/// A read's keys: from label columns, or from what reads before it found.
fn keys_of(request: &PitRequest, read: &PitRead, found: &[Found]) -> Result<Vec<(String, ArrayRef)>, Error> {
    typed_keys(&read.view, &read.keys, found, |name| label_column(request, name).cloned())
}

/// A view's key columns, from where their values come: `given`, or what was found before.
fn typed_keys(
    of: &View,
    origins: &[KeyOrigin],
    found: &[Found],
    given: impl Fn(&str) -> Result<ArrayRef, Error>,
) -> Result<Vec<(String, ArrayRef)>, Error> {
    let origin = |origin: &KeyOrigin| match origin {
        KeyOrigin::Request(name) => given(name),
        KeyOrigin::Feature { view, feature } => found
            .iter()
            .filter(|found| found.view == *view)
            .find_map(|found| found.columns.iter().find(|(name, _)| name == feature))
            .map(|(_, array)| Arc::clone(array))
            .ok_or_else(|| {
                let (reader, key) = (of.name(), format!("{view}.{feature}"));
                Error::invalid(
                    602,
                    format!("view `{reader}` takes a key from `{key}`, which is not read before it"),
                )
            }),
    };
    let keys = of.entity.keys.iter().zip(origins);
    keys.map(|((name, ty), from)| Ok((name.clone(), normal(&origin(from)?, *ty)?))).collect()
}

fn label_column<'a>(request: &'a PitRequest, name: &str) -> Result<&'a ArrayRef, Error> {
    request
        .labels
        .column_by_name(name)
        .ok_or_else(|| Error::invalid(602, format!("the label rows have no column `{name}`")))
}

/// A feature whose column is there already, in the label rows or among the features of another view.
fn double(view: &str, feature: &str, name: &str, of_labels: bool) -> Fault {
    let (other, mend) = if of_labels {
        ("a column of the label rows", "rename the label rows' column")
    } else {
        ("a feature of another view", "rename one of them and `tidemill apply`")
    };
    let message =
        format!("two columns are named `{name}`: {other}, and feature `{feature}` of view `{view}`");
    Fault::coded(603, message)
        .hint(format!("{mend}, or leave the feature out: `--inputs {view}:FEATURE` names single ones"))
}

/// Label columns, then the features in the order they were asked for.
fn assemble(request: &PitRequest, found: &[Found]) -> Result<RecordBatch, Error> {
    let schema = request.labels.schema();
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut columns = request.labels.columns().to_vec();
    for (read, found) in request.reads.iter().zip(found) {
        let features = read.features.iter().map(|(feature, name)| (feature.as_str(), name));
        let wanted = features.chain(read.found_at.iter().map(|name| (FOUND_AT, name)));
        for (feature, name) in wanted {
            if fields.iter().any(|field| field.name() == name) {
                let of_labels = request.labels.column_by_name(name).is_some();
                return Err(Error::Invalid(double(read.view.name(), feature, name, of_labels)));
            }
            let Some((_, array)) = found.columns.iter().find(|(known, _)| known == feature) else { continue };
            fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
            columns.push(Arc::clone(array));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(request.labels.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    Ok(batch.map_err(rows::Error::from)?)
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Float64Array, ListArray},
        datatypes::Int64Type,
    };

    use super::*;

    #[test]
    fn a_row_differs_where_any_column_does_and_nulls_are_equal() {
        let batch = |a: [Option<f64>; 3], b: [Option<f64>; 3]| {
            let column = |values: [Option<f64>; 3]| Arc::new(Float64Array::from(values.to_vec())) as _;
            RecordBatch::try_from_iter([("a", column(a)), ("b", column(b))]).unwrap()
        };
        let one = batch([Some(1.0), None, Some(3.0)], [None, None, Some(f64::NAN)]);
        assert_eq!(rows_that_differ(&one, &one, 0).unwrap(), 0);
        let other = batch([Some(1.0), Some(2.0), Some(3.0)], [Some(0.0), Some(2.0), Some(f64::NAN)]);
        assert_eq!(rows_that_differ(&one, &other, 0).unwrap(), 2);
        assert_eq!(rows_that_differ(&one, &other, 2).unwrap(), 0);

        let list = |values: [Option<Vec<Option<i64>>>; 3]| {
            let values = ListArray::from_iter_primitive::<Int64Type, _, _>(values);
            RecordBatch::try_from_iter([("a", Arc::new(values) as ArrayRef)]).unwrap()
        };
        let one = list([Some(vec![Some(1), Some(2)]), None, Some(vec![])]);
        let other = list([Some(vec![Some(1), Some(3)]), None, None]);
        assert_eq!(rows_that_differ(&one, &one, 0).unwrap(), 0);
        assert_eq!(rows_that_differ(&one, &other, 0).unwrap(), 2);
    }
}
