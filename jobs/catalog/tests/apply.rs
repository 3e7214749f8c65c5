//! Projects come in, change and go, against a real database.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::{fs, path::Path, sync::Arc};

use sqlx::{Executor as _, SqlSafeStr as _};
use tidemill_catalog::{Catalog, Change, ChangeKind, CodeArchive, Edge, Node, ViewState};
use tidemill_core::Time;
use tidemill_spec::{LoadOptions, Objects, diagnostic::SourceFile, load_files};
use tidemill_testkit::{Engine, engine_with};

const PROJECT: &str = r#"
apiVersion: tidemill/v1
kind: Project
name: test
---
apiVersion: tidemill/v1
kind: Entity
name: airport
keys: { origin: string }
---
apiVersion: tidemill/v1
kind: Source
name: weather
columns: { origin: string, observed_at: timestamp, temp: { type: float, nullable: true }, gust: { type: float, nullable: true } }
event_time: observed_at
---
apiVersion: tidemill/v1
kind: FeatureView
name: weather_now
entity: airport
source: weather
ttl: 3h
features: { temp: float }
---
apiVersion: tidemill/v1
kind: FeatureView
name: stress
entity: airport
inputs: [weather_now]
python: transforms.airport:stress
features: { stress: float }
---
apiVersion: tidemill/v1
kind: Pipeline
name: tidy
schedule: { cron: "30 3 * * *", timezone: America/New_York, catchup: last, overlap: skip }
steps:
  one: { uses: sql, with: { query: SELECT 1 } }
"#;

struct World {
    engine: Engine,
    catalog: Catalog,
}

impl World {
    async fn new() -> Self {
        let engine = engine_with("catalog", async |store| Ok(Catalog::new(store.clone()).migrate().await?))
            .await
            .unwrap();
        let catalog = Catalog::new(engine.store.clone());
        Self { engine, catalog }
    }

    /// Applies and returns what changed, without what didn't.
    async fn apply(&self, yaml: &str, python: &str) -> Vec<Change> {
        let code = CodeArchive { files: [("transforms/airport.py".to_owned(), python.to_owned())].into() };
        self.apply_code(yaml, &code).await
    }

    async fn apply_code(&self, yaml: &str, code: &CodeArchive) -> Vec<Change> {
        let mut tx = self.engine.store.begin().await.unwrap();
        let changes = self.catalog.apply(&mut tx, &objects(yaml), code, Time::UNIX_EPOCH).await.unwrap();
        tx.commit().await.unwrap();
        changes
            .into_iter()
            .filter(|change| change.change != ChangeKind::Unchanged || change.building.is_some())
            .collect()
    }

    async fn versions(&self, view: &str) -> Vec<(i32, ViewState)> {
        let versions = self.catalog.view_versions(Some(view)).await.unwrap();
        versions.into_iter().map(|version| (version.version, version.state)).collect()
    }

    /// The versions that a version reads.
    async fn inputs(&self, view: &str, version: i32) -> Vec<(String, i32)> {
        let version = self.catalog.view_version(view, version).await.unwrap().unwrap();
        version.plan.inputs.into_iter().collect()
    }

