//! Step `dataset.build` and files of labels.

use arrow::{array::AsArray as _, datatypes::TimestampMicrosecondType};
use serde_json::{Value as Json, json};
use tidemill_catalog::{Dataset, DatasetPart};
use tidemill_core::{DataClock, Fault, JobError, Kind, StepState};
use tidemill_offline::{Table, View};
use tidemill_pipeline::Steps;
use tidemill_rows::{Row, source_schema};
use tidemill_runtime::{Context, Job, JobEntry, Outcome};
use tidemill_spec::{
    args::{FEATURES_UPDATE, FeaturesUpdate},
    steps::{DatasetInputs, KnownAt},
};
use tidemill_testkit::Driver;

use crate::world::{HOLDOUT_FROM, VISITS, World, outputs, time, visit};

fn args() -> Json {
    let (from, to) = (time(0), time(34 * 12));
    json!({ "label": "bought", "inputs": "buyer", "from": from, "to": to, "holdout": "7d" })
}

async fn build(world: &World, args: &Json) -> Result<(Json, Dataset), tidemill_core::Fault> {
    let outputs = world.job("dataset.build", args).await?;
    let id = outputs["dataset"].as_str().unwrap().parse().unwrap();
    Ok((outputs, world.catalog.dataset(id).await.unwrap().unwrap()))
}

fn training(world: &World) -> tidemill_training::Deps {
    let (catalog, lake, blobs) = (world.catalog.clone(), world.lake.clone(), world.blobs.clone());
    tidemill_training::Deps { catalog, lake, blobs }
}

