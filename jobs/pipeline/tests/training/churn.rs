//! Whether a user stays away, from events alone: of whom it is asked, what has matured, what the holdout leaves out, and
//! what a change of the project does to it.

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use chrono::TimeDelta;
use serde_json::{Value as Json, json};
use tidemill_catalog::{CodeArchive, Dataset, LabelCoverage};
use tidemill_core::Time;
use tidemill_offline::Table;
use tidemill_rows::{Row, batch_of, source_schema};
use tidemill_spec::{LoadOptions, Value, diagnostic::SourceFile, load_files, steps::DatasetInputs};
use tidemill_training::{Deps, Error, FileAnswers, FileLabel, FromLabels, build_from_labels};

use crate::world::{World, time};

const PROJECT: &str = r#"
apiVersion: tidemill/v1
kind: Project
name: web
---
apiVersion: tidemill/v1
kind: Entity
name: user
keys: { user_id: string }
---
apiVersion: tidemill/v1
kind: Source
name: events
columns: { user_id: string, action: string, timestamp: timestamp }
event_time: timestamp
---
apiVersion: tidemill/v1
kind: FeatureView
name: activity
entity: user
source: events
features:
  events_30d: { type: int, count: "*", window: 30d }
  logins_7d: { type: int, count: "*", where: action = 'login', window: 7d }
"#;

const LABEL: &str = r#"
---
apiVersion: tidemill/v1
kind: Label
name: churned
entity: user
source: events
population: { view: activity, cron: "0 0 * * *" }
aggregates: { logins: { type: int, count: "*", where: action = 'login', within: 14d } }
value: { type: bool, sql: logins = 0 }
"#;

/// A day of January 2024, from 0, and an hour of it.
fn day(day: i64, hour: i64) -> Time {
    time(0) + TimeDelta::hours(24 * day + hour)
}

/// (user, action, moment). `daily` comes every day until the clock's day 60, `gone` until day 20, `ghost` never logs in; what
/// has come by the last moment is all there is, so the rows have arrived up to the clock.
fn events() -> Vec<(&'static str, &'static str, Time)> {
    let daily = (0..60).map(|at| ("daily", "login", day(at, 12)));
    let gone = (0..=20).map(|at| ("gone", "login", day(at, 12)));
    let ghost = (0..6).map(|at| ("ghost", "visit", day(5 + 10 * at, 12)));
    daily.chain(gone).chain(ghost).chain([("last", "visit", day(60, 0))]).collect()
}

async fn apply(world: &World, project: &str) {
    let file = SourceFile { path: "tidemill.yaml".to_owned(), text: project.to_owned() };
    let loaded = load_files(vec![file], &LoadOptions::default());
    assert!(!loaded.failed(), "{:?}", loaded.diagnostics);
    world.put_in_force(&loaded.objects, &CodeArchive::of(&loaded.files)).await;
}

/// Events come in, and the view follows.
async fn send(world: &World, key: &str, events: &[(&str, &str, Time)], created: Option<Time>) {
    let objects = world.catalog.objects().await.unwrap();
    let schema = source_schema(&objects.sources["events"]);
    let row = |(seq, (user, action, at)): (usize, &(&str, &str, Time))| {
        let text = |text: &str| Value::String(text.to_owned());
        Row::from([
            ("user_id".to_owned(), text(user)),
            ("action".to_owned(), text(action)),
            ("timestamp".to_owned(), Value::Timestamp(*at)),
            ("valid_at".to_owned(), Value::Timestamp(*at)),
            ("created_at".to_owned(), Value::Timestamp(created.unwrap_or(*at))),
            ("seq".to_owned(), Value::Int(i64::try_from(seq).unwrap())),
            ("deleted".to_owned(), Value::Bool(false)),
        ])
    };
    let rows: Vec<Row> = events.iter().enumerate().map(row).collect();
    let (table, batch) = (Table::source("events"), batch_of(&schema, &rows).unwrap());
    let staged = world.lake.stage(&table, key, 0, &[], &schema, vec![batch]).await.unwrap().unwrap();
    let mut tx = world.store().begin().await.unwrap();
    world.lake.publish(tx.conn(), &table, key, &[staged]).await.unwrap();
    tx.commit().await.unwrap();
    world.reach_with("activity", world.lake.head().await.unwrap()).await;
}

async fn web() -> World {
    let world = World::empty().await;
    apply(&world, &format!("{PROJECT}{LABEL}")).await;
    send(&world, "first", &events(), None).await;
    world
}

async fn build(world: &World) -> (Json, Dataset) {
    let args = json!({
        "label": "churned", "inputs": ["activity"], "from": day(0, 0), "to": day(60, 0), "holdout": "7d"
    });
    let outputs = world.job("dataset.build", &args).await.unwrap();
    let id = outputs["dataset"].as_str().unwrap().parse().unwrap();
    (outputs, world.catalog.dataset(id).await.unwrap().unwrap())
}

