//! Rows that are taken out of a table's newest version, whatever is appended, merged and collected around it.

use std::collections::BTreeMap;

use arrow::{
    array::{AsArray as _, BooleanArray, RecordBatch},
    datatypes::Int64Type,
    error::ArrowError,
};
use proptest::prelude::*;
use tidemill_offline::{CommitRange, Partings, Read, Table};
use tidemill_rows::{Row, rows_of};
use tidemill_spec::{Source, Type, Value};

use crate::world::{World, instant, row, source, text};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many rows.
    Append(i64),
    /// Rows whose number leaves this rest.
    Part(i64),
    Merge,
    Collect,
}

/// Rows are numbered; those that leave one rest are taken out together.
const REST: i64 = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..5_i64).prop_map(Step::Append),
        2 => (0..REST).prop_map(Step::Part),
        1 => Just(Step::Merge),
        1 => Just(Step::Collect),
    ];
    prop::collection::vec(step, 1..14)
}

fn events() -> Source {
    source("events", &[("k", Type::String), ("n", Type::Int)], &[])
}

fn event(n: i64) -> Row {
    row([
        ("k", text("a")),
        ("n", Value::Int(n)),
        ("happened_at", instant(n)),
        ("valid_at", instant(n)),
        ("created_at", instant(n)),
        ("seq", Value::Int(n)),
        ("deleted", Value::Bool(false)),
    ])
}

async fn numbers(world: &World, commits: CommitRange) -> Vec<i64> {
    let read = Read { commits, ..Read::all(Table::source("events"), 0) };
    let rows = rows_of(&world.lake.read(&read).await.unwrap()).unwrap();
    let number = |row: &Row| if let Value::Int(n) = row["n"] { n } else { panic!("{row:?}") };
    rows.iter().map(number).collect()
}

fn of_rest(rest: i64) -> impl Fn(&RecordBatch) -> Result<BooleanArray, ArrowError> {
    move |rows| {
        let numbers = rows.column_by_name("n").unwrap().as_primitive::<Int64Type>();
        Ok(numbers.iter().map(|n| n.map(|n| n % REST == rest)).collect())
    }
}

/// Takes rows out; returns how many.
async fn part(world: &World, rest: i64, key: &str) -> i64 {
    let (table, lake) = (Table::source("events"), &world.lake);
    let files = lake.files(&table, lake.head().await.unwrap()).await.unwrap();
    let mut partings = Partings::default();
    lake.without_rows(&mut partings, &table, files, key, of_rest(rest)).await.unwrap();
    let mut tx = world.database.pool.begin().await.unwrap();
    assert!(lake.part_with(&mut tx, &partings, key).await.unwrap());
    tx.commit().await.unwrap();
    partings.rows()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The oracle: rows by the commit that they came with, and what each version had.
    #[test]
    fn the_newest_version_has_what_is_left_in_every_range_of_commits_and_older_ones_what_they_had(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut left: BTreeMap<i64, i64> = BTreeMap::new();
            let mut versions: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            let mut next = 0;
            for (number, step) in steps.iter().enumerate() {
                match step {
                    Step::Append(count) => {
                        let rows: Vec<i64> = (next..next + count).collect();
                        next += count;
                        let events_of: Vec<Row> = rows.iter().map(|n| event(*n)).collect();
                        let commit = world.append(&events(), &number.to_string(), &events_of).await;
                        left.extend(rows.into_iter().map(|n| (n, commit)));
                    }
                    Step::Part(rest) => {
                        let gone = left.keys().filter(|n| *n % REST == *rest).count();
                        assert_eq!(part(&world, *rest, &number.to_string()).await, i64::try_from(gone).unwrap());
                        left.retain(|n, _| *n % REST != *rest);
                    }
                    Step::Merge => drop(world.compact(&Table::source("events")).await),
                    Step::Collect => {
                        world.collect_garbage().await;
                        // What was taken out is gone from older versions, too.
                        for rows in versions.values_mut() {
                            rows.retain(|n| left.contains_key(n));
                        }
                    }
                }
                let head = world.lake.head().await.unwrap();
                versions.insert(head, left.keys().copied().collect());
                for (version, rows) in &versions {
                    assert_eq!(numbers(&world, CommitRange::upto(*version)).await, *rows, "{steps:?}: {version}");
                }
                for after in 0..=head {
                    let of_range = left.iter().filter(|(_, commit)| **commit > after).map(|(n, _)| *n);
                    let of_range: Vec<i64> = of_range.collect();
                    assert_eq!(numbers(&world, CommitRange { after, upto: head }).await, of_range, "{after}");
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_merged_meanwhile_are_looked_at_again() {
    let (world, table) = (World::new().await, Table::source("events"));
    for n in 0..3 {
        world.append(&events(), &n.to_string(), &[event(n)]).await;
    }
    let removals = world.lake.removals(std::slice::from_ref(&table)).await.unwrap();
    let files = world.lake.files(&table, world.lake.head().await.unwrap()).await.unwrap();
    let mut partings = Partings::default();
    world.lake.without_rows(&mut partings, &table, files, "late", of_rest(1)).await.unwrap();
    world.compact(&table).await;
    let mut tx = world.database.pool.begin().await.unwrap();
    assert!(!world.lake.part_with(&mut tx, &partings, "late").await.unwrap());
    tx.rollback().await.unwrap();
    assert_eq!(part(&world, 1, "again").await, 1);
    assert_eq!(numbers(&world, CommitRange::upto(99)).await, [0, 2]);
    // Who has read them before can't commit what follows from them.
    assert_eq!(world.lake.removals(std::slice::from_ref(&table)).await.unwrap(), removals + 1);
}
