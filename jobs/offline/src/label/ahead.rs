//! Labels over windows that begin at the moment of asking.
//!
//! ```text
//!                 asked at t                    t + within
//!   ──────────────────┤░░░░░░░░░░░░░░░░░░░░░░░░░░┤──────────►  valid_at of the source's rows
//!     what features   │  (t, t + within]         │
//!     may hold, ≤ t   │  what the label is of    │ matured
//! ```
//!
//! The window `(t, t + within]` is the one that a feature of that length has at `t + within`, so it is computed as such
//! ([`crate::window`]): the same rows count, corrections and tombstones end rows alike, and nothing that a feature as
//! of `t` can hold is in it. An entity without a row in its window has an answer too: its counts are 0.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt64Array,
    },
    compute::{filter_record_batch, is_not_null, take},
    datatypes::{Schema, SchemaRef, TimestampMicrosecondType},
};
use indexmap::IndexMap;
use tidemill_rows::{self as rows, VALID_AT, field, row::column, value::normal};
use tidemill_spec::{
    Ahead, Feature, FeatureView, KeyOrigin, Meta, OnDemand, OnlineFeatures, Rule, Type, ViewInput,
};

use super::{Answers, LabelRequest, Labels, labels_schema, population};
use crate::{CommitRange, Error, KnownAt, Lake, PitRead, PitRequest, View, sql};

/// Column of the end of a window, and of the answer before it has its name. No key begins with `_`.
const UNTIL: &str = "_until";
const ANSWER: &str = "_answer";

pub(super) async fn labels(lake: &Lake, request: &LabelRequest, ahead: &Ahead) -> Result<Labels, Error> {
    let population = request.population.as_ref().ok_or_else(|| {
        Error::invalid(602, format!("label `{}` is asked without its population", request.label.name))
    })?;
    let asked = population::asked(lake, request, population).await?;
    let passed = passed(&asked.rows, ahead, arrived_us(lake, request).await?)?;
    let matured = filter_record_batch(&asked.rows, &passed).map_err(rows::Error::from)?;
    let answer = answers(lake, request, ahead, &matured).await?;
    let (asked_at, matured_at) = (moments(&matured)?, moments_after(&matured, ahead.matures_after())?);
    let keys = request.entity.keys.len();
    let mut columns = matured.columns()[..keys].to_vec();
    columns.extend([
        Arc::new(asked_at.clone()) as ArrayRef,
        Arc::new(asked_at),
        matured_at,
        Arc::clone(&answer),
    ]);
    let known = is_not_null(&answer).map_err(rows::Error::from)?;
    let all = RecordBatch::try_new(labels_schema(request), columns).map_err(rows::Error::from)?;
    let rows = filter_record_batch(&all, &known).map_err(rows::Error::from)?;
    let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
    Ok(Labels {
        asked: Some(count(asked.rows.num_rows()) + asked.incomplete),
        left_out: count(all.num_rows() - rows.num_rows()) + asked.incomplete,
        rows,
    })
}

/// The same for rows that someone else asks, in their order.
pub(super) async fn answers_of(
    lake: &Lake,
    request: &LabelRequest,
    ahead: &Ahead,
    asked: &RecordBatch,
) -> Result<Answers, Error> {
    let keys = request.entity.keys.iter().map(|(name, ty)| (name.as_str(), *ty));
    let typed = keys.chain([(population::ASKED_AT, Type::Timestamp)]);
    let typed = typed.map(|(name, ty)| Ok((name, normal(column(asked, name)?, ty)?, true)));
    let typed = typed.collect::<Result<Vec<_>, Error>>()?;
    let asked = RecordBatch::try_from_iter_with_nullable(typed).map_err(rows::Error::from)?;
    let passed = passed(&asked, ahead, arrived_us(lake, request).await?)?;
    let matured = filter_record_batch(&asked, &passed).map_err(rows::Error::from)?;
    let answer = answers(lake, request, ahead, &matured).await?;
    let mut next = 0..;
    let places = passed.values().iter().map(|passed| if passed { next.next() } else { None });
    let places: UInt64Array = places.collect();
    Ok(Answers {
        answer: take(&answer, &places, None).map_err(rows::Error::from)?,
        matured_at: moments_after(&asked, ahead.matures_after())?,
        matured: matured.num_rows(),
    })
}

/// Up to when the rows of the label's source have come: the newest that the clock has reached. Where none is there yet, no
/// row is no answer.
async fn arrived_us(lake: &Lake, request: &LabelRequest) -> Result<i64, Error> {
    let scan = lake.scan_source(&request.source, CommitRange::upto(request.version)).await?;
    let times: SchemaRef = Schema::new(vec![field(VALID_AT, Type::Timestamp)]).into();
    let rows = scan.rows(&times, &format!("{VALID_AT} <= {}", sql::instant(request.clock)));
    let newest = format!("SELECT coalesce(max(epoch_us({VALID_AT})), {}) FROM {rows}", i64::MIN);
    let doing = format!("finding how far source `{}` has come", request.source.name);
    lake.duck.run(doing, move |session| session.count(&newest)).await
}