async fn rows(world: &World, path: &str) -> RecordBatch {
    tidemill_rows::parquet::read(world.blobs.get_at(path).await.unwrap()).unwrap()
}

fn counts(outputs: &Json) -> [i64; 6] {
    ["asked", "matured", "left_out", "purged", "rows", "holdout_rows"]
        .map(|name| outputs[name].as_i64().unwrap())
}

#[tokio::test]
async fn every_user_who_was_there_is_asked_each_day_and_training_knows_nothing_of_the_holdout() {
    let world = web().await;
    let (outputs, dataset) = build(&world).await;
    // On day 60 the windows that began by day 46 have passed. A holdout of seven days begins on day 39, and what was asked
    // from day 25 on matures inside it.
    let daily = [59, 46, 14, 24, 8];
    // The last event of `gone` was on day 20: it is in the view until day 50. `ghost` came on day 5.
    let (gone, ghost) = ([50, 46, 14, 24, 8], [54, 41, 14, 19, 8]);
    let [asked, matured, purged, trained, held] = [0, 1, 2, 3, 4].map(|it| daily[it] + gone[it] + ghost[it]);
    assert_eq!(counts(&outputs), [asked, matured, 0, purged, trained, held]);
    assert_eq!(dataset.holdout_from, Some(day(39, 0)));
    assert_eq!(
        dataset.coverage,
        Some(LabelCoverage {
            population: Some("view activity@1".to_owned()),
            asked: Some(163),
            matured: 133,
            left_out: 0,
            purged: 42,
        })
    );
    // `gone` is away from day 21 on, `ghost` always.
    assert_eq!(dataset.train.classes, [("false".to_owned(), 44), ("true".to_owned(), 4 + 19)].into());
    assert_eq!(
        dataset.holdout.as_ref().unwrap().classes,
        [("false".to_owned(), 8), ("true".to_owned(), 16)].into()
    );

    let events = events();
    let logins = |user: &str, after: Time, upto: Time| {
        events
            .iter()
            .filter(|(who, what, at)| *who == user && *what == "login" && *at > after && *at <= upto)
            .count()
    };
    for (part, held) in [(&dataset.train, false), (dataset.holdout.as_ref().unwrap(), true)] {
        let rows = rows(&world, &part.path).await;
        let times = |name: &str| rows[name].as_primitive::<TimestampMicrosecondType>().clone();
        let (users, churned) = (rows["user_id"].as_string::<i32>(), rows["churned"].as_boolean());
        let logins_7d = rows["logins_7d"].as_primitive::<Int64Type>();
        assert_eq!((churned.null_count(), times("event_time")), (0, times("label_ts")));
        for row in 0..rows.num_rows() {
            let instant = |name: &str| Time::from_timestamp_micros(times(name).value(row)).unwrap();
            let (user, asked_at, matured_at) = (users.value(row), instant("label_ts"), instant("matured_at"));
            assert_eq!(matured_at, asked_at + TimeDelta::days(14));
            assert_eq!((asked_at >= day(39, 0), matured_at >= day(39, 0)), (held, held));
            // The same events give what was known and what came of it, on either side of the moment.
            assert_eq!(churned.value(row), logins(user, asked_at, matured_at) == 0, "{user} at {asked_at}");
            let before = logins(user, asked_at - TimeDelta::days(7), asked_at);
            assert_eq!(logins_7d.value(row), i64::try_from(before).unwrap(), "{user} at {asked_at}");
        }
    }
}

#[tokio::test]
async fn the_same_rows_are_the_same_files_and_a_late_one_changes_the_labels_it_is_of() {
    let world = web().await;
    let (_, first) = build(&world).await;
    let (_, again) = build(&world).await;
    let files = |dataset: &Dataset| (dataset.train.sha256.clone(), dataset.holdout.clone().unwrap().sha256);
    assert_eq!(files(&first), files(&again));
    // `ghost` had logged in on day 10, which is heard of on day 58.
    send(&world, "late", &[("ghost", "login", day(10, 12))], Some(day(58, 0))).await;
    let (_, late) = build(&world).await;
    assert_eq!(late.train.classes, [("false".to_owned(), 44 + 5), ("true".to_owned(), 23 - 5)].into());
    assert_eq!(late.holdout.unwrap().classes, first.holdout.unwrap().classes, "it was before their windows");
}

#[tokio::test]
async fn a_label_that_is_declared_anew_is_another_and_a_population_whose_view_is_filled_stays() {
    let world = web().await;
    build(&world).await;
    let week = format!("{PROJECT}{LABEL}").replace("14d", "7d").replace("window: 30d", "window: 20d");
    apply(&world, &week).await;
    let (outputs, dataset) = build(&world).await;
    // What was asked by day 53 has matured, the holdout begins on day 46, and purges seven days. The view's new version is
    // not filled yet: who is asked follows from the one that serves.
    assert_eq!(dataset.coverage.unwrap().population.as_deref(), Some("view activity@1"));
    assert_eq!(counts(&outputs), [163, 53 + 50 + 48, 0, 21, 38 + 38 + 33, 8 + 5 + 8]);
    assert_eq!(dataset.holdout_from, Some(day(46, 0)));
}

