//! The join with views that have rows: which row is each asked row's, and what the features are of it.

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Schema, SchemaRef},
};
use tidemill_rows::{field, view_schema};
use tidemill_spec::{Feature, Rule, Type, Value, ViewKind};

use super::{
    Asked, FOUND_AT, PitRead,
    upserts::{Versions, chosen},
    winners::{Search, newest_first},
};
use crate::{
    CommitRange, Error, Lake, Version, View,
    lake::FETCHES,
    span::Span,
    sql::{self, fill, quoted},
};

/// The features of one view for the asked rows, in their order, and [`FOUND_AT`].
pub(super) async fn features(
    lake: &Lake,
    read: &PitRead,
    features: &[String],
    asked: &Asked,
    version: Version,
) -> Result<Vec<(String, ArrayRef)>, Error> {
    let view = &read.view;
    if view.kind() == ViewKind::Snapshots && (asked.known.by.is_some() || asked.any_is_strict()) {
        let message = format!("`known_at` with `{}`, Python over views, is not supported yet", view.name());
        return Err(Error::invalid(607, message));
    }
    let (columns, span) = (columns_of(read, features), span(read, asked));
    let (statement, labels) = if view.upserts() {
        let chosen = chosen(lake, view, asked, Versions { source: version, view: version }).await?;
        let scan = lake.scan_within(&view.table(), None, CommitRange::upto(version), span).await?;
        (of_chosen(read, features, &scan.rows(&columns, "true")), asked.choosing(chosen)?)
    } else {
        let found = match winners(lake, view, asked, version, span, &columns).await {
            // Between its listing and its fetching a file may be replaced by one that stands for it at this version.
            Err(Error::Files(tidemill_blobs::Error::Missing { .. })) => {
                winners(lake, view, asked, version, span, &columns).await
            }
            found => found,
        };
        (of_winners(read, features), asked.beside(&found?)?)
    };
    let schema = result_schema(read, features);
    let batch = lake
        .duck
        .run(format!("joining view {}", view.name()), move |session| {
            session.load("label", &labels)?;
            session.query_as(&statement, &schema)
        })
        .await?;
    let names = features.iter().cloned().chain([FOUND_AT.to_owned()]);
    Ok(names.zip(batch.columns().iter().cloned()).collect())
}

/// For each asked row its entity's newest row, in the columns of `schema`. Files are fetched as far as they are needed.
async fn winners(
    lake: &Lake,
    view: &View,
    asked: &Asked,
    version: Version,
    span: Span,
    schema: &SchemaRef,
) -> Result<RecordBatch, Error> {
    let commits = CommitRange::upto(version);
    let mut files = lake.files(&view.table(), version).await?;
    files.retain(|file| span.meets(file.valid_at));
    let (asked, threads) = (asked.clone(), lake.duck.threads());
    let mut search = tokio::task::spawn_blocking(move || Search::of(&asked, threads)).await??;
    for some in newest_first(files).chunks(FETCHES) {
        let local = lake.fetched(search.wanted(some), commits).await?;
        let looking = tokio::task::spawn_blocking(move || search.look_at(&local).map(|()| search));
        search = looking.await??;
    }
    let schema = SchemaRef::clone(schema);
    tokio::task::spawn_blocking(move || search.winners(&schema)).await?
}

/// Stored features among those asked for, and the system columns; each is null where no row is found.
fn columns_of(read: &PitRead, features: &[String]) -> SchemaRef {
    let View { definition, entity, .. } = &read.view;
    let schema = view_schema(definition, entity);
    let kept = schema.fields().iter().filter(|field| {
        let unasked = definition.features.contains_key(field.name()) && !features.contains(field.name());
        !unasked && !entity.keys.contains_key(field.name())
    });
    Schema::new(kept.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()).into()
}

/// Rows that can't be found by any label are not even read: those of a later moment, and those too old for the ttl at the
/// first moment.
fn span(read: &PitRead, asked: &Asked) -> Span {
    let Some((first, last)) = asked.span_us() else { return Span::NOTHING };
    let oldest = read.view.definition.ttl.map(|ttl| first.saturating_sub(sql::micros(ttl)));
    Span::of_us(oldest, last)
}

/// The features of rows that stand beside the asked ones already.
fn of_winners(read: &PitRead, features: &[String]) -> String {
    let outputs = outputs(read, features, "label");
    fill(include_str!("../../queries/join/winners.sql"), &[("outputs", &outputs)])
}

/// The same of rows that were chosen before.
fn of_chosen(read: &PitRead, features: &[String], rows: &str) -> String {
    let outputs = outputs(read, features, "candidate");
    fill(include_str!("../../queries/join/chosen.sql"), &[("outputs", &outputs), ("rows", rows)])
}

fn outputs(read: &PitRead, features: &[String], candidate: &str) -> String {
    let found = found(read, candidate);
    let mut outputs: Vec<String> = features
        .iter()
        .filter_map(|name| Some((name, read.view.definition.features.get(name)?)))
        .map(|(name, feature)| output(name, feature, candidate, &found))
        .collect();
    outputs.push(format!("CASE WHEN {found} THEN {candidate}.valid_at END AS {}", quoted(FOUND_AT)));
    outputs.join(", ")
}

/// Whether the winner counts: it is there, not a deletion, and within the ttl, both ends included.
fn found(read: &PitRead, candidate: &str) -> String {
    let ttl = read.view.definition.ttl.map_or(String::new(), |ttl| {
        format!(" AND epoch_us(label._at) - epoch_us({candidate}.valid_at) <= {}", sql::micros(ttl))
    });
    format!("({candidate}.seq IS NOT NULL AND NOT {candidate}.deleted{ttl})")
}

fn output(name: &str, feature: &Feature, candidate: &str, found: &str) -> String {
    let default = sql::literal(feature.default.as_ref().unwrap_or(&Value::Null), feature.ty);
    let minutes = format!("(epoch_us(label._at) - epoch_us({candidate}.valid_at)) / 60e6");
    let value = match (&feature.rule, feature.ty) {
        (Rule::Age, Type::Int) => format!("floor({minutes})"),
        (Rule::Age, _) => minutes,
        _ => format!("{candidate}.{}", quoted(name)),
    };
    let ty = feature.ty.duckdb();
    format!("CASE WHEN {found} THEN CAST({value} AS {ty}) ELSE {default} END AS {}", quoted(name))
}

fn result_schema(read: &PitRead, features: &[String]) -> SchemaRef {
    let typed =
        features.iter().filter_map(|name| Some(field(name, read.view.definition.features.get(name)?.ty)));
    Schema::new(typed.chain([field(FOUND_AT, Type::Timestamp)]).collect::<Vec<_>>()).into()
}
