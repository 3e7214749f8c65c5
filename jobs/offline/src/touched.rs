//! The entities of a view whose value at the data clock may have changed.

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use tidemill_rows::{VALID_AT, field, source_schema};
use tidemill_spec::Source;

use crate::{
    CommitRange, Error, Lake, Table, TileRange, View,
    sql::{self, fill, list},
};

/// Their keys, in the columns of the view's entity, sorted.
pub(crate) async fn touched_entities(
    lake: &Lake,
    view: &View,
    range: TileRange,
) -> Result<RecordBatch, Error> {
    let source = view.source()?;
    let (table, schema) = (Table::source(&source.name), source_schema(source));
    let rows = lake.scan(&table, CommitRange::upto(range.commits.upto)).await?.rows(&schema, "true");
    let changed = lake.scan(&table, range.commits).await?.rows(&schema, "true");
    let passed = range
        .clock_before
        .map_or("false".to_owned(), |before| format!("{VALID_AT} > {}", sql::instant(before)));
    let (keys, clock) = (view.keys(), sql::instant(range.clock));
    let statement = fill(
        include_str!("../queries/compute/touched.sql"),
        &[
            ("touched", &touched_rows(source, &rows, &clock)),
            ("key_columns", &list(&keys)),
            ("present", &sql::present(&keys)),
            ("passed", &passed),
            ("clock", &clock),
            ("changed", &changed),
            ("rows", &rows),
        ],
    );
    let schema: SchemaRef =
        Schema::new(view.entity.keys.iter().map(|(name, ty)| field(name, *ty)).collect::<Vec<_>>()).into();
    lake.duck
        .run(format!("finding what changed in view {}", view.name()), move |session| {
            session.query_as(&statement, &schema)
        })
        .await
}

/// The rows whose entities change: the causes, and what they replace.
fn touched_rows(source: &Source, rows: &str, clock: &str) -> String {
    let Some(same) = sql::same("earlier", "cause", &source.unique) else { return "cause".to_owned() };
    format!(
        "(SELECT earlier.* FROM {rows} AS earlier SEMI JOIN cause ON {same} WHERE earlier.{VALID_AT} <= {clock})"
    )
}
