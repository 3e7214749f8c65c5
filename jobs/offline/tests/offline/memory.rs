//! Work on more rows than fit into the memory that DuckDB may take.

use std::{sync::Arc, time::Duration};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use tidemill_offline::{
    CommitRange, KnownAt, LakeOptions, PitRead, PitRequest, Read, Stamp, Table, TileRange, Version, View,
};
use tidemill_spec::{Aggregate, Operand, Rule, Source, Type};

use crate::world::{World, at, entity, feature, source, view};

const KEYS: i64 = 2_000;
const BATCHES: i64 = 24;
const BATCH_ROWS: i64 = 50_000;

fn notes() -> Source {
    source("notes", &[("k", Type::Int), ("note", Type::String)], &[])
}

fn last(source: &Source) -> View {
    let thing = entity("thing", &[("k", Type::Int)]);
    view("last", &thing, Ok(source), vec![("note", feature(Type::String, Rule::Last("note".to_owned())))])
}

/// The greatest note of an hour, which is one of the last row's.
fn windows(source: &Source) -> View {
    let rule = Rule::Window {
        aggregate: Aggregate::Last,
        of: Some(Operand::Column("note".to_owned())),
        condition: None,
        window: Duration::from_hours(1_000),
        hop: Duration::from_hours(24),
    };
    let thing = entity("thing", &[("k", Type::Int)]);
    view("windows", &thing, Ok(source), vec![("newest", feature(Type::String, rule))])
}

/// Of each second a row, of the keys in turn, with a text that says which.
fn note(second: i64) -> String {
    format!("{second:0200}")
}

fn times(seconds: impl Iterator<Item = i64>) -> ArrayRef {
    let micros = seconds.map(|second| at(second).timestamp_micros()).collect::<Vec<_>>();
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

fn batch(number: i64) -> RecordBatch {
    let seconds = || number * BATCH_ROWS..(number + 1) * BATCH_ROWS;
    let ints =
        |value: fn(i64) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(seconds().map(value))) };
    let living: ArrayRef = Arc::new(BooleanArray::from(vec![false; seconds().count()]));
    RecordBatch::try_from_iter([
        ("k", ints(|second| second % KEYS)),
        ("note", Arc::new(StringArray::from_iter_values(seconds().map(note))) as ArrayRef),
        ("happened_at", times(seconds())),
        ("valid_at", times(seconds())),
        ("created_at", times(seconds())),
        ("seq", ints(|second| second)),
        ("deleted", living),
    ])
    .unwrap()
}

/// 240 MB of rows, half as much again as may be taken.
async fn filled() -> (World, Version) {
    let options = LakeOptions { memory_bytes: 160 << 20, ..LakeOptions::default() };
    let (world, mut version) = (World::with(options).await, 0);
    for number in 0..BATCHES {
        world.publish(&Table::source("notes"), &number.to_string(), &[], batch(number)).await;
        let rows = batch(number);
        let stored: Vec<usize> = (0..rows.num_columns()).filter(|place| *place != 2).collect();
        let rows = rows.project(&stored).unwrap();
        version = world.publish(&last(&notes()).table(), &number.to_string(), &["k".to_owned()], rows).await;
    }
    (world, version)
}

/// Each key once, after its last row.
fn asked(version: Version) -> PitRequest {
    let end = BATCHES * BATCH_ROWS;
    let keys = || 0..KEYS;
    let labels = RecordBatch::try_from_iter([
        ("k", Arc::new(Int64Array::from_iter_values(keys())) as ArrayRef),
        ("asked_at", times(keys().map(|_| end))),
    ]);
    let source = notes();
    PitRequest {
        labels: labels.unwrap(),
        label_ts: "asked_at".to_owned(),
        reads: vec![PitRead::all(last(&source))],
        version,
        known_at: KnownAt::Any,
        on_demand: None,
    }
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = rows.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap();
    column.iter().map(|text| text.unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_reads_and_windows_over_more_than_fits_into_memory_spill_and_end() {
    let (world, version) = filled().await;
    let end = BATCHES * BATCH_ROWS;
    let newest: Vec<String> = (0..KEYS).map(|key| note(end - KEYS + key)).collect();

    let joined = world.lake.point_in_time(&asked(version)).await.unwrap();
    assert_eq!(texts(&joined, "note"), newest);

    let sorted = Read::all(last(&notes()).table(), version);
    let read = world.lake.read_each(&sorted, move |batch| {
        assert!(batch.num_rows() < 100_000, "batch by batch");
        Ok(())
    });
    assert_eq!(read.await.unwrap(), (BATCHES * BATCH_ROWS) as u64);

    let range =
        TileRange { commits: CommitRange::upto(version), clock_before: None, clock: at(end), part: (0, 1) };
    let stamp = Stamp { created_at: at(end), seq: version };
    let tiles = world.lake.tiles_touched(&windows(&notes()), range, stamp).await.unwrap();
    let found = texts(&tiles, "newest");
    assert!(newest.iter().all(|note| found.contains(note)));
}
