//! Versions, aliases, figures and datasets against a real Postgres.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::collections::BTreeMap;

use indexmap::IndexMap;
use tidemill_catalog::{
    Catalog, Dataset, DatasetPart, DatasetPartRef, LabelCoverage, ModelMetric, ModelVersion,
};
use tidemill_core::DatasetId;
use tidemill_spec::{Hydration, Type};
use tidemill_testkit::{Engine, engine_with};

async fn catalog() -> (Engine, Catalog) {
    let engine = engine_with("catalog", async |store| Ok(Catalog::new(store.clone()).migrate().await?));
    let engine = engine.await.unwrap();
    let catalog = Catalog::new(engine.store.clone());
    (engine, catalog)
}

fn version(artifact: &str, dataset: Option<DatasetId>) -> ModelVersion {
    // Out of alphabetical order: the vector's order must survive.
    let columns = IndexMap::from([("hour".to_owned(), Type::Int), ("carrier".to_owned(), Type::String)]);
    ModelVersion {
        model: "late_flight".into(),
        version: 0,
        artifact: artifact.into(),
        runtime: "lightgbm".into(),
        keys: IndexMap::from([("carrier".to_owned(), Type::String)]),
        hydration: Hydration { columns, ..Hydration::default() },
        request: IndexMap::new(),
        nullable: Some(Vec::new()),
        outputs: IndexMap::from([("late_probability".to_owned(), Type::Float.into())]),
        fail_on_missing: false,
        processes: 2,
        processes_max: None,
        categories: IndexMap::new(),
        view_versions: BTreeMap::from([("route_week".to_owned(), 3)]),
        leak_allowed: vec![],
        dataset,
        params: serde_json::Map::new(),
        run: None,
        code_hash: None,
    }
}

async fn register(catalog: &Catalog, key: &str, artifact: &str) -> i32 {
    let mut tx = catalog.store().begin().await.unwrap();
    let number = catalog.insert_model_version(&mut tx, key, &version(artifact, None)).await.unwrap();
    tx.commit().await.unwrap();
    number
}

#[tokio::test]
async fn a_repeated_registration_finds_its_version() {
    let (_engine, catalog) = catalog().await;
    assert_eq!(register(&catalog, "run_1/register", "artifacts/a").await, 1);
    assert_eq!(register(&catalog, "run_2/register", "artifacts/b").await, 2);
    assert_eq!(register(&catalog, "run_1/register", "artifacts/other").await, 1);
    let kept = catalog.model_version("late_flight", 1).await.unwrap().unwrap();
    assert_eq!(kept, ModelVersion { version: 1, ..version("artifacts/a", None) });
    assert_eq!(kept.hydration.columns.keys().collect::<Vec<_>>(), ["hour", "carrier"]);
    let numbers: Vec<i32> =
        catalog.model_versions(None).await.unwrap().iter().map(|row| row.version.version).collect();
    assert_eq!(numbers, [2, 1]);
}