async fn rows(world: &World, part: &DatasetPart) -> arrow::array::RecordBatch {
    tidemill_rows::parquet::read(world.blobs.get_at(&part.path).await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_holdout_ends_with_the_newest_matured_label_and_training_knows_nothing_of_it() {
    let world = World::new().await;
    let (outputs, dataset) = build(&world, &args()).await.unwrap();
    // Seven days before the newest visit, though the range ends later.
    let first = HOLDOUT_FROM;
    assert_eq!(dataset.holdout_from, Some(time(first)));
    // What came of a visit is known a day later: the last day's visits before the holdout train nothing.
    let counts = ["rows", "purged", "holdout_rows"].map(|name| outputs[name].as_i64().unwrap());
    assert_eq!(counts, [first - 12, 12, VISITS - first]);
    let holdout = dataset.holdout.as_ref().unwrap();
    for (part, time_of, late) in [
        (&dataset.train, "event_time", false),
        (&dataset.train, "matured_at", false),
        (holdout, "event_time", true),
    ] {
        let rows = rows(&world, part).await;
        let times = rows[time_of].as_primitive::<TimestampMicrosecondType>();
        assert!(times.values().iter().all(|at| (*at >= time(first).timestamp_micros()) == late));
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
async fn labels_that_mature_slowly_leave_a_holdout_or_an_error() {
    let world = World::new().await;
    // By then the visits of the first five days are known, and the range ends four weeks later.
    let mut tx = world.store().begin().await.unwrap();
    let clock = DataClock::Replay { start: time(6 * 12), speed: 0.0, anchored_at: time(0) };
    world.store().set_data_clock(&mut tx, clock).await.unwrap();
    tx.commit().await.unwrap();
    let mut args = args();
    args["holdout"] = json!("2d");
    let (outputs, dataset) = build(&world, &args).await.unwrap();
    assert_eq!((outputs["holdout_rows"].as_i64(), dataset.holdout_from), (Some(25), Some(time(3 * 12))));
    args["holdout"] = json!("5d");
    let fault = build(&world, &args).await.unwrap_err();
    assert_eq!(
        (fault.code.unwrap().0, fault.message.as_str()),
        (
            815,
            "nothing is left to train on: the holdout begins at 2024-01-01 00:00:00 UTC, counted from the newest matured label (2024-01-06 00:00:00 UTC), and there is no label before it"
        )
    );
}

#[tokio::test]
async fn a_dataset_waits_for_its_views_and_asks_for_their_update() {
    let world = World::new().await;
    let run = world.start("score", &[]).await;
    let head = one_more_visit(&world).await;

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
async fn a_version_of_a_view_that_takes_over_before_a_repeat_is_read_with_its_rows() {
    let world = World::new().await;
    // The first attempt has pinned the lake when it finds no place for its files.
    let obstacle = world.home.path().join("blobs/dataset");
    std::fs::write(&obstacle, "").unwrap();
    let run = world.start("score", &[]).await;
    assert!(world.driver().one().await.unwrap());
    let data = world.store().run(run).await.unwrap().step_list.remove(0);
    assert_eq!((data.name.as_str(), data.state), ("data", StepState::Retryable), "{:?}", data.fault);

    let plan = world.catalog.current_view("visit_pages").await.unwrap().unwrap().plan;
    let mut tx = world.store().begin().await.unwrap();
    let version = world.catalog.begin_view(&mut tx, "visit_pages").await.unwrap();
    tx.commit().await.unwrap();
    let view = View::of(&plan, version);
    let rows: Vec<Row> = (0..VISITS).map(visit).collect();
    let head = world.put(&view.table(), &view.schema(), &rows).await;
    let mut tx = world.store().begin().await.unwrap();
    world.catalog.switch_view(&mut tx, "visit_pages", version).await.unwrap();
    world.catalog.move_position(&mut tx, "visit_pages", version, (head, head), time(0)).await.unwrap();
    tx.commit().await.unwrap();

    std::fs::remove_file(&obstacle).unwrap();
    world.driver().until_idle().await.unwrap();
    let page = world.store().run(run).await.unwrap();
    let id = outputs(&page, "data")["dataset"].as_str().unwrap().parse().unwrap();
    let dataset = world.catalog.dataset(id).await.unwrap().unwrap();
    assert_eq!((dataset.view_versions["visit_pages"], dataset.lake_version), (version, head));
    assert_eq!(self::rows(&world, &dataset.train).await["pages"].null_count(), 0);
}

/// The view is behind then.
async fn one_more_visit(world: &World) -> i64 {
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
    world.put(&Table::source("visits"), &source_schema(&objects.sources["visits"]), &more).await
}

/// An update that always fails, as one whose Python can't be loaded.
struct Failing;

impl Job for Failing {
    type Args = FeaturesUpdate;
    type Checkpoint = ();
    const KIND: Kind = FEATURES_UPDATE;

    async fn run(&self, _: &FeaturesUpdate, _: &mut Context<()>) -> Result<Outcome, JobError> {
        Err(JobError::Discard(Fault::coded(707, "cannot load `code:f`").detail("no such module")))
    }
}

/// The failed run of an update, and how often there was one.
async fn failed_updates(world: &World) -> Vec<tidemill_core::RunId> {
    let failed = world.store().failed_runs(None, Some(FEATURES_UPDATE.to_string())).await.unwrap();
    failed.iter().map(|run| run.id).collect()
}

#[tokio::test]
async fn a_dataset_does_not_wait_for_an_update_that_failed() {
    let world = World::new().await;
    one_more_visit(&world).await;
    let mut jobs = world.jobs();
    jobs.push(JobEntry::new(Failing));
    let driver = Driver::with_prepare(world.store(), jobs, std::sync::Arc::new(Steps));

    // A step asks for the update itself, and once only.
    let run = world.start("score", &[]).await;
    driver.until_idle().await.unwrap();
    let page = world.store().run(run).await.unwrap();
    let data = page.step_list.iter().find(|step| step.name == "data").unwrap();
    let outcomes: Vec<_> = data.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["snoozed", "discarded"]);
    let [failed] = failed_updates(&world).await[..] else { panic!("one update") };
    let fault = data.fault.as_ref().unwrap();
    assert_eq!(
        fault.to_string(),
        "[TM0818] view `visit_pages` is behind, and its update failed: cannot load `code:f`"
    );
    assert_eq!(fault.detail.as_deref(), Some("no such module"));
    let hint = fault.hint.as_ref().unwrap();
    assert!(hint.ends_with(&format!("tidemill retry {failed}")), "{hint}");

    // A person is told at once.
    let file = world.home.path().join("labels.csv");
    std::fs::write(&file, "visit,label_ts\n2,2024-01-01 04:00:00\n").unwrap();
    let inputs = DatasetInputs::Model("buyer".to_owned());
    let deps = training(&world);
    let refused = tidemill_training::build_from_labels(&deps, &file, &inputs, None, None).await.unwrap_err();
    assert_eq!(refused.fault().to_string(), fault.to_string());
    assert_eq!(failed_updates(&world).await, [failed]);

    // One that waits again may still make it good.
    world.store().retry_run(failed, &serde_json::Map::new()).await.unwrap();
    let again = world.start("score", &[]).await;
    assert!(world.driver().one().await.unwrap());
    world.reach(world.lake.head().await.unwrap()).await;
    world.driver().until_idle().await.unwrap();
    outputs(&world.store().run(again).await.unwrap(), "data");
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
    [TM0815] the holdout is as long as the range and leaves nothing to train on
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
    let deps = training(&world);
    let inputs = DatasetInputs::Model("buyer".to_owned());
    let built = tidemill_training::build_from_labels(&deps, &file, &inputs, Some(KnownAt::Label), None)
        .await
        .unwrap();
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
        tidemill_training::build_from_labels(&deps, &file, &views, Some(KnownAt::Label), None).await.unwrap();
    assert_eq!(by_view.rows, built.rows);
}

#[tokio::test]
async fn a_column_of_a_file_that_is_called_as_a_feature_is_named_with_what_to_do() {
    let world = World::new().await;
    let file = world.home.path().join("labels.csv");
    std::fs::write(&file, "visit,pages,label_ts\n1,2,2024-01-01T02:00:00Z\n").unwrap();
    let views = DatasetInputs::Views(vec!["visit_pages".to_owned()]);
    let refused = tidemill_training::build_from_labels(&training(&world), &file, &views, None, None)
        .await
        .unwrap_err()
        .fault();
    insta::assert_snapshot!(format!("{refused}\n{}", refused.hint.as_deref().unwrap_or_default()), @r"
    [TM0603] two columns are named `pages`: a column of the label rows, and feature `pages` of view `visit_pages`
    rename the label rows' column, or leave the feature out: `--inputs visit_pages:FEATURE` names single ones
    ");
}