    async fn switch(&self, view: &str, version: i32) {
        let mut tx = self.engine.store.begin().await.unwrap();
        self.catalog.switch_view(&mut tx, view, version).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn objects(yaml: &str) -> Objects {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let files = vec![file("tidemill.yaml", yaml), file("transforms/airport.py", "def stress(row): ...")];
    let loaded = load_files(files, &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.objects
}

#[tokio::test]
async fn applying_twice_changes_nothing_and_objects_come_back_in_order() {
    let world = World::new().await;
    assert_eq!(world.apply(PROJECT, "a").await.len(), 6);
    assert_eq!(world.apply(PROJECT, "a").await, []);
    let (declared, kept) = (objects(PROJECT), world.catalog.objects().await.unwrap());
    assert_eq!(declared, kept);
    assert!(declared.sources["weather"].columns.keys().eq(kept.sources["weather"].columns.keys()));
    let schedules = world.engine.store.schedules().await.unwrap();
    assert_eq!(schedules.len(), 1);
    assert_eq!(
        (schedules[0].name.as_str(), schedules[0].timezone.as_str()),
        ("pipeline/tidy", "America/New_York")
    );
}

#[tokio::test]
async fn a_view_whose_values_change_is_built_beside_the_one_that_serves() {
    use ViewState::{Building, Current, Retired};
    let world = World::new().await;
    world.apply(PROJECT, "a").await;
    assert_eq!(world.versions("weather_now").await, [(1, Current)]);

    // What people read is no reason to compute anything again.
    let described = PROJECT.replace("ttl: 3h", "ttl: 3h\ndescription: The weather");
    let changes = world.apply(&described, "a").await;
    assert_eq!((changes.len(), changes[0].version, changes[0].building), (1, 2, None));
    let current = world.catalog.current_view("weather_now").await.unwrap().unwrap();
    assert_eq!((current.version, current.plan.definition.meta.description.as_str()), (1, "The weather"));

    // What a view is computed from is part of it.
    let from_gust = PROJECT.replace("temp: float }", "temp: { type: float, last: gust } }");
    let building: Vec<_> =
        world.apply(&from_gust, "a").await.into_iter().map(|change| change.building).collect();
    assert_eq!(building, [Some(2), Some(2)]);
    assert_eq!(world.versions("weather_now").await, [(2, Building), (1, Current)]);
    world.switch("weather_now", 2).await;
    world.switch("weather_now", 2).await;
    assert_eq!(world.versions("weather_now").await, [(2, Current), (1, Retired)]);

    assert_eq!(world.inputs("stress", 1).await, [("weather_now".to_owned(), 1)]);
    assert_eq!(world.inputs("stress", 2).await, [("weather_now".to_owned(), 2)]);

    // Going back takes up the rows of then, and leaves what was never replaced.
    world.apply(PROJECT, "a").await;
    assert_eq!(world.versions("weather_now").await, [(2, Current), (1, Building)]);
    assert_eq!(world.versions("stress").await, [(2, Retired), (1, Current)]);
    world.apply(&from_gust, "a").await;
    assert_eq!(world.versions("weather_now").await, [(2, Current), (1, Retired)]);
    assert_eq!(world.versions("stress").await, [(2, Building), (1, Current)]);
}

#[tokio::test]
async fn what_is_filled_anew_by_hand_is_followed_by_all_that_is_computed_from_it() {
    use ViewState::{Building, Current, Retired};
    let above = "---
apiVersion: tidemill/v1
kind: FeatureView
name: above
entity: airport
inputs: [stress, weather_now]
features: { twice: { type: float, sql: stress * 2 } }
";
    let world = World::new().await;
    world.apply(&format!("{PROJECT}{above}"), "a").await;
    let begin = async |view: &str| {
        let mut tx = world.engine.store.begin().await.unwrap();
        let version = world.catalog.begin_view(&mut tx, view).await.unwrap();
        tx.commit().await.unwrap();
        version
    };
    assert_eq!(begin("above").await, 2);
    assert_eq!((begin("weather_now").await, begin("weather_now").await), (2, 2));
    assert_eq!(world.versions("stress").await, [(2, Building), (1, Current)]);
    assert_eq!(world.versions("above").await, [(3, Building), (2, Retired), (1, Current)]);
    let inputs = [("stress".to_owned(), 2), ("weather_now".to_owned(), 2)];
    assert_eq!(world.inputs("above", 3).await, inputs);
    // The declaration is what it was, so applying it again leaves all of this as it is.
    let building = world.apply(&format!("{PROJECT}{above}"), "a").await;
    assert_eq!(building.len(), 3);
    assert_eq!(world.versions("above").await, [(3, Building), (2, Retired), (1, Current)]);
}

#[tokio::test]
async fn the_times_of_a_source_are_part_of_the_views_that_read_it() {
    let world = World::new().await;
    world.apply(PROJECT, "a").await;
    let leaking =
        PROJECT.replace("event_time: observed_at", "event_time: observed_at\navailable_time: observed_at");
    assert!(
        world.apply(&leaking, "a").await.iter().all(|change| change.building.is_none()),
        "in other words"
    );
    let mended = PROJECT
        .replace("observed_at: timestamp,", "observed_at: timestamp, received_at: timestamp,")
        .replace("event_time: observed_at", "event_time: observed_at\navailable_time: received_at");
    let building = world.apply(&mended, "a").await.into_iter().filter(|change| change.building.is_some());
    assert_eq!(building.count(), 2);
    let then = world.catalog.view_version("weather_now", 1).await.unwrap().unwrap();
    assert_eq!(then.plan.source.unwrap().available_time, "observed_at");
}

#[tokio::test]
async fn an_apply_waits_for_whoever_holds_what_is_declared() {
    let world = Arc::new(World::new().await);
    world.apply(PROJECT, "a").await;
    let mut holding = world.engine.store.begin().await.unwrap();
    world.catalog.hold_objects(&mut holding).await.unwrap();
    let before = world.catalog.objects_in(&mut holding).await.unwrap();
    let applying = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.apply(&PROJECT.replace("temp: float }", "temp: float, gust: float }"), "a").await }
    });
    world.engine.database.until_blocked(1).await;
    let held = world.catalog.objects_in(&mut holding).await.unwrap();
    assert_eq!(held.views["weather_now"], before.views["weather_now"]);
    holding.commit().await.unwrap();
    assert!(!applying.await.unwrap().is_empty());
}

#[tokio::test]
async fn a_changed_python_file_makes_a_new_version_of_the_views_that_name_it() {
    let world = World::new().await;
    world.apply(PROJECT, "a").await;
    let before = world.catalog.code_hash().await.unwrap();
    let changes = world.apply(PROJECT, "b").await;
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].object.to_string().as_str(), changes[0].building), ("view/stress", Some(2)));
    assert_ne!(world.catalog.code_hash().await.unwrap(), before);
}

