//! The life of rows and files: staged, published once, read at a version, merged, collected.

use std::{collections::BTreeSet, sync::Arc};

use tidemill_core::Time;
use tidemill_offline::{CommitRange, Filter, LabelRequest, Read, SeenEarly, Table};
use tidemill_rows::{Row, batch_of, rows_of, source_schema};
use tidemill_spec::{Asked, Label, Meta, Objects, Source, Type, Value};

use crate::world::{World, at, entity, instant, row, source, text};

fn events() -> Source {
    let columns = [("k", Type::String), ("n", Type::Int), ("gone", Type::Bool)];
    Source { deleted: Some("gone".to_owned()), ..source("events", &columns, &["k"]) }
}

fn event(k: &str, seconds: i64, n: i64) -> Row {
    row([
        ("k", text(k)),
        ("n", Value::Int(n)),
        ("happened_at", instant(seconds)),
        ("valid_at", instant(seconds)),
        ("created_at", instant(seconds)),
        ("seq", Value::Int(seconds)),
        ("gone", Value::Bool(false)),
        ("deleted", Value::Bool(false)),
    ])
}

async fn numbers(world: &World, commits: CommitRange) -> Vec<Value> {
    let read = Read { commits, ..Read::all(Table::source("events"), 0) };
    let rows = rows_of(&world.lake.read(&read).await.unwrap()).unwrap();
    rows.into_iter().map(|row| row["n"].clone()).collect()
}

