//! The entities of a view whose value at the data clock may have changed.

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use tidemill_rows::{field, source_schema};

use crate::{
    CommitRange, Error, Lake, Table, TileRange, View,
    span::Span,
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
    let all = async |commits, span: Span| {
        let scan = lake.scan_within(&table, Some(source), commits, span).await?;
        Ok::<_, Error>(scan.rows(&schema, &span.condition()))
    };
    let (upto, known) = (CommitRange::upto(range.commits.upto), Span { from: None, upto: Some(range.clock) });
    let changed = all(range.commits, known).await?;
    let tick = chrono::TimeDelta::microseconds(1);
    // What the clock passed since; nothing before the first time.
    let passed = match range.clock_before {
        Some(before) => all(upto, Span { from: Some(before + tick), ..known }).await?,
        None => format!("(FROM {changed} WHERE false)"),
    };
    let touched = match sql::same("earlier", "cause", &source.unique) {
        None => "cause".to_owned(),
        // The causes, and what they replace.
        Some(same) => format!("(FROM {} AS earlier SEMI JOIN cause ON {same})", all(upto, known).await?),
    };
    let keys = view.keys();
    let statement = fill(
        include_str!("../queries/compute/touched.sql"),
        &[
            ("touched", &touched),
            ("key_columns", &list(&keys)),
            ("present", &format!("{} AND {}", sql::present(&keys), sql::part(&keys, range.part))),
            ("passed", &passed),
            ("changed", &changed),
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