#[tokio::test]
async fn registrations_at_once_are_counted_one_by_one() {
    let (_engine, catalog) = catalog().await;
    let registrations = (0..8).map(|number| {
        let catalog = catalog.clone();
        tokio::spawn(async move { register(&catalog, &format!("run_{number}"), "artifacts/a").await })
    });
    let mut numbers = Vec::new();
    for registration in registrations.collect::<Vec<_>>() {
        numbers.push(registration.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_rollback_returns_to_the_version_before_once_and_every_move_is_kept() {
    let (_engine, catalog) = catalog().await;
    for key in ["run_1", "run_2"] {
        register(&catalog, key, "artifacts/a").await;
    }
    let promote = async |version| {
        let mut tx = catalog.store().begin().await.unwrap();
        catalog.promote_model(&mut tx, "late_flight", version, "champion").await.unwrap();
        tx.commit().await.unwrap();
        let alias = catalog.model_alias("late_flight", "champion").await.unwrap().unwrap();
        (alias.version, alias.previous)
    };
    assert_eq!(promote(1).await, (1, None));
    assert_eq!(promote(2).await, (2, Some(1)));
    assert_eq!(promote(2).await, (2, Some(1)));
    let rollback = async || {
        let mut tx = catalog.store().begin().await.unwrap();
        let version = catalog.rollback_model(&mut tx, "late_flight", "champion").await.unwrap();
        tx.commit().await.unwrap();
        version
    };
    assert_eq!(rollback().await, Some(1));
    assert_eq!(rollback().await, None);
    // What it was is known, repeats left out.
    let moves = catalog.alias_moves("late_flight", "champion").await.unwrap();
    assert_eq!(moves.iter().map(|moved| moved.version).collect::<Vec<_>>(), [Some(1), Some(2), Some(1)]);
    assert!(moves.is_sorted_by_key(|moved| moved.at));

    let mut tx = catalog.store().begin().await.unwrap();
    assert_eq!(catalog.remove_alias(&mut tx, "late_flight", "champion", false).await.unwrap(), Some(1));
    assert_eq!(catalog.remove_alias(&mut tx, "late_flight", "champion", false).await.unwrap(), None);
    tx.commit().await.unwrap();
    let moves = catalog.alias_moves("late_flight", "champion").await.unwrap();
    assert_eq!(moves.last().unwrap().version, None);
    assert_eq!(moves.len(), 4);
}

#[tokio::test]
async fn a_figure_measured_again_overwrites_the_first() {
    let (_engine, catalog) = catalog().await;
    register(&catalog, "run_1", "artifacts/a").await;
    for value in [0.5, 0.75] {
        let (model, subject, metric) = ("late_flight".into(), "dst_1.holdout".into(), "auc".into());
        let figure = ModelMetric { model, version: 1, subject, metric, value, rows: 9 };
        let mut tx = catalog.store().begin().await.unwrap();
        catalog.set_model_metric(&mut tx, &figure).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(catalog.model_metrics("late_flight").await.unwrap(), [figure]);
    }
}

#[tokio::test]
async fn a_repeated_build_finds_its_dataset() {
    let (_engine, catalog) = catalog().await;
    let time = "2013-06-01T04:00:00Z".parse().unwrap();
    let part = |path: &str| DatasetPart {
        path: path.into(),
        rows: 2,
        label_rate: Some(0.5),
        classes: [("false".to_owned(), 1), ("true".to_owned(), 1)].into(),
        sha256: "00".into(),
    };
    let dataset = |id| Dataset {
        id,
        label: "late".into(),
        model: Some("late_flight".into()),
        columns: IndexMap::from([("hour".to_owned(), Type::Int), ("carrier".to_owned(), Type::String)]),
        from: Some(time),
        to: Some(time),
        holdout_from: None,
        clock: time,
        lake_version: 7,
        view_versions: BTreeMap::from([("route_week".to_owned(), 1)]),
        leak_allowed: vec![],
        train: part("dataset/1/train.parquet"),
        holdout: None,
        coverage: Some(LabelCoverage {
            population: Some("view visit_pages@1".into()),
            asked: Some(9),
            matured: 5,
            left_out: 1,
            purged: 0,
        }),
        changed_under_known_at: Some(3),
        warnings: vec![],
        run: None,
        code_hash: None,
    };
    let (first, second) = (DatasetId::generate(), DatasetId::generate());
    for id in [first, second] {
        let mut tx = catalog.store().begin().await.unwrap();
        assert_eq!(catalog.insert_dataset(&mut tx, "run_1/data", &dataset(id)).await.unwrap(), first);
        tx.commit().await.unwrap();
    }
    let kept = catalog.dataset(first).await.unwrap().unwrap();
    assert_eq!(kept, dataset(first));
    assert_eq!(kept.columns.keys().collect::<Vec<_>>(), ["hour", "carrier"]);
    assert_eq!(catalog.datasets(10).await.unwrap().len(), 1);
    let (_, train) = catalog.dataset_part(DatasetPartRef { id: first, holdout: false }).await.unwrap();
    assert_eq!(train.path, "dataset/1/train.parquet");
    assert!(catalog.dataset_part(DatasetPartRef { id: first, holdout: true }).await.is_err());
}