fn ints<const N: usize>(values: [i64; N]) -> Vec<Value> {
    values.map(Value::Int).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_publish_changes_nothing_and_gives_the_first_version() {
    let world = World::new().await;
    let first = world.append(&events(), "one", &[event("a", 1, 1)]).await;
    assert_eq!(world.append(&events(), "two", &[event("a", 2, 2)]).await, first + 1);
    assert_eq!(world.append(&events(), "one", &[event("a", 1, 1)]).await, first);
    assert_eq!(world.lake.head().await.unwrap(), first + 1);
    assert_eq!(numbers(&world, CommitRange::upto(first + 1)).await, ints([1, 2]));
    assert_eq!(numbers(&world, CommitRange::upto(first)).await, ints([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_staged_or_rolled_back_is_never_seen() {
    let world = World::new().await;
    let batch = batch_of(&source_schema(&events()), &[event("a", 1, 1)]).unwrap();
    let table = Table::source("events");
    let staged = world.lake.stage(&table, "one", 0, &[], &batch.schema(), vec![batch]).await.unwrap();
    let mut tx = world.database.pool.begin().await.unwrap();
    world.lake.publish(&mut tx, &table, "one", staged.as_slice()).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!((world.lake.head().await.unwrap(), numbers(&world, CommitRange::upto(9)).await), (0, vec![]));
}

/// One has published and goes on with its transaction; another publishes to the same tables meanwhile and is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_waits_for_no_other_and_versions_are_in_the_order_of_commits() {
    let world = World::new().await;
    world.append(&events(), "first", &[event("a", 1, 1)]).await;
    let (rows, dead) = (Table::source("events"), Table::dead("events"));
    let mut slow = world.database.pool.begin().await.unwrap();
    world.lake.publish(&mut slow, &dead, "slow", &[]).await.unwrap();
    world.lake.publish(&mut slow, &rows, "slow", &[]).await.unwrap();
    assert_eq!(world.append(&events(), "quick", &[event("a", 2, 2)]).await, 2);
    assert_eq!(world.lake.head().await.unwrap(), 2);
    slow.commit().await.unwrap();
    let versions = async |table: &Table| {
        let commits = world.lake.commits(table, CommitRange::upto(9)).await.unwrap();
        commits.into_iter().map(|commit| (commit.job_key, commit.version)).collect::<Vec<_>>()
    };
    let named = |named: &[(&str, i64)]| -> Vec<_> {
        named.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect()
    };
    assert_eq!(versions(&dead).await, named(&[("slow", 3)]));
    assert_eq!(versions(&rows).await, named(&[("first", 1), ("quick", 2), ("slow", 4)]));
}

/// A collection holds the files that were merged into others while the others are merged again.
#[tokio::test(flavor = "multi_thread")]
async fn collecting_and_merging_take_turns() {
    let world = Arc::new(World::new().await);
    let table = Table::source("events");
    for n in 0..4 {
        world.append(&events(), &n.to_string(), &[event("a", n, n)]).await;
    }
    world.compact(&table).await;
    world.append(&events(), "more", &[event("a", 4, 4)]).await;
    let group = world.lake.mergeable(&table, 2).await.unwrap().pop().unwrap();
    let merged = world.lake.merge(&table, &group).await.unwrap().unwrap();
    let mut merging = world.database.pool.begin().await.unwrap();
    assert!(world.lake.replace(&mut merging, &table, &group, &merged).await.unwrap());
    let collecting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.collect_garbage().await }
    });
    world.database.until_blocked(1).await;
    merging.commit().await.unwrap();
    assert_eq!(collecting.await.unwrap(), 6);
    assert_eq!(numbers(&world, CommitRange::upto(9)).await, ints([0, 1, 2, 3, 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_of_the_same_keys_publish_each_once_in_versions_without_gaps() {
    let world = Arc::new(World::new().await);
    let writers = (0..8).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for key in 0..6 {
                world.append(&events(), &key.to_string(), &[event("a", key, key)]).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let commits = world.lake.commits(&Table::source("events"), CommitRange::upto(99)).await.unwrap();
    assert_eq!(commits.iter().map(|commit| commit.version).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&world, CommitRange::upto(6)).await, ints([0, 1, 2, 3, 4, 5]));
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_and_collection_change_no_version_and_no_range_of_commits() {
    let world = World::new().await;
    for n in 1..=5 {
        world.append(&events(), &n.to_string(), &[event("a", 10 - n, n)]).await;
    }
    let ranges = (0..=5).flat_map(|after| (after..=5).map(move |upto| CommitRange { after, upto }));
    let ranges: Vec<CommitRange> = ranges.collect();
    let mut before = Vec::new();
    for range in &ranges {
        before.push(numbers(&world, *range).await);
    }
    let table = Table::source("events");
    for round in ["merged", "collected", "merged again", "collected again"] {
        if round.starts_with("merged") {
            assert_eq!(world.compact(&table).await, 1);
        } else {
            assert!(world.collect_garbage().await > 0);
            assert_eq!(world.lake.files(&table, 99).await.unwrap().len(), 1);
        }
        for (range, before) in ranges.iter().zip(&before) {
            assert_eq!(numbers(&world, *range).await, *before, "{round}: {range:?}");
        }
        if round == "collected" {
            world.append(&events(), "6", &[event("a", 4, 6)]).await;
        }
    }
    assert_eq!(world.compact(&table).await, 0);
    assert_eq!(std::fs::read_dir(world.folder.path().join("lake/source/events")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_compactions_of_the_same_files_one_stands() {
    let world = World::new().await;
    let table = Table::source("events");
    for n in 1..=3 {
        world.append(&events(), &n.to_string(), &[event("a", n, n)]).await;
    }
    assert_eq!(world.lake.fragmented(3).await.unwrap(), std::slice::from_ref(&table));
    assert_eq!(world.lake.fragmented(4).await.unwrap(), []);
    assert!(world.lake.mergeable(&table, 4).await.unwrap().is_empty());
    let group = world.lake.mergeable(&table, 3).await.unwrap().remove(0);
    let merged = world.lake.merge(&table, &group[..2]).await.unwrap().unwrap();
    assert_eq!(world.compact(&table).await, 1);
    let head = world.lake.head().await.unwrap();
    let mut tx = world.database.pool.begin().await.unwrap();
    assert!(!world.lake.replace(&mut tx, &table, &group[..2], &merged).await.unwrap());
    tx.rollback().await.unwrap();
    assert_eq!(world.lake.head().await.unwrap(), head);
    assert_eq!(numbers(&world, CommitRange::upto(head)).await, ints([1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_what_is_old_and_neither_published_nor_awaited() {
    let world = World::new().await;
    let table = Table::source("events");
    world.append(&events(), "one", &[event("a", 1, 1)]).await;
    let batch = batch_of(&source_schema(&events()), &[event("a", 2, 2)]).unwrap();
    let stage = async |key: &str| {
        let batches = vec![batch.clone()];
        world.lake.stage(&table, key, 0, &[], &batch.schema(), batches).await.unwrap().unwrap().path
    };
    let (awaited, _lost) = (BTreeSet::from([stage("awaited").await]), stage("lost").await);
    let longago = at(0);
    assert_eq!(world.lake.collect_garbage(longago, &awaited).await.unwrap(), 0, "all are younger");
    assert_eq!(world.lake.collect_garbage(Time::MAX_UTC, &awaited).await.unwrap(), 1);
    assert_eq!(world.lake.collect_garbage(Time::MAX_UTC, &awaited).await.unwrap(), 0);
    assert_eq!(world.collect_garbage().await, 1, "nobody waits for it any more");
    assert_eq!(numbers(&world, CommitRange::upto(9)).await, ints([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_filter_and_a_column_that_came_later_is_null_before() {
    let world = World::new().await;
    let version =
        world.append(&events(), "one", &[event("a", 1, 1), event("b", 2, 2), event("a", 3, 3)]).await;
    let filter = Filter { equal: vec![("k".to_owned(), text("a"))], last: Some(1), ..Filter::default() };
    let read =
        Read { filter, columns: Some(vec!["n".to_owned()]), ..Read::all(Table::source("events"), version) };
    assert_eq!(rows_of(&world.lake.read(&read).await.unwrap()).unwrap(), [row([("n", Value::Int(3))])]);
    let unknown = |filter| Read { filter, ..Read::all(Table::source("events"), version) };
    for filter in [
        Filter { equal: vec![("not_there".to_owned(), text("a"))], ..Filter::default() },
        Filter { present: vec!["not_there".to_owned()], ..Filter::default() },
    ] {
        assert_eq!(world.lake.read(&unknown(filter)).await.unwrap().num_rows(), 0);
    }
    let filter = Filter { between: Some(("happened_at".to_owned(), at(2), at(3))), ..Filter::default() };
    let read = Read { filter, ..Read::all(Table::source("events"), version) };
    assert_eq!(rows_of(&world.lake.read(&read).await.unwrap()).unwrap()[0]["n"], Value::Int(2));
    let mut objects = Objects::default();
    let wider = source("events", &[("k", Type::String), ("n", Type::Int), ("m", Type::Date)], &[]);
    objects.sources.insert("events".to_owned(), wider);
    let query = "SELECT sum(n) AS n, count(m) AS m FROM events";
    let found = world.lake.sql(query, &objects, &[], (version, Time::MAX_UTC), |_| Ok(())).await.unwrap();
    assert_eq!(found.first, Some(row([("n", Value::Int(6)), ("m", Value::Int(0))])));
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_the_newest_matured_rows_of_each_key() {
    let world = World::new().await;
    let mut deleted = event("gone", 20, 0);
    deleted.insert("gone".to_owned(), Value::Bool(true));
    let mut unknown = event("unknown", 15, 0);
    unknown.insert("n".to_owned(), Value::Null);
    let rows = [
        event("a", 10, 1),
        event("a", 12, 9),
        event("b", 11, 1),
        event("b", 40, 9),
        event("gone", 10, 9),
        deleted,
        unknown,
        event("early", 4, 9),
        event("end", 30, 9),
    ];
    let version = world.append(&events(), "rows", &rows).await;
    let label = Label {
        name: "late".to_owned(),
        meta: Meta::default(),
        entity: "key".to_owned(),
        source: "events".to_owned(),
        ty: Type::Bool,
        sql: "n > 5".to_owned(),
        asked: Asked::OfRows("happened_at - INTERVAL 2 SECOND".to_owned()),
    };
    let request = LabelRequest {
        label,
        entity: entity("key", &[("k", Type::String)]),
        source: events(),
        population: None,
        from: at(5),
        to: at(30),
        clock: at(39),
        version,
    };
    let labels = world.lake.labels(&request).await.unwrap();
    let expected = |k: &str, seconds: i64, late: bool| {
        row([
            ("k", text(k)),
            ("label_ts", instant(seconds - 2)),
            ("event_time", instant(seconds)),
            ("matured_at", instant(seconds)),
            ("late", Value::Bool(late)),
        ])
    };
    assert_eq!(rows_of(&labels.rows).unwrap(), [expected("b", 11, false), expected("a", 12, true)]);
    assert_eq!(labels.left_out, 1, "the unknown answer");

    let late =
        Label { asked: Asked::OfRows("happened_at + INTERVAL 2 SECOND".to_owned()), ..request.label.clone() };
    let error = world.lake.labels(&LabelRequest { label: late, ..request.clone() }).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "[TM0413] 3 rows of label `late` are asked for after their answer is known"
    );

    // A row on which the label's SQL fails costs itself.
    let label = Label {
        sql: "CAST(CASE WHEN k = 'a' THEN k ELSE '1' END AS INTEGER) = 1".to_owned(),
        ..request.label
    };
    let labels = world.lake.labels(&LabelRequest { label, ..request }).await.unwrap();
    let rows = rows_of(&labels.rows).unwrap();
    assert_eq!(rows.iter().map(|row| row["k"].clone()).collect::<Vec<_>>(), [text("b"), text("unknown")]);
    assert_eq!(labels.left_out, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_see_the_future_are_counted() {
    let world = World::new().await;
    let columns = [("k", Type::String), ("known_at", Type::Timestamp)];
    let source = source("early", &columns, &[]);
    let counted = world.lake.seen_early(&source, "happened_at", "known_at", 0).await.unwrap();
    assert_eq!(counted, SeenEarly::default(), "without rows");
    let event = |known_at| {
        let mut event = event("a", 100, 1);
        event.shift_remove("n");
        event.insert("known_at".to_owned(), known_at);
        event
    };
    let rows = [110, 130, 100, 90].map(|seconds| event(instant(seconds)));
    let version = world.append(&source, "rows", &[&rows[..], &[event(Value::Null)]].concat()).await;
    let counted = world.lake.seen_early(&source, "happened_at", "known_at", version).await.unwrap();
    assert_eq!(counted, SeenEarly { rows: 5, early: 2, median_seconds: Some(20.0) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_labels_is_read_by_its_name_and_naive_instants_are_utc() {
    let world = World::new().await;
    let path = world.folder.path().join("labels.csv");
    std::fs::write(&path, "k,label_ts,n\n007,2013-06-01 00:00:00,7\n").unwrap();
    let types =
        |day| indexmap::IndexMap::from([("k".to_owned(), Type::String), ("label_ts".to_owned(), day)]);
    let labels = world.lake.label_file(&path, &types(Type::Timestamp)).await.unwrap();
    let midnight = tidemill_spec::value::parse_time("2013-06-01T00:00:00Z").unwrap();
    let expected = row([("k", text("007")), ("label_ts", Value::Timestamp(midnight)), ("n", Value::Int(7))]);
    assert_eq!((rows_of(&labels.rows).unwrap(), labels.naive_timestamps), (vec![expected], true));
    let error = world.lake.label_file(&path, &types(Type::Int)).await.unwrap_err();
    let found = "[TM0609] `label_ts` should be int, but is `2013-06-01 00:00:00` in row 1";
    assert_eq!(error.fault().to_string(), found);
    let error = world.lake.file_columns(&world.folder.path().join("labels.xlsx")).await.unwrap_err();
    assert!(error.fault().to_string().starts_with("[TM0608]"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_labels_that_cannot_be_split_says_why() {
    let world = World::new().await;
    for (name, text, expected) in [
        ("a.csv", "", "it is empty: it has no header"),
        (
            "b.csv",
            "k;label_ts\n1;2\n",
            "its header `k;label_ts` is one field, which looks like several between semicolons",
        ),
        ("c.csv", "k,label_ts\n1,2024-05-02\n2,2024-05-02,x\n", "line 3 has 3 fields, the header has 2"),
        ("d.csv", "k,k\n1,2\n", "column `k` occurs twice"),
        ("e.csv", "k,n\n\"1,2\n", "line 2: quotes are not in order"),
        (
            "f.jsonl",
            "{\"k\": 1}\n[1]\n",
            "line 2 is not a JSON object: invalid type: sequence, expected an object at character 0",
        ),
        ("g.jsonl", "\n", "it is empty"),
    ] {
        let path = world.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let error = world.lake.file_columns(&path).await.unwrap_err();
        assert_eq!(error.fault().to_string(), format!("[TM0503] the file can't be read: {expected}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_nobody_asks_for_is_what_all_its_values_are() {
    let world = World::new().await;
    let csv = "i,f,b,d,t,code,id,late\n1,0.1,true,2024-05-02,2024-05-02T10:00:00Z,007,336432622316028723,x\n\
               ,1,FALSE,,,8,0.5,\n";
    let jsonl = "{\"i\": 1, \"f\": 0.1, \"b\": true, \"d\": \"2024-05-02\", \"t\": \"2024-05-02T10:00:00Z\", \
                 \"code\": \"7\", \"id\": 336432622316028723}\n{\"f\": 1, \"b\": false, \"code\": \"8\", \"id\": 0.5, \"late\": null}\n";
    for (name, text) in [("labels.csv", csv), ("labels.jsonl", jsonl)] {
        let path = world.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let rows = world.lake.label_file(&path, &indexmap::IndexMap::new()).await.unwrap().rows;
        let types: Vec<String> = rows
            .schema()
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), tidemill_rows::type_of(field.data_type()).unwrap()))
            .collect();
        let expected = [
            "i int",
            "f float",
            "b bool",
            "d date",
            "t timestamp",
            "code string",
            "id string",
            "late string",
        ];
        assert_eq!(types, expected, "{name}");
        assert_eq!(rows_of(&rows).unwrap()[0]["id"], crate::world::text("336432622316028723"), "{name}");
    }
}