/// Whether a row is asked of somebody, and its longest window has passed by an instant.
fn passed(asked: &RecordBatch, ahead: &Ahead, arrived_us: i64) -> Result<BooleanArray, Error> {
    let (at, after_us) = (moments(asked)?, sql::micros(ahead.matures_after()));
    let passed = |row: usize| {
        let complete = asked.columns().iter().all(|column| column.is_valid(row));
        complete && at.value(row).saturating_add(after_us) <= arrived_us
    };
    Ok(BooleanArray::from((0..asked.num_rows()).map(passed).collect::<Vec<bool>>()))
}

/// The answer of each asked row, whose windows have passed.
async fn answers(
    lake: &Lake,
    request: &LabelRequest,
    ahead: &Ahead,
    asked: &RecordBatch,
) -> Result<ArrayRef, Error> {
    let mut lengths: Vec<Duration> = ahead.within().map(|(_, within)| within).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut computed: IndexMap<&str, ArrayRef> = IndexMap::new();
    for length in lengths {
        let of_length: IndexMap<String, Feature> = ahead
            .within()
            .filter(|(_, within)| *within == length)
            .map(|(name, _)| (name.clone(), ahead.aggregates[name].clone()))
            .collect();
        let found = aggregated(lake, request, of_length, length, asked).await?;
        computed.extend(
            ahead
                .aggregates
                .keys()
                .filter_map(|name| Some((name.as_str(), Arc::clone(found.column_by_name(&named(name))?)))),
        );
    }
    answered(lake, request, ahead, &computed, moments_after(asked, Duration::ZERO)?).await
}

/// Aggregates over windows of one length, each in a column of [`named`].
async fn aggregated(
    lake: &Lake,
    request: &LabelRequest,
    aggregates: IndexMap<String, Feature>,
    length: Duration,
    asked: &RecordBatch,
) -> Result<RecordBatch, Error> {
    let keys = request.entity.keys.keys();
    let features = aggregates.keys().map(|name| (name.clone(), named(name))).collect();
    let read = PitRead {
        view: windows(request, aggregates),
        role: None,
        keys: keys.clone().map(|key| KeyOrigin::Request(key.clone())).collect(),
        features,
        found_at: None,
    };
    let keys = keys.map(|key| Ok((key.as_str(), Arc::clone(column(asked, key)?), true)));
    let until = Ok((UNTIL, moments_after(asked, length)?, false));
    let labels = keys.chain([until]).collect::<Result<Vec<_>, Error>>()?;
    let labels = RecordBatch::try_from_iter_with_nullable(labels).map_err(rows::Error::from)?;
    lake.point_in_time(&PitRequest { reads: vec![read], ..pit(request, labels) }).await
}

/// What the label's expression makes of the aggregates; null where it fails.
async fn answered(
    lake: &Lake,
    request: &LabelRequest,
    ahead: &Ahead,
    aggregates: &IndexMap<&str, ArrayRef>,
    moments: ArrayRef,
) -> Result<ArrayRef, Error> {
    let label = &request.label;
    let rule = Rule::Sql(label.sql.clone());
    let on_demand = OnDemand {
        row: ahead.aggregates.iter().map(|(name, aggregate)| (name.clone(), aggregate.ty)).collect(),
        features: [(ANSWER.to_owned(), Feature { ty: label.ty, rule, default: None })].into(),
    };
    let columns = aggregates.iter().map(|(name, array)| (*name, Arc::clone(array), true));
    let columns = [(UNTIL, moments, false)].into_iter().chain(columns);
    let labels = RecordBatch::try_from_iter_with_nullable(columns).map_err(rows::Error::from)?;
    let answered = PitRequest { on_demand: Some(on_demand), ..pit(request, labels) };
    let answered = lake.point_in_time(&answered).await?;
    Ok(Arc::clone(column(&answered, ANSWER)?))
}

fn pit(request: &LabelRequest, labels: RecordBatch) -> PitRequest {
    PitRequest {
        labels,
        label_ts: UNTIL.to_owned(),
        reads: Vec::new(),
        version: request.version,
        known_at: KnownAt::Any,
        on_demand: None,
    }
}

/// The column of an aggregate, whatever the entity's keys are called.
fn named(aggregate: &str) -> String {
    format!("_of_{aggregate}")
}

/// Aggregates over the label's source as a view of windows.
fn windows(request: &LabelRequest, aggregates: IndexMap<String, Feature>) -> View {
    let LabelRequest { label, entity, source, .. } = request;
    let definition = FeatureView {
        name: label.name.clone(),
        meta: Meta::default(),
        entity: entity.name.clone(),
        input: ViewInput::Source(source.name.clone()),
        ttl: None,
        features: aggregates,
        python: None,
        batch: false,
        timeout: None,
        online: OnlineFeatures::None,
        freshness: None,
        leak_allowed: false,
    };
    View { definition, entity: entity.clone(), source: Some(source.clone()), inputs: Vec::new(), version: 0 }
}

/// The moments at which rows are asked.
fn moments(asked: &RecordBatch) -> Result<TimestampMicrosecondArray, Error> {
    Ok(column(asked, population::ASKED_AT)?.as_primitive::<TimestampMicrosecondType>().clone())
}

fn moments_after(asked: &RecordBatch, after: Duration) -> Result<ArrayRef, Error> {
    let after_us = sql::micros(after);
    let later = moments(asked)?.unary::<_, TimestampMicrosecondType>(|at| at.saturating_add(after_us));
    Ok(Arc::new(later.with_timezone("UTC")))
}
