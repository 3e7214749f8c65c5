//! Rows that came out wrong for a reason outside of the view's plan are computed again, where they are.

use std::{fs, path::Path};

use tidemill_features::{Recomputed, dead_letters, recompute_new, recompute_scope};
use tidemill_offline::{Read, Table};
use tidemill_rows::{Row, rows_of};
use tidemill_spec::Value;

use crate::world::{PROJECT, World, at, departure};

/// One over rows that replace each other, one over rows that don't, and one computed from it.
const VIEWS: &str = r#"
---
apiVersion: tidemill/v1
kind: FeatureView
name: scored
entity: airport
source: departures
python: service:scored
features: { score: float }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: felt
entity: airport
source: weather
python: service:felt
features: { cold: float }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: mood
entity: airport
inputs: [felt]
python: service:mood
features: { mood: float }
online: true
"#;

/// An outside service, as far as a view's function can tell: a file with its answer. It is away without it.
const CODE: &str = r#"
def asked(number):
    try:
        return float(open("PATH").read()) + number
    except FileNotFoundError:
        if number % 2 == 0:
            raise ConnectionError("the service is away")
        return -1.0


def scored(row: dict) -> dict:
    return {"score": asked(row["flight"])}


def felt(row: dict) -> dict:
    return {"cold": asked(row["wind"])}


def mood(row: dict) -> dict:
    return {"mood": None if row["cold"] is None else row["cold"] * 2}
"#;

async fn world(answer: &Path) -> World {
    let code = CODE.replace("PATH", &answer.display().to_string());
    let world = World::with(&format!("{PROJECT}{VIEWS}"), &[("service.py", &code)]).await;
    world.depart(&[1, 2, 3, 4].map(|flight| departure("JFK", flight, 580 + flight, 1.0))).await;
    world.observe(&[("JFK", 581, 1.0), ("JFK", 582, 2.0), ("EWR", 582, 3.0), ("JFK", 583, 4.0)]).await;
    world.drain().await;
    world
}

async fn rows(world: &World, view: &str, version: i64) -> Vec<Row> {
    rows_of(&world.deps.lake.read(&Read::all(Table::view(view, 1), version)).await.unwrap()).unwrap()
}

/// The values of a feature, as the newest version of the lake has them row by row.
async fn values(world: &World, view: &str, feature: &str) -> Vec<Value> {
    let mut rows = rows(world, view, world.deps.lake.head().await.unwrap()).await;
    rows.sort_by_key(|row| match (&row["valid_at"], &row["origin"]) {
        (Value::Timestamp(at), Value::String(origin)) => (*at, origin.clone()),
        other => panic!("{other:?}"),
    });
    rows.into_iter().map(|row| row[feature].clone()).collect()
}

async fn again(world: &World, view: &str, which: Recomputed) {
    world.enqueue(vec![recompute_new(view, which)]).await;
    world.drain().await;
    world.check_parity().await;
}

fn floats<const N: usize>(values: [Option<f64>; N]) -> Vec<Value> {
    values.map(|value| value.map_or(Value::Null, Value::Float)).to_vec()
}

#[tokio::test]
async fn dead_letters_are_replayed_alone_and_give_way_to_rows() {
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    let world = world(&answer).await;
    let wrong = [Some(-1.0), None, Some(-1.0), None];
    assert_eq!(values(&world, "scored", "score").await, floats(wrong));
    let letters = async |view: &str| dead_letters(&world.deps, view, 10).await.unwrap().count;
    assert_eq!((letters("scored").await, letters("felt").await), (2, 2));
    let before = world.deps.lake.head().await.unwrap();

    // Still away: nothing gets better, and nothing worse.
    again(&world, "scored", Recomputed::DeadLetters).await;
    assert_eq!((values(&world, "scored", "score").await, letters("scored").await), (floats(wrong), 2));

    fs::write(&answer, "10").unwrap();
    let scope = recompute_scope(&world.deps, "felt", Recomputed::DeadLetters).await.unwrap();
    let [version] = &scope.versions[..] else { panic!("{scope:?}") };
    // EWR's row is of the same moment as a letter.
    assert_eq!((version.rows, version.dead_letters), (3, 2));
    assert_eq!(scope.readers, ["view/mood@1"]);
    for view in ["scored", "felt"] {
        again(&world, view, Recomputed::DeadLetters).await;
        assert_eq!(letters(view).await, 0);
    }
    assert_eq!(
        values(&world, "scored", "score").await,
        floats([Some(-1.0), Some(12.0), Some(-1.0), Some(14.0)])
    );
    assert_eq!(
        values(&world, "felt", "cold").await,
        floats([Some(-1.0), Some(13.0), Some(12.0), Some(14.0)]),
        "by moment, then airport"
    );
    assert_eq!(world.now("scored", "JFK").await.values["score"], Value::Float(14.0));
    assert_eq!(world.now("mood", "JFK").await.values["mood"], Value::Float(28.0), "it has followed");
    // What was read before is read as it was.
    let then: Vec<Value> =
        rows(&world, "scored", before).await.into_iter().map(|row| row["score"].clone()).collect();
    assert_eq!(then, floats(wrong));
    // Nothing is left to replay.
    again(&world, "scored", Recomputed::DeadLetters).await;
    assert_eq!(
        values(&world, "scored", "score").await,
        floats([Some(-1.0), Some(12.0), Some(-1.0), Some(14.0)])
    );
}

