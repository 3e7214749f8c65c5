//! The source rows that the windows of some entities may count, in the total order, entity by entity.

use std::ops::Range;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use tidemill_core::Time;
use tidemill_rows::{arrow_type, schema::partial_type, source_schema};
use tidemill_spec::{Source, Type};

use super::Window;
use crate::{
    CommitRange, Error, KnownAt, Lake, Table, Version, View,
    pit::Asked,
    sql::{self, fill, list, quoted},
};

/// Rows in the total order of each entity, and which entity each asked row is of.
#[derive(Debug)]
pub(crate) struct Events {
    /// For each asked row its entity; `None` where a key is null.
    pub(super) entity_of: Vec<Option<usize>>,
    /// For each entity its rows.
    pub(super) spans: Vec<Range<usize>>,
    /// When each row became valid.
    pub(super) valid_us: Vec<i64>,
    /// From when each row counts.
    pub(super) known_us: Vec<i64>,
    /// From when it no longer does; `i64::MAX` for never.
    pub(super) until_us: Vec<i64>,
    /// For each window the column it aggregates, in its partial's type; for counts, whether the row counts.
    pub(super) values: Vec<ArrayRef>,
}

impl Events {
    /// The rows of an entity that are valid in `(after_us, upto_us]`, whether they count or not.
    pub(super) fn between(&self, entity: usize, after_us: i64, upto_us: i64) -> Range<usize> {
        let Range { start, end } = self.spans[entity];
        let valid = &self.valid_us[start..end];
        start + valid.partition_point(|at| *at <= after_us)
            ..start + valid.partition_point(|at| *at <= upto_us)
    }

    /// Whether a row counts at a moment: known by then, and not replaced yet.
    pub(super) fn counts(&self, row: usize, at_us: i64) -> bool {
        self.known_us[row] <= at_us && at_us < self.until_us[row]
    }
}

impl Lake {
    /// The rows that the windows may count at the asked moments, as of a version.
    pub(super) async fn events(
        &self,
        view: &View,
        windows: &[Window],
        asked: &Asked,
        version: Version,
        known_at: KnownAt,
    ) -> Result<Events, Error> {
        let source = view.source()?;
        let scan = self.scan(&Table::source(&source.name), CommitRange::upto(version)).await?;
        let rows = scan.rows(&columns_of(view, source, windows), &condition(windows, asked, known_at));
        let keys = view.keys();
        let entities = format!(
            "CREATE TEMP TABLE asked AS SELECT row_number() OVER (ORDER BY {keys}) - 1 AS _entity, * \
             FROM (SELECT DISTINCT {keys} FROM label WHERE {})",
            sql::present(&keys),
            keys = list(&keys),
        );
        let entity_of = format!(
            "SELECT asked._entity AS _entity FROM label LEFT JOIN asked ON {} ORDER BY label._row",
            sql::equal_keys("label", "asked", &keys)
        );
        let statement = statement(source, windows, &rows, &keys, known_at);
        let (schema, labels) = (result_schema(windows), asked.batch()?);
        let loaded = self.duck.run(format!("reading the rows of view {}", view.name()), move |session| {
            session.load("label", &labels)?;
            session.execute(&entities)?;
            let of = session.query_as(&entity_of, &Schema::new(vec![int("_entity")]).into())?;
            let entities = session.count("SELECT count(*) FROM asked")?;
            Ok((of, entities, session.query_as(&statement, &schema)?))
        });
        let (of, entities, rows) = loaded.await?;
        Ok(gather(&of, usize::try_from(entities).unwrap_or(0), &rows))
    }
}

/// Entity keys, unique columns, aggregated columns and the system columns.
fn columns_of(view: &View, source: &Source, windows: &[Window]) -> SchemaRef {
    let needed = |name: &String| {
        let aggregated = windows.iter().filter_map(|window| window.column.as_ref());
        view.entity.keys.contains_key(name)
            || source.unique.contains(name)
            || aggregated.into_iter().any(|column| column == name)
            || !source.columns.contains_key(name)
    };
    let schema = source_schema(source);
    let kept = schema.fields().iter().filter(|field| needed(field.name()));
    Schema::new(kept.map(|field| field.as_ref().clone()).collect::<Vec<_>>()).into()
}

