//! Model pools against real models in real processes.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use arrow::{array::AsArray as _, array::RecordBatch, datatypes::Float64Type};
use futures::future::join_all;
use indexmap::IndexMap;
use tempfile::TempDir;
use tidemill_inference::{Error, ModelOptions, ModelPool, Signature};
use tidemill_pyrun::{PyError, PyOptions};
use tidemill_spec::Value;

const SOON: Duration = Duration::from_secs(30);

fn python() -> PyOptions {
    let venv = || std::env::home_dir().unwrap().join(".cache/tidemill/venv/bin/python");
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workers/python/src");
    PyOptions {
        python: std::env::var_os("TIDEMILL_PYTHON").map_or_else(venv, PathBuf::from),
        package: Some(package.canonicalize().unwrap()),
        ..PyOptions::default()
    }
}

fn model(kind: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/make_model.py");
    let options = python();
    let status = Command::new(options.python)
        .env("PYTHONPATH", options.package.unwrap())
        .args([script.as_os_str(), folder.path().as_os_str(), kind.as_ref()])
        .status()
        .unwrap();
    assert!(status.success());
    folder
}

async fn load(folder: &TempDir) -> ModelPool {
    ModelPool::load(ModelOptions::new(folder.path().to_owned(), python())).await.unwrap()
}

fn distance(signature: &Signature, distance: f64) -> RecordBatch {
    let row = [
        ("carrier", Value::String("UA".into())),
        ("hour", Value::Int(9)),
        ("distance", Value::Float(distance)),
    ];
    let row = row.map(|(name, value)| (name.to_owned(), value));
    signature.vectorise(&[IndexMap::from(row)]).unwrap()
}

fn probabilities(outputs: &RecordBatch) -> Vec<f64> {
    outputs.column_by_name("late_probability").unwrap().as_primitive::<Float64Type>().values().to_vec()
}

#[tokio::test]
async fn a_model_is_ready_when_its_golden_rows_predict_what_was_recorded() {
    let folder = model("lightgbm");
    let pool = load(&folder).await;
    let rows: Vec<_> = ["UA", "ZZ"]
        .map(|carrier| {
            IndexMap::from([
                ("carrier".to_owned(), Value::String(carrier.into())),
                ("hour".to_owned(), Value::Int(20)),
            ])
        })
        .into();
    let batch = pool.signature().vectorise(&rows).unwrap();
    let together = probabilities(&pool.predict(batch.clone(), SOON).await.unwrap());
    let alone = probabilities(&pool.predict(batch.slice(0, 1), SOON).await.unwrap());
    assert_eq!(together[0].to_bits(), alone[0].to_bits());
    assert!(together[0] > 0.5);
}

#[tokio::test]
async fn a_model_that_predicts_something_else_is_refused() {
    let (one, other) = (model("lightgbm"), model("fragile"));
    for file in ["model.pkl", "tidemill.json"] {
        std::fs::copy(other.path().join(file), one.path().join(file)).unwrap();
    }
    let error = ModelPool::load(ModelOptions::new(one.path().to_owned(), python())).await.unwrap_err();
    assert!(matches!(error, Error::Golden { row: 0, .. }), "{error}");
    assert_eq!(error.fault().code.unwrap().0, 821);
}

#[tokio::test]
async fn a_folder_that_is_no_model_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = ModelPool::load(ModelOptions::new(folder.path().to_owned(), python())).await.unwrap_err();
    assert!(error.to_string().contains("is not a model folder: tidemill.json"), "{error}");
}

#[tokio::test]
async fn one_request_that_raises_or_kills_hurts_no_other() {
    let folder = model("fragile");
    let pool = load(&folder).await;
    let asked = [100.0, 13.0, 200.0, 666.0, 300.0, 400.0];
    let answers = join_all(asked.map(|value| pool.predict(distance(pool.signature(), value), SOON))).await;
    for (asked, answer) in asked.iter().zip(answers) {
        match answer {
            Ok(outputs) => assert_eq!(probabilities(&outputs), [asked / 1000.0]),
            Err(Error::Python(PyError::Raised { message, .. })) => {
                assert_eq!((*asked, message.starts_with("ValueError: thirteen")), (13.0, true), "{message}");
            }
            Err(Error::Python(PyError::Died { status, .. })) => {
                assert_eq!((*asked, status.as_str()), (666.0, "exit code 3"));
            }
            Err(error) => panic!("{asked}: {error}"),
        }
    }
    // Both processes died of the poisonous request, one after the other; both come back.
    assert_eq!(probabilities(&pool.predict(distance(pool.signature(), 500.0), SOON).await.unwrap()), [0.5]);
}

#[tokio::test]
async fn what_is_too_much_is_refused_at_once_and_what_is_late_is_dropped() {
    let folder = model("fragile");
    let mut options = ModelOptions::new(folder.path().to_owned(), python());
    (options.queue, options.batch_rows, options.python.processes) = (2, 1, 1);
    let pool = ModelPool::load(options).await.unwrap();
    let ask = |value, within| pool.predict(distance(pool.signature(), value), within);
    let (slow, late, waiting, refused) = tokio::join!(
        ask(999.0, SOON),
        async {
            tokio::task::yield_now().await;
            ask(100.0, Duration::from_millis(200)).await
        },
        async {
            tokio::task::yield_now().await;
            ask(200.0, SOON).await
        },
        async {
            tokio::task::yield_now().await;
            ask(300.0, SOON).await
        },
    );
    assert_eq!(probabilities(&slow.unwrap()), [0.999]);
    assert!(matches!(late, Err(Error::Deadline)), "{late:?}");
    assert_eq!(probabilities(&waiting.unwrap()), [0.2]);
    assert!(matches!(refused, Err(Error::Overloaded { waiting: 2 })), "{refused:?}");
}
