//! Many commit at once: every commit has its version, and no answer changes while files are merged.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use tidemill_core::Time;
use tidemill_offline::{CommitRange, Lake, Read, Table};
use tidemill_rows::{Row, batch_of, rows_of, source_schema};
use tidemill_spec::{Source, Type, Value};
use tidemill_testkit::postgres::Server;

use crate::world::{World, row, source, text};

/// Files of one size that are worth merging, as the upkeep has it.
const FULL: usize = 8;
/// Of a table whose merges have caught up: three tiers that aren't full.
const FILES_MAX: usize = 3 * (FULL - 1);

fn clicks() -> Source {
    source("clicks", &[("k", Type::String), ("n", Type::Int)], &[])
}

fn click(n: i64) -> Row {
    let at = Value::Timestamp(Time::from_timestamp(n, 0).unwrap());
    row([
        ("k", text("a")),
        ("n", Value::Int(n)),
        ("happened_at", at.clone()),
        ("valid_at", at.clone()),
        ("created_at", at),
        ("seq", Value::Int(n)),
        ("deleted", Value::Bool(false)),
    ])
}

async fn rows_at(lake: &Lake, version: i64) -> Vec<Row> {
    rows_of(&lake.read(&Read::all(Table::source("clicks"), version)).await.unwrap()).unwrap()
}

/// Writers that stage and publish one row in each commit, all at once. Returns commits a second.
async fn write(world: &Arc<World>, writers: i64, each: i64) -> f64 {
    let from = Instant::now();
    let written = (0..writers).map(|writer| {
        let world = Arc::clone(world);
        tokio::spawn(async move {
            let (table, schema) = (Table::source("clicks"), source_schema(&clicks()));
            for n in writer * each..(writer + 1) * each {
                let (key, batch) = (n.to_string(), batch_of(&schema, &[click(n)]).unwrap());
                let staged = world.lake.stage(&table, &key, 0, &[], &schema, vec![batch]).await.unwrap();
                let mut tx = world.database.pool.begin().await.unwrap();
                world.lake.publish(&mut tx, &table, &key, staged.as_slice()).await.unwrap();
                tx.commit().await.unwrap();
            }
        })
    });
    for writer in written.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    (writers * each) as f64 / from.elapsed().as_secs_f64()
}

/// Writes while files are merged; whoever reads a version meanwhile reads the same ever after. Returns commits a second and
/// how many files there were at most.
async fn write_and_merge(world: World, writers: i64, each: i64) -> (f64, usize) {
    let (world, table) = (Arc::new(world), Table::source("clicks"));
    let mut writing = tokio::spawn({
        let world = Arc::clone(&world);
        async move { write(&world, writers, each).await }
    });
    let (mut seen, mut most): (BTreeMap<i64, Vec<Row>>, _) = (BTreeMap::new(), 0);
    let rate = loop {
        tokio::select! {
            rate = &mut writing => break rate.unwrap(),
            () = merge(&world, &table) => {}
        }
        let head = world.lake.head().await.unwrap();
        most = most.max(world.lake.files(&table, head).await.unwrap().len());
        seen.insert(head, rows_at(&world.lake, head).await);
    };
    let head = world.lake.head().await.unwrap();
    for version in [head / 4, head / 2, head] {
        seen.insert(version, rows_at(&world.lake, version).await);
    }
    while !world.lake.mergeable(&table, FULL).await.unwrap().is_empty() {
        merge(&world, &table).await;
    }
    let files = world.lake.files(&table, world.lake.head().await.unwrap()).await.unwrap();
    assert!(files.len() <= FILES_MAX, "{} files are left", files.len());
    let commits = world.lake.commits(&table, CommitRange::upto(i64::MAX)).await.unwrap();
    assert_eq!(commits.len(), usize::try_from(writers * each).unwrap(), "every commit has a version");
    for (version, rows) in seen {
        let known: Vec<_> = commits.iter().filter(|commit| commit.version <= version).collect();
        assert_eq!(rows.len(), known.len(), "version {version} has all that was committed before it");
        assert_eq!(rows_at(&world.lake, version).await, rows, "version {version}");
    }
    (rate, most)
}

async fn merge(world: &World, table: &Table) {
    for group in world.lake.mergeable(table, FULL).await.unwrap() {
        let merged = world.lake.merge(table, &group).await.unwrap().unwrap();
        let mut tx = world.database.pool.begin().await.unwrap();
        assert!(world.lake.replace(&mut tx, table, &group, &merged).await.unwrap());
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_of_sixteen_writers_is_lost_and_no_version_changes_while_files_are_merged() {
    write_and_merge(World::new().await, 16, 12).await;
}

/// Printed by `scripts/bench commits`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn commits_a_second() {
    let server = Server::start().unwrap();
    let world = Arc::new(World::durable(&server).await);
    println!("alone {:.0}", write(&world, 16, 200).await);
    let (rate, most) = write_and_merge(World::durable(&server).await, 16, 200).await;
    println!("merging {rate:.0}, at most {most} files");
}