#[tokio::test]
async fn rows_of_a_range_are_computed_again_and_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    let world = world(&answer).await;
    fs::write(&answer, "10").unwrap();
    again(&world, "scored", Recomputed::Between(at(581), at(583))).await;
    assert_eq!(values(&world, "scored", "score").await, floats([Some(11.0), Some(12.0), Some(-1.0), None]));
    assert_eq!(dead_letters(&world.deps, "scored", 10).await.unwrap().count, 1, "that of 584");
    // Files that were merged before, and what comes after, make no difference.
    fs::write(&answer, "20").unwrap();
    world.depart(&[departure("JFK", 5, 583, 1.0), departure("EWR", 6, 590, 1.0)]).await;
    world.drain().await;
    again(&world, "scored", Recomputed::Between(at(583), at(585))).await;
    let rows = values(&world, "scored", "score").await;
    assert_eq!(rows.len(), 6);
    assert_eq!(world.as_of("scored", "JFK", 582).await.values["score"], Value::Float(12.0));
    assert_eq!(world.as_of("scored", "JFK", 584).await.values["score"], Value::Float(24.0));
    assert_eq!(world.now("scored", "EWR").await.values["score"], Value::Float(26.0));
    // Of what comes out the same, nothing changes.
    let stored = values(&world, "scored", "score").await;
    again(&world, "scored", Recomputed::Between(at(583), at(600))).await;
    assert_eq!(values(&world, "scored", "score").await, stored);
    assert_eq!(world.now("scored", "EWR").await.values["score"], Value::Float(26.0));
}

#[tokio::test]
async fn a_view_without_rows_of_its_own_or_that_counts_has_nothing_to_compute_again() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(&folder.path().join("answer")).await;
    for (view, why) in [("load", "it counts the rows of its source"), ("nowhere", "there is no feature view")]
    {
        let refused = recompute_scope(&world.deps, view, Recomputed::DeadLetters).await.unwrap_err();
        assert!(refused.fault().message.contains(why), "{}", refused.fault());
    }
}

#[tokio::test]
async fn what_an_update_has_published_is_not_lost_where_rows_are_computed_again_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    fs::write(&answer, "1").unwrap();
    let world = world(&answer).await;
    let catalog = &world.deps.catalog;
    let position = catalog.position("felt", 1).await.unwrap().unwrap();
    world.observe(&[("JFK", 584, 5.0), ("EWR", 585, 6.0)]).await;
    world.drain().await;
    // As an update leaves it that dies between its units and its end.
    let mut tx = catalog.store().begin().await.unwrap();
    catalog.forget_position(&mut tx, "felt", 1).await.unwrap();
    let so_far = (position.lake_version, position.reached);
    catalog.move_position(&mut tx, "felt", 1, so_far, position.data_clock).await.unwrap();
    tx.commit().await.unwrap();

    fs::write(&answer, "10").unwrap();
    again(&world, "felt", Recomputed::Between(at(583), at(600))).await;
    let all = [Some(2.0), Some(4.0), Some(3.0), Some(14.0), Some(15.0), Some(16.0)];
    assert_eq!(values(&world, "felt", "cold").await, floats(all));
}
