//! Step `dataset.build` and files of labels.

use arrow::{array::AsArray as _, datatypes::TimestampMicrosecondType};
use serde_json::{Value as Json, json};
use tidemill_catalog::{Dataset, DatasetPart};
use tidemill_core::{DataClock, StepState};
use tidemill_offline::Table;
use tidemill_rows::{Row, source_schema};
use tidemill_spec::steps::{DatasetInputs, KnownAt};

use crate::world::{VISITS, World, outputs, time};

fn args() -> Json {
    let (from, to) = (time(0), time(34 * 12));
    json!({ "label": "bought", "inputs": "buyer", "from": from, "to": to, "holdout": "7d" })
}

async fn build(world: &World, args: &Json) -> Result<(Json, Dataset), tidemill_core::Fault> {
    let outputs = world.job("dataset.build", args).await?;
    let id = outputs["dataset"].as_str().unwrap().parse().unwrap();
    Ok((outputs, world.catalog.dataset(id).await.unwrap().unwrap()))
}

async fn rows(world: &World, part: &DatasetPart) -> arrow::array::RecordBatch {
    tidemill_rows::parquet::read(world.blobs.get_at(&part.path).await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_holdout_is_the_end_of_the_range_and_training_never_sees_it() {
    let world = World::new().await;
    let (outputs, dataset) = build(&world, &args()).await.unwrap();
    assert_eq!(
        (outputs["rows"].as_i64(), outputs["holdout_rows"].as_i64()),
        (Some(27 * 12), Some(VISITS - 27 * 12))
    );
    assert_eq!(dataset.holdout_from, Some(time(27 * 12)));
    let holdout = dataset.holdout.as_ref().unwrap();
    for (part, late) in [(&dataset.train, false), (holdout, true)] {
        let rows = rows(&world, part).await;
        let times = rows["event_time"].as_primitive::<TimestampMicrosecondType>();
        assert!(times.values().iter().all(|at| (*at >= time(27 * 12).timestamp_micros()) == late));
        assert!(rows["pages"].null_count() == 0);
    }
    assert_eq!(dataset.columns.keys().collect::<Vec<_>>(), ["pages", "landing"]);
    assert_eq!((dataset.view_versions["visit_pages"], dataset.changed_under_known_at), (1, Some(0)));
}

#[tokio::test]
async fn labels_that_are_not_known_yet_are_left_out() {
    let world = World::new().await;
    let mut tx = world.store().begin().await.unwrap();
    // Outcomes are known a day after the visit.
    let clock = DataClock::Replay { start: time(10 * 12), speed: 0.0, anchored_at: time(0) };
    world.store().set_data_clock(&mut tx, clock).await.unwrap();
    tx.commit().await.unwrap();
    let mut args = args();
    args.as_object_mut().unwrap().remove("holdout");
    let (outputs, dataset) = build(&world, &args).await.unwrap();
    assert_eq!(outputs["rows"], 9 * 12 + 1);
    assert_eq!((dataset.clock, dataset.holdout), (time(10 * 12), None));
}

#[tokio::test]
async fn a_dataset_waits_for_its_views_and_asks_for_their_update() {
    let world = World::new().await;
    let run = world.start("score", &[]).await;
    let objects = world.catalog.objects().await.unwrap();
    let more: Vec<Row> = Vec::from([Row::from([
        ("visit".to_owned(), tidemill_spec::Value::Int(-1)),
        ("seen_at".to_owned(), tidemill_spec::Value::Timestamp(time(0))),
        ("published".to_owned(), tidemill_spec::Value::Timestamp(time(0))),
        ("pages".to_owned(), tidemill_spec::Value::Int(1)),
        ("valid_at".to_owned(), tidemill_spec::Value::Timestamp(time(0))),
        ("created_at".to_owned(), tidemill_spec::Value::Timestamp(time(0))),
        ("seq".to_owned(), tidemill_spec::Value::Int(-1)),
        ("deleted".to_owned(), tidemill_spec::Value::Bool(false)),
    ])]);
    let head = world.put(&Table::source("visits"), &source_schema(&objects.sources["visits"]), &more).await;

    assert!(world.driver().one().await.unwrap());
    let page = world.store().run(run).await.unwrap();
    let data = page.step_list.iter().find(|step| step.name == "data").unwrap();
    assert_eq!((data.state, data.attempts[0].outcome.as_str()), (StepState::Scheduled, "snoozed"));
    let queue = world.store().queue().await.unwrap();
    assert!(queue.iter().any(|row| row.kind == "features.update"), "{queue:?}");

    world.reach(head).await;
    let job = world.jobs().into_iter().find(|job| job.kind().as_str() == "dataset.build").unwrap();
    tidemill_testkit::Driver::with_prepare(
        world.store(),
        vec![job],
        std::sync::Arc::new(tidemill_pipeline::Steps),
    )
    .until_idle()
    .await
    .unwrap();
    let page = world.store().run(run).await.unwrap();
    assert_eq!(outputs(&page, "data")["lake_version"], head);
}

#[tokio::test]
async fn what_cannot_be_built_says_why() {
    let world = World::new().await;
    let mut cases = Vec::new();
    for (key, value) in [
        ("label", json!("sold")),
        ("inputs", json!("seller")),
        ("inputs", json!(["visit_sights"])),
        ("to", json!(time(-5))),
        ("holdout", json!("40d")),
        ("from", json!(time(20_000))),
    ] {
        let mut args = args();
        args[key] = value;
        if key == "from" {
            args["to"] = json!(time(30_000));
        }
        cases.push(build(&world, &args).await.unwrap_err().to_string());
    }
    insta::assert_snapshot!(cases.join("\n"), @r"
    [TM0810] there is no label `sold`
    [TM0810] there is no model `seller`
    [TM0810] there is no view `visit_sights`
    [TM0815] from 2024-01-01 00:00:00 UTC to 2023-12-31 14:00:00 UTC there is nothing
    [TM0815] the holdout leaves nothing to train on
    [TM0816] label `bought` has no matured row in the range
    ");
}

#[tokio::test]
async fn a_file_of_labels_keeps_its_columns_and_order() {
    let world = World::new().await;
    let file = world.home.path().join("labels.csv");
    std::fs::write(
        &file,
        "note,visit,label_ts\nb,2,2024-01-01 04:00:00\na,1,2024-01-01T02:00:00Z\nearly,1,2024-01-01 00:59:59\nnobody,9999,2024-02-01 00:00:00\n",
    )
    .unwrap();
    let deps = tidemill_training::Deps {
        catalog: world.catalog.clone(),
        lake: world.lake.clone(),
        blobs: world.blobs.clone(),
    };
    let inputs = DatasetInputs::Model("buyer".to_owned());
    let built =
        tidemill_training::build_from_labels(&deps, &file, &inputs, Some(KnownAt::Label)).await.unwrap();
    let rows: Vec<Json> =
        tidemill_rows::json_rows(&built.rows).unwrap().into_iter().map(Json::Object).collect();
    let expected = [
        json!({ "note": "b", "visit": 2, "label_ts": "2024-01-01T04:00:00Z", "pages": 4, "landing": "search" }),
        json!({ "note": "a", "visit": 1, "label_ts": "2024-01-01T02:00:00Z", "pages": 7, "landing": "offer" }),
        json!({ "note": "early", "visit": 1, "label_ts": "2024-01-01T00:59:59Z", "pages": null, "landing": null }),
        json!({ "note": "nobody", "visit": 9999, "label_ts": "2024-02-01T00:00:00Z", "pages": null, "landing": null }),
    ];
    assert_eq!(rows, expected);
    let views = DatasetInputs::Views(vec!["visit_pages".to_owned()]);
    let by_view =
        tidemill_training::build_from_labels(&deps, &file, &views, Some(KnownAt::Label)).await.unwrap();
    assert_eq!(by_view.rows, built.rows);
}