#[tokio::test]
async fn a_changed_helper_of_a_python_file_makes_a_new_version_too() {
    let world = World::new().await;
    let project = |helper: &str| {
        let files = [
            ("transforms/airport.py", "from .scale import factor\n\ndef stress(row): ..."),
            ("transforms/scale.py", "from units import knots as factor"),
            ("units.py", helper),
            ("models/late.py", helper),
        ];
        CodeArchive { files: files.map(|(path, text)| (path.to_owned(), text.to_owned())).into() }
    };
    world.apply_code(PROJECT, &project("knots = 1")).await;
    assert_eq!(world.apply_code(PROJECT, &project("knots = 1")).await, []);
    let changes = world.apply_code(PROJECT, &project("knots = 60")).await;
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].object.to_string().as_str(), changes[0].building), ("view/stress", Some(2)));
}

#[tokio::test]
async fn what_is_kept_online_and_the_types_that_are_read_make_a_new_version() {
    let world = World::new().await;
    world.apply(PROJECT, "a").await;
    let building = |changes: Vec<Change>| {
        let building = changes.into_iter().filter(|change| change.building.is_some());
        building.map(|change| change.object.to_string()).collect::<Vec<_>>()
    };
    let online = |list: &str| PROJECT.replace("ttl: 3h", &format!("ttl: 3h\nonline: {list}"));
    // What is computed from it follows, so that the older rows are needed no more.
    let both = ["view/weather_now", "view/stress"];
    assert_eq!(building(world.apply(&online("true"), "a").await), both);
    // The same features in other words are the same bytes.
    let same = world.apply(&online("[temp]"), "a").await;
    assert_eq!(building(same), both);
    assert_eq!(world.versions("weather_now").await.len(), 2);

    assert_eq!(building(world.apply(PROJECT, "a").await), Vec::<String>::new());
    let unread = PROJECT.replace("gust: { type: float", "gust: { type: int");
    assert_eq!(building(world.apply(&unread, "a").await), Vec::<String>::new());
    let scaled = PROJECT.replace("temp: float }", "temp: { type: float, sql: temp * 2 } }");
    world.apply(&scaled, "a").await;
    let read = scaled.replace("temp: { type: float, nullable", "temp: { type: int, nullable");
    world.switch("weather_now", 3).await;
    world.switch("stress", 3).await;
    assert_eq!(building(world.apply(&read, "a").await), both);
}

#[tokio::test]
async fn what_is_no_longer_declared_is_retired_and_may_come_back() {
    let world = World::new().await;
    world.apply(PROJECT, "a").await;
    let fewer = PROJECT
        .split("---")
        .filter(|part| !part.contains("stress") && !part.contains("tidy"))
        .collect::<Vec<_>>();
    let changes = world.apply(&fewer.join("---"), "a").await;
    assert!(changes.iter().all(|change| change.change == ChangeKind::Removed) && changes.len() == 2);
    assert_eq!(world.versions("stress").await, [(1, ViewState::Retired)]);
    assert!(world.engine.store.schedules().await.unwrap().is_empty());
    let back = world.apply(PROJECT, "a").await;
    assert!(back.iter().all(|change| change.change == ChangeKind::Added && change.version == 1));
    assert_eq!(world.versions("stress").await, [(1, ViewState::Current)]);
}

#[tokio::test]
async fn lineage_is_read_both_ways_and_drawn_once() {
    const FEELS: &str = "---
apiVersion: tidemill/v1
kind: FeatureView
name: feels
entity: airport
inputs: [weather_now]
features: { cold: { type: bool, sql: temp < 40 } }
";
    let world = World::new().await;
    world.apply(&format!("{PROJECT}{FEELS}"), "a").await;
    let edge = Edge::new(Node::View("weather_now".into(), 1), Node::Model("late".into(), 1));
    for lake_version in [None, Some(7)] {
        let mut tx = world.engine.store.begin().await.unwrap();
        let edge = Edge { lake_version, ..edge.clone() };
        world.catalog.lineage(&mut tx, &[edge.clone(), edge]).await.unwrap();
        tx.commit().await.unwrap();
    }
    let up = world.catalog.lineage_up("model/late").await.unwrap();
    assert_eq!((up[0].from.as_str(), up[0].lake_version), ("view/weather_now@1", Some(7)));
    assert_eq!(up[1].from, "source/weather");
    let down = world.catalog.lineage_down("column/weather.temp").await.unwrap();
    let to: Vec<_> = down.iter().map(|edge| edge.to.as_str()).collect();
    assert_eq!(to, ["feature/weather_now.temp@1", "feature/feels.cold@1"], "through SQL, too");
    assert!(world.catalog.lineage_objects().await.unwrap().contains(&"view/weather_now".to_owned()));
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let world = World::new().await;
    let mut connection = world.catalog.pool().acquire().await.unwrap();
    for noun in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("queries")).unwrap() {
        for file in fs::read_dir(noun.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let sql = fs::read_to_string(&path).unwrap();
            assert!(sql.starts_with("-- "), "{} begins with what it does", path.display());
            let prepared = (&mut *connection).prepare(sqlx::AssertSqlSafe(sql).into_sql_str()).await;
            prepared.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