#[tokio::test]
async fn a_view_that_a_population_is_of_cannot_be_taken_away() {
    let world = web().await;
    let (_, of_view) = PROJECT.split_once("---\napiVersion: tidemill/v1\nkind: FeatureView").unwrap();
    let without =
        format!("{PROJECT}{LABEL}").replace(of_view, "").replace("kind: FeatureView", "kind: Notifier");
    let file = SourceFile { path: "tidemill.yaml".to_owned(), text: without };
    let loaded = load_files(vec![file], &LoadOptions::default());
    let told: Vec<&str> = loaded.diagnostics.iter().map(|found| found.message.as_str()).collect();
    assert!(told.contains(&"there is no view `activity`"), "{told:?}");
    // Nothing is in force of what could not be loaded.
    build(&world).await;
}

#[tokio::test]
async fn a_population_of_rows_is_asked_at_each_rows_moment() {
    let world = World::empty().await;
    let of_rows =
        r#"population: { source: events, asked_at: "CASE WHEN action = 'visit' THEN timestamp END" }"#;
    let label = LABEL.replace(r#"population: { view: activity, cron: "0 0 * * *" }"#, of_rows);
    apply(&world, &format!("{PROJECT}{label}")).await;
    send(&world, "first", &events(), None).await;
    let (outputs, dataset) = build(&world).await;
    let coverage = dataset.coverage.unwrap();
    assert_eq!(coverage.population.as_deref(), Some("source events"));
    // Six visits of `ghost`; logins are not asked. On day 60 those of days 5 to 45 have matured.
    assert_eq!(counts(&outputs)[..3], [6, 5, 0]);
}

async fn of_file(world: &World, name: &str, inputs: &str, asked: &str) -> Result<FromLabels, Error> {
    let file = world.home.path().join("asked.csv");
    std::fs::write(&file, asked).unwrap();
    let (catalog, lake, blobs) = (world.catalog.clone(), world.lake.clone(), world.blobs.clone());
    let inputs = DatasetInputs::Views(vec![inputs.to_owned()]);
    let label = Some(FileLabel { name, clock: day(60, 0) });
    build_from_labels(&Deps { catalog, lake, blobs }, &file, &inputs, None, label).await
}

#[tokio::test]
async fn a_file_is_a_population_too_and_keeps_its_rows_and_their_order() {
    let world = web().await;
    let asked = "note,user_id,label_ts
b,gone,2024-01-25T00:00:00Z
a,daily,2024-01-25T00:00:00Z
open,gone,2024-02-28T00:00:00Z
nobody,who,2024-01-25T00:00:00Z
keyless,,2024-01-25T00:00:00Z
";
    let built = of_file(&world, "churned", "activity", asked).await.unwrap();
    let rows: Vec<Json> =
        tidemill_rows::json_rows(&built.rows).unwrap().into_iter().map(Json::Object).collect();
    let told: Vec<String> =
        rows.iter().map(|row| format!("{} {} {}", row["note"], row["churned"], row["logins_7d"])).collect();
    assert_eq!(told[..4], ["\"b\" true 4", "\"a\" false 7", "\"open\" null 0", "\"nobody\" true 0"]);
    // A null names nobody, so nobody stayed away.
    assert_eq!((&rows[4]["churned"], &rows[4]["matured_at"]), (&Json::Null, &json!("2024-02-08T00:00:00Z")));
    let classes = [("false".to_owned(), 1), ("true".to_owned(), 2)].into();
    assert_eq!(built.answers, Some(FileAnswers { matured: 3, left_out: 0, classes }));

    let taken = of_file(&world, "churned", "activity", "user_id,label_ts,churned\n").await.unwrap_err();
    assert_eq!(taken.fault().to_string(), "[TM0813] two columns of the dataset would be named `churned`");
    let unknown = of_file(&world, "churn", "activity", asked).await.unwrap_err();
    assert_eq!(unknown.fault().to_string(), "[TM0810] there is no label `churn`");
}

#[tokio::test]
async fn a_label_whose_answers_are_rows_cannot_be_asked_of_a_file() {
    let world = World::new().await;
    let refused = of_file(&world, "bought", "visit_pages", "visit,label_ts\n1,2024-01-01T02:00:00Z\n").await;
    assert_eq!(
        refused.unwrap_err().fault().to_string(),
        "[TM0819] label `bought` cannot be computed for rows of a file: each row of source `outcomes` is an answer"
    );
}
