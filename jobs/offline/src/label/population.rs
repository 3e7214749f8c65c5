//! Of whom a label over windows is asked, and when: decided by what was known at that moment, not by what came after.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt64Array,
    },
    compute::{concat_batches, filter_record_batch, take},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use chrono::TimeDelta;
use tidemill_core::{Fault, Schedule, Time};
use tidemill_rows::{self as rows, VALID_AT, field, row::column, source_schema};
use tidemill_spec::{KeyOrigin, Source, Type, expr::sql::compiled};

use super::{LabelRequest, Population};
use crate::{
    CommitRange, Error, KnownAt, Lake, PitRead, PitRequest, View,
    sql::{self, fill, list},
};

/// Column of the moment.
pub(super) const ASKED_AT: &str = "label_ts";
/// How many entities and moments are looked at together.
const BLOCK: usize = 1 << 18;

/// Who is asked, by the clock of a request.
pub(super) struct Questions {
    /// The entity's keys and [`ASKED_AT`], sorted by (moment, keys).
    pub(super) rows: RecordBatch,
    /// Rows with a moment whose key is null.
    pub(super) incomplete: i64,
}

/// All that are asked within the range of a request, whether they have matured or not.
pub(super) async fn asked(
    lake: &Lake,
    request: &LabelRequest,
    population: &Population,
) -> Result<Questions, Error> {
    match population {
        Population::Rows { source, asked_at } => of_rows(lake, request, source, asked_at).await,
        Population::Entities { view, schedule } => of_entities(lake, request, view, schedule).await,
    }
}

async fn of_rows(
    lake: &Lake,
    request: &LabelRequest,
    source: &Source,
    asked_at: &str,
) -> Result<Questions, Error> {
    let scan = lake.scan_source(source, CommitRange::upto(request.version)).await?;
    let keys: Vec<String> = request.entity.keys.keys().cloned().collect();
    let clock = sql::instant(request.clock);
    let statement = fill(
        include_str!("../../queries/label/asked.sql"),
        &[
            ("rows", &scan.rows(&source_schema(source), "true")),
            ("clock", &clock),
            ("superseded", &superseded(source)),
            ("rank", &rank(source)),
            ("known", &known_since(source)),
            ("keys", &list(&keys)),
            ("asked_at", &compiled(asked_at)),
        ],
    );
    let sound = sql::sound([(ASKED_AT, Type::Timestamp)]);
    let complete = sql::present(&keys);
    let range = format!(
        "{ASKED_AT} >= {} AND {ASKED_AT} < {} AND {ASKED_AT} <= {clock}",
        sql::instant(request.from),
        sql::instant(request.to)
    );
    let table =
        format!("CREATE TEMP TABLE asked AS SELECT * FROM (SELECT {sound} FROM ({statement})) WHERE {range}");
    let chosen = format!("SELECT * FROM asked WHERE {complete} ORDER BY {ASKED_AT}, {}, _seq", list(&keys));
    let incomplete = format!("SELECT count(*) FROM asked WHERE NOT ({complete})");
    let early = format!("SELECT count(*) FROM asked WHERE {ASKED_AT} < _known_at");
    let schema = schema(request);
    let (doing, limit) =
        (format!("finding whom label {} is asked of", request.label.name), lake.duck.rows_limit());
    let (label, source) = (request.label.name.clone(), source.name.clone());
    lake.duck
        .run_declared(doing.clone(), move |session| {
            session.in_time(&doing, limit, || session.execute(&table))?;
            let early = session.count(&early)?;
            if early > 0 {
                return Err(asked_too_early(&label, &source, early).into());
            }
            Ok(Questions {
                rows: session.query_as(&chosen, &schema)?,
                incomplete: session.count(&incomplete)?,
            })
        })
        .await
}

/// Among the rows of a key, the one that counts last has the greatest.
fn rank(source: &Source) -> String {
    if source.unique.is_empty() {
        return "0".to_owned();
    }
    format!("row_number() OVER ({})", sql::key_order(source))
}

/// Leaves out what was no longer so at its moment.
fn superseded(source: &Source) -> String {
    let same = sql::same("later", "one", &source.unique);
    same.map_or_else(String::new, |same| {
        format!(
            "ANTI JOIN moment AS later ON {same} AND later._rank > one._rank AND later.{VALID_AT} <= one._label_ts"
        )
    })
}

/// Since when there is such a row: a correction is of one that was known before.
fn known_since(source: &Source) -> String {
    if source.unique.is_empty() {
        return VALID_AT.to_owned();
    }
    format!("min({VALID_AT}) OVER (PARTITION BY {})", list(&source.unique))
}

/// Whoever is asked because of what came later is chosen by hindsight: the row itself may be the answer.
fn asked_too_early(label: &str, source: &str, rows: i64) -> Error {
    let message =
        format!("label `{label}` is asked of {rows} rows of source `{source}` before they are known");
    let hint = "make `asked_at` of its population a moment that is not before the source's `available_time`";
    Error::Invalid(Fault::coded(414, message).hint(hint))
}

