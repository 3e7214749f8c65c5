//! What is declared changes while values are served; and rows at the limits of the calendar.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use tidemill_catalog::ModelVersion;
use tidemill_features::{behind, freshness, update_new, wishes_of_changes};
use tidemill_offline::{Read, Table};
use tidemill_online::Status;
use tidemill_rows::Row;
use tidemill_spec::{Hydration, Type, Value};
use tidemill_testkit::run_until_idle;

use crate::world::{PROJECT, World, at, departure};

#[tokio::test]
async fn another_list_of_online_features_is_filled_beside_the_one_that_serves() {
    let few = PROJECT.replace(
        "minutes: { type: float, age: true }\nonline: true",
        "minutes: { type: float, age: true }\nonline: [delay]",
    );
    let mut world = World::with(&few, &[]).await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    world.drain().await;
    assert_eq!(world.now("newest", "JFK").await.values.len(), 1);
    for (yaml, features) in [(PROJECT, 3), (few.as_str(), 1)] {
        let changes = world.apply(yaml, &[]).await;
        let before = world.now("newest", "JFK").await;
        assert_eq!(before.values["delay"], Value::Float(10.0), "what serves is read until the other is full");
        world.enqueue(wishes_of_changes(&world.objects, &changes)).await;
        world.drain().await;
        let after = world.now("newest", "JFK").await;
        assert_eq!((after.values["delay"].clone(), after.values.len()), (Value::Float(10.0), features));
        world.check_parity().await;
    }
}

#[tokio::test]
async fn values_of_another_layout_are_told_and_written_again_by_the_next_update() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    world.drain().await;
    // As a release with another layout would have left them.
    let mut definition = world.objects.views["newest"].clone();
    definition.features.shift_remove("twice");
    let keys = world.objects.entities["airport"].keys.clone();
    let other = tidemill_online::OnlineView::new(definition, 1, keys, true);
    world.deps.online.drop_version("newest", 1).await.unwrap();
    let order = tidemill_online::Order { first: i64::MAX, second: 0, third: 0 };
    let body = tidemill_online::Body::Row(vec![Value::Float(1.0)]);
    let stored = tidemill_online::Stored { order, body };
    let entry = tidemill_online::Entry { key: vec![Value::String("JFK".into())], stored };
    world.deps.online.put(&other, &[entry]).await.unwrap();
    world.deps.online.begin_marker(&other).await.unwrap();
    assert!(world.deps.online.mark(&other, 0, 1).await.unwrap());
    let status = async || {
        let report = freshness(&world.deps).await.unwrap();
        report.into_iter().find(|view| view.view == "newest").unwrap().status
    };
    assert_eq!(status().await, "rebuilding");
    let got = world.got("newest", "JFK").await;
    assert_eq!((got.store, &got.features.values["twice"]), ("offline", &Value::Float(20.0)));
    world.enqueue(vec![update_new("newest")]).await;
    world.drain().await;
    assert_eq!(status().await, "fresh");
    assert_eq!(world.now("newest", "JFK").await.values["twice"], Value::Float(20.0));
    world.check_parity().await;
}

#[tokio::test]
async fn a_row_of_never_waits_and_the_others_go_on() {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    for (flight, time) in [(2, "9999-12-31T23:59:59.999999Z"), (3, "0001-01-01T00:00:00Z")] {
        let row = Row::from_iter([
            ("origin".to_owned(), Value::String("JFK".to_owned())),
            ("flight".to_owned(), Value::Int(flight)),
            ("departed_at".to_owned(), Value::Timestamp(time.parse().unwrap())),
            ("delay".to_owned(), Value::Float(99.0)),
            ("gone".to_owned(), Value::Bool(false)),
            ("valid_at".to_owned(), Value::Timestamp(time.parse().unwrap())),
        ]);
        world.ingest("departures", vec![(0, false, row)]).await;
        world.drain().await;
    }
    world.observe(&[("JFK", 591, 2.0)]).await;
    world.depart(&[departure("EWR", 4, 592, 5.0)]).await;
    world.clock(610).await;
    world.drain().await;
    assert_eq!(world.now("newest", "JFK").await.values["delay"], Value::Float(10.0));
    assert_eq!(world.now("newest", "EWR").await.values["delay"], Value::Float(5.0));
    assert_eq!(world.now("stress", "JFK").await.values["stress"], Value::Float(20.0));
    assert!(freshness(&world.deps).await.unwrap().iter().all(|view| view.status == "fresh"));
    world.check_parity().await;
}