/// Rows that no asked window reaches are not read. A row is only ever replaced by one that is valid later, so
/// leaving older ones out changes nothing.
fn condition(windows: &[Window], asked: &Asked, known_at: KnownAt) -> String {
    let at = |us: i64| Time::from_timestamp_micros(us).map(sql::instant);
    let Some((first, last)) = asked.span_us() else { return "false".to_owned() };
    let tail = windows.iter().map(|window| window.tail_us(first)).min();
    let mut conditions = vec!["true".to_owned()];
    conditions.extend(at(last).map(|last| format!("valid_at <= {last}")));
    conditions.extend(tail.and_then(at).map(|tail| format!("valid_at > {tail}")));
    if let KnownAt::Time(time) = known_at {
        conditions.push(format!("created_at <= {}", sql::instant(time)));
    }
    conditions.join(" AND ")
}

fn statement(source: &Source, windows: &[Window], rows: &str, keys: &[String], known_at: KnownAt) -> String {
    let known = match known_at {
        KnownAt::Label => "greatest(epoch_us(valid_at), epoch_us(created_at))",
        KnownAt::Any | KnownAt::Time(_) => "epoch_us(valid_at)",
    };
    let until = format!(
        "min({known}) OVER (PARTITION BY {} ORDER BY valid_at, created_at, seq \
         ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)",
        list(&source.unique)
    );
    let next = format!(
        "lead({known}) OVER (PARTITION BY {} ORDER BY valid_at, created_at, seq)",
        list(&source.unique)
    );
    let until = match known_at {
        _ if source.unique.is_empty() => "NULL::BIGINT",
        KnownAt::Label => until.as_str(),
        // Without `known_at` rows become known in their order, so the next one is the first.
        KnownAt::Any | KnownAt::Time(_) => next.as_str(),
    };
    let values =
        windows.iter().enumerate().map(|(index, window)| format!("{} AS {}", value(window), slot(index)));
    fill(
        include_str!("../../queries/window/events.sql"),
        &[
            ("known", known),
            ("until", until),
            ("keys", &sql::equal_keys("life", "asked", keys)),
            ("values", &values.collect::<Vec<_>>().join(", ")),
            ("rows", rows),
        ],
    )
}

fn value(window: &Window) -> String {
    match (&window.column, partial_type(window.aggregate, window.ty)) {
        (None, _) => "true".to_owned(),
        (Some(column), None) => format!("life.{} IS NOT NULL", quoted(column)),
        (Some(column), Some(ty)) => format!("CAST(life.{} AS {})", quoted(column), ty.duckdb()),
    }
}

fn slot(index: usize) -> String {
    format!("_value_{index}")
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn result_schema(windows: &[Window]) -> SchemaRef {
    let mut fields: Vec<Field> = ["_entity", "_valid_us", "_known_us", "_until_us"].map(int).to_vec();
    fields.extend(windows.iter().enumerate().map(|(index, window)| {
        let ty = partial_type(window.aggregate, window.ty).unwrap_or(Type::Bool);
        Field::new(slot(index), arrow_type(ty), true)
    }));
    Schema::new(fields).into()
}

fn gather(entity_of: &RecordBatch, entities: usize, rows: &RecordBatch) -> Events {
    let ints = |batch: &RecordBatch, index: usize| batch.column(index).as_primitive::<Int64Type>().clone();
    let of: Int64Array = ints(entity_of, 0);
    let keys = ints(rows, 0);
    let keys = keys.values();
    let spans = (0..entities).map(|entity| {
        let entity = i64::try_from(entity).unwrap_or(i64::MAX);
        keys.partition_point(|key| *key < entity)..keys.partition_point(|key| *key <= entity)
    });
    let until = ints(rows, 3);
    Events {
        entity_of: of.iter().map(|key| key.and_then(|key| usize::try_from(key).ok())).collect(),
        spans: spans.collect(),
        valid_us: ints(rows, 1).values().to_vec(),
        known_us: ints(rows, 2).values().to_vec(),
        until_us: (0..rows.num_rows())
            .map(|row| if until.is_null(row) { i64::MAX } else { until.value(row) })
            .collect(),
        values: rows.columns()[4..].to_vec(),
    }
}