/// An entity is asked at a moment at which the view has a value for it: the join decides, as it does for features.
async fn of_entities(
    lake: &Lake,
    request: &LabelRequest,
    view: &View,
    schedule: &Schedule,
) -> Result<Questions, Error> {
    let known = known_entities(lake, request, view).await?;
    let first_us = column(&known, FIRST)?.as_primitive::<Int64Type>().values().clone();
    let mut kept = vec![RecordBatch::new_empty(schema(request))];
    let moments = moments(request, schedule, first_us.iter().min().copied());
    for block in moments.chunks((BLOCK / known.num_rows().max(1)).max(1)) {
        let asked = asked_by(&known, &first_us, block, &schema(request))?;
        kept.push(with_a_value(lake, request, view, asked).await?);
    }
    let rows = concat_batches(&schema(request), &kept).map_err(rows::Error::from)?;
    Ok(Questions { rows, incomplete: 0 })
}

/// Column of when an entity was named first.
const FIRST: &str = "_first_us";

/// The keys of every entity that the view's rows name, sorted, and when each was named first.
async fn known_entities(lake: &Lake, request: &LabelRequest, view: &View) -> Result<RecordBatch, Error> {
    let keys = view.keys();
    let mut fields: Vec<Field> = view.entity.keys.iter().map(|(name, ty)| field(name, *ty)).collect();
    fields.push(Field::new(FIRST, DataType::Int64, false));
    let schema: SchemaRef = Schema::new(fields).into();
    let mut named = Vec::new();
    for stored in view.of_same_entity() {
        let (scan, schema) = lake.scan_moments(stored, CommitRange::upto(request.version)).await?;
        let rows = scan.rows(&schema, &format!("{VALID_AT} <= {}", sql::instant(request.clock)));
        named.push(format!("SELECT {}, {VALID_AT} FROM {rows}", list(&keys)));
    }
    if named.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let statement = fill(
        include_str!("../../queries/label/entities.sql"),
        &[
            ("named", &format!("({})", named.join(" UNION ALL "))),
            ("keys", &list(&keys)),
            ("present", &sql::present(&keys)),
        ],
    );
    let doing = format!("finding the entities of view {}", view.name());
    lake.duck.run(doing, move |session| session.query_as(&statement, &schema)).await
}

/// The ticks within the range of a request that its clock has reached, from the first at which anyone is known.
fn moments(request: &LabelRequest, schedule: &Schedule, first_us: Option<i64>) -> Vec<Time> {
    let Some(first) = first_us.and_then(Time::from_timestamp_micros) else { return Vec::new() };
    let before = |time: Time| time.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(time);
    let (from, last) = (request.from.max(first), request.clock.min(before(request.to)));
    schedule.due(before(from), last).map(|tick| tick.at).collect()
}

/// The entities that were named by each of some moments.
fn asked_by(
    known: &RecordBatch,
    first_us: &[i64],
    moments: &[Time],
    schema: &SchemaRef,
) -> Result<RecordBatch, Error> {
    let (mut places, mut asked_at) = (Vec::new(), Vec::new());
    for moment_us in moments.iter().map(Time::timestamp_micros) {
        for (place, _) in (0_u64..).zip(first_us).filter(|(_, first)| **first <= moment_us) {
            places.push(place);
            asked_at.push(moment_us);
        }
    }
    let places = UInt64Array::from(places);
    let keys = known.columns().split_last().map_or(&[][..], |(_, keys)| keys);
    let mut columns = keys
        .iter()
        .map(|key| take(key, &places, None))
        .collect::<Result<Vec<_>, _>>()
        .map_err(rows::Error::from)?;
    columns.push(Arc::new(TimestampMicrosecondArray::from(asked_at).with_timezone("UTC")) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns).map_err(rows::Error::from)?)
}

/// Those that the view has a value for at their moment.
async fn with_a_value(
    lake: &Lake,
    request: &LabelRequest,
    view: &View,
    asked: RecordBatch,
) -> Result<RecordBatch, Error> {
    let own = asked.num_columns();
    let read = |(place, stored): (usize, &View)| PitRead {
        role: Some(format!("_{place}")),
        keys: view.keys().into_iter().map(KeyOrigin::Request).collect(),
        // What a window finds depends on the features that are read.
        features: (0..)
            .zip(stored.definition.features.keys())
            .map(|(feature, name): (usize, _)| (name.clone(), format!("_{place}_{feature}")))
            .collect(),
        found_at: Some(found(place)),
        view: stored.clone(),
    };
    let reads: Vec<PitRead> = view.of_same_entity().into_iter().enumerate().map(read).collect();
    let count = reads.len();
    let (version, known_at) = (request.version, KnownAt::Any);
    let label_ts = ASKED_AT.to_owned();
    let values = lake
        .point_in_time(&PitRequest { labels: asked, label_ts, reads, version, known_at, on_demand: None })
        .await?;
    let found =
        (0..count).map(|place| Ok(column(&values, &found(place))?)).collect::<Result<Vec<_>, Error>>()?;
    let any: BooleanArray =
        (0..values.num_rows()).map(|row| Some(found.iter().any(|at| at.is_valid(row)))).collect();
    let own = values.project(&(0..own).collect::<Vec<_>>()).map_err(rows::Error::from)?;
    Ok(filter_record_batch(&own, &any).map_err(rows::Error::from)?)
}

fn found(place: usize) -> String {
    format!("_found_{place}")
}

fn schema(request: &LabelRequest) -> SchemaRef {
    let keys = request.entity.keys.iter().map(|(name, ty)| field(name, *ty));
    Schema::new(keys.chain([field(ASKED_AT, Type::Timestamp)]).collect::<Vec<_>>()).into()
}