const BROKEN: &str = r#"
---
apiVersion: tidemill/v1
kind: FeatureView
name: broken
entity: airport
source: departures
python: transforms.airport:nowhere
features: { late: bool }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: above
entity: airport
inputs: [broken]
features: { later: { type: bool, sql: late } }
online: true
"#;

#[tokio::test]
async fn an_update_that_failed_is_named_with_its_remedy_and_nothing_behind_is_fresh() {
    let python =
        [("transforms/airport.py", "raise RuntimeError('no database here')\n\ndef nowhere(row): ...")];
    let world = World::with(&format!("{PROJECT}{BROKEN}"), &python).await;
    // What is due later is no update that could make it good.
    let later = tidemill_store::NewJob {
        run_at: Some("2999-01-01T00:00:00Z".parse().unwrap()),
        key: None,
        ..update_new("broken")
    };
    world.enqueue(vec![later]).await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    run_until_idle(world.deps.catalog.store(), tidemill_features::jobs(&world.deps)).await.unwrap();
    let report = freshness(&world.deps).await.unwrap();
    for view in ["broken", "above"] {
        let found = report.iter().find(|found| found.view == view).unwrap();
        assert_eq!(found.status, "failed", "{found:?}");
        let failed = found.failed.as_ref().unwrap();
        assert_eq!((failed.view.as_str(), failed.what), ("broken", "update"));
        let hint = failed.fault.hint.clone().unwrap();
        assert!(hint.contains(&format!("tidemill retry {}", failed.run)), "{hint}");
        let got = world.got(view, "JFK").await;
        assert_eq!(got.failed.as_ref(), Some(failed));
        assert!(
            got.backlog.is_some_and(|backlog| backlog.commits == 1) && got.features.status == Status::Absent
        );
    }
    // The others of its source are as they should be, and say so when something waits for them.
    assert_eq!(world.now("newest", "JFK").await.status, Status::Fresh);
    world.depart(&[departure("JFK", 2, 595, 10.0)]).await;
    let waiting = world.got("newest", "JFK").await;
    assert_eq!((waiting.features.status, waiting.backlog.unwrap().commits), (Status::Stale, 1));
    assert_eq!(waiting.features.valid_at, Some(at(590)));
}

/// A version of a model that reads the first version of a view.
pub(crate) fn model_over(view: &str) -> ModelVersion {
    ModelVersion {
        model: "late".to_owned(),
        version: 0,
        artifact: "artifacts/1".to_owned(),
        runtime: "lightgbm".to_owned(),
        keys: IndexMap::new(),
        hydration: Hydration::default(),
        request: IndexMap::new(),
        nullable: Some(Vec::new()),
        outputs: IndexMap::from([("probability".to_owned(), Type::Float.into())]),
        fail_on_missing: false,
        processes: 1,
        processes_max: None,
        categories: IndexMap::new(),
        view_versions: BTreeMap::from([(view.to_owned(), 1)]),
        leak_allowed: Vec::new(),
        dataset: None,
        params: serde_json::Map::new(),
        run: None,
        code_hash: None,
    }
}

#[tokio::test]
async fn what_a_live_model_reads_is_kept_up_to_date_when_the_project_has_it_no_more() {
    let mut world = World::new().await;
    world.depart(&[departure("JFK", 1, 590, 10.0)]).await;
    world.drain().await;
    let store = world.deps.catalog.store().clone();
    let mut tx = store.begin().await.unwrap();
    world.deps.catalog.insert_model_version(&mut tx, "job", &model_over("newest")).await.unwrap();
    tx.commit().await.unwrap();

    let (before, rest) =
        PROJECT.split_once("---\napiVersion: tidemill/v1\nkind: FeatureView\nname: newest").unwrap();
    let (_, after) = rest.split_once("---\n").unwrap();
    world.apply(&format!("{before}---\n{after}"), &[]).await;
    world.depart(&[departure("JFK", 2, 595, 20.0)]).await;
    world.drain().await;
    let rows = async || {
        let head = world.deps.lake.head().await.unwrap();
        world.deps.lake.read(&Read::all(Table::view("newest", 1), head)).await.unwrap().num_rows()
    };
    assert_eq!(rows().await, 2);
    assert_eq!(behind(&world.deps).await.unwrap().len(), 0);
}
