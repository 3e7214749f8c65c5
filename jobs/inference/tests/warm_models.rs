//! Model pools against real models in real processes.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use arrow::{array::AsArray as _, array::RecordBatch, datatypes::Float64Type};
use futures::future::join_all;
use indexmap::IndexMap;
use tempfile::TempDir;
use tidemill_inference::{Error, ModelOptions, ModelPool, Output, Processes, Scale, Signature, outputs_of};
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

fn options(folder: &TempDir) -> ModelOptions {
    ModelOptions::new("late v1", folder.path().to_owned(), python())
}

async fn load(folder: &TempDir) -> ModelPool {
    ModelPool::load(options(folder)).await.unwrap()
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

/// Rows of all sorts: seen and unseen carriers, what is missing, hours out of range.
fn many(signature: &Signature, count: i64) -> RecordBatch {
    let row = |place: i64| {
        let carrier = ["UA", "AA", "WN", "ZZ"][usize::try_from(place % 4).unwrap()];
        let values = [
            ("carrier", if place % 7 == 0 { Value::Null } else { Value::String(carrier.into()) }),
            ("hour", if place % 11 == 0 { Value::Null } else { Value::Int(place % 40 - 10) }),
            ("distance", if place % 5 == 0 { Value::Null } else { Value::Float(place as f64 * 1.7) }),
        ];
        values.map(|(name, value)| (name.to_owned(), value)).into()
    };
    signature.vectorise(&(0..count).map(row).collect::<Vec<_>>()).unwrap()
}

#[tokio::test]
async fn a_tree_model_is_computed_in_process_with_its_librarys_own_bits() {
    for kind in ["lightgbm", "xgboost"] {
        let folder = model(kind);
        let own = load(&folder).await;
        let python = ModelPool::load(ModelOptions { in_process: false, ..options(&folder) }).await.unwrap();
        assert_eq!((own.not_in_process(), own.processes()), (None, Processes::default()));
        assert!(python.not_in_process().is_some() && python.processes().answering > 0);
        let rows = many(own.signature(), 500);
        let bits = |outputs: &RecordBatch| -> Vec<u64> {
            probabilities(outputs).iter().map(|probability| probability.to_bits()).collect()
        };
        let said = own.predict(rows.clone(), SOON).await.unwrap();
        assert_eq!(bits(&said), bits(&python.predict(rows.clone(), SOON).await.unwrap()), "{kind}");
        let named = tidemill_rows::rows_of(&rows).unwrap();
        let named: Vec<_> = named.iter().collect();
        let outputs = own.predict_rows(&named, SOON).await.unwrap();
        assert_eq!(outputs, outputs_of(&said, &own.signature().outputs).unwrap());
        assert_eq!(outputs, python.predict_rows(&named, SOON).await.unwrap());
    }
}

#[tokio::test]
async fn a_model_that_is_not_computed_here_runs_in_python_and_says_why() {
    let folder = model("linear");
    let pool = load(&folder).await;
    let reason = pool.not_in_process().unwrap();
    assert_eq!(reason, "a tree with linear leaves is not computed in process");
    assert_eq!(probabilities(&pool.predict(many(pool.signature(), 3), SOON).await.unwrap()).len(), 3);
}

#[tokio::test]
async fn a_tree_model_whose_file_was_changed_is_refused_by_both() {
    let folder = model("lightgbm");
    let file = folder.path().join("model.txt");
    let text = std::fs::read_to_string(&file).unwrap();
    // As long as before: LightGBM goes by the sizes that the file states.
    let (before, leaves) = text.split_once("leaf_value=").unwrap();
    std::fs::write(&file, format!("{before}leaf_value={}", leaves.replacen("0.", "9.", 1))).unwrap();
    let error = ModelPool::load(options(&folder)).await.unwrap_err();
    assert!(matches!(error, Error::Golden { .. }), "{error}");
}

#[tokio::test]
async fn a_large_request_ends_with_its_deadline_and_holds_up_no_other() {
    let folder = model("lightgbm");
    let pool = load(&folder).await;
    let rows = many(pool.signature(), 20_000);
    assert_eq!(pool.predict(rows.clone(), SOON).await.unwrap().num_rows(), 20_000);
    // The runtime has one thread: what blocks it would block the small request too.
    let (late, small) = tokio::join!(
        pool.predict(rows, Duration::ZERO),
        pool.predict(distance(pool.signature(), 100.0), SOON)
    );
    assert!(matches!(late, Err(Error::Deadline)), "{late:?}");
    assert!(small.is_ok());
}

#[tokio::test]
async fn a_model_that_predicts_something_else_is_refused() {
    let (one, other) = (model("lightgbm"), model("fragile"));
    for file in ["model.pkl", "tidemill.json"] {
        std::fs::copy(other.path().join(file), one.path().join(file)).unwrap();
    }
    let error = ModelPool::load(options(&one)).await.unwrap_err();
    assert!(matches!(error, Error::Golden { row: 0, .. }), "{error}");
    assert_eq!(error.fault().code.unwrap().0, 821);
}

fn iris(pool: &ModelPool, measures: [f64; 4]) -> RecordBatch {
    let names = ["sepal_length", "sepal_width", "petal_length", "petal_width"].map(str::to_owned);
    let row = names.into_iter().zip(measures.map(Value::Float)).collect();
    pool.signature().vectorise(&[row]).unwrap()
}

/// The first iris of the data set, a setosa; and the last, a virginica.
const SETOSA: [f64; 4] = [5.1, 3.5, 1.4, 0.2];
const VIRGINICA: [f64; 4] = [5.9, 3.0, 5.1, 1.8];

#[tokio::test]
async fn a_class_comes_with_its_probabilities_and_a_vector_with_its_floats() {
    let (iris_folder, flower_folder) = (model("iris"), model("flower"));
    let (plain, flower) = tokio::join!(load(&iris_folder), load(&flower_folder));
    for (measures, species, size) in [(SETOSA, "setosa", "small"), (VIRGINICA, "virginica", "big")] {
        let ask = async |pool: &ModelPool| {
            let outputs = pool.predict(iris(pool, measures), SOON).await.unwrap();
            outputs_of(&outputs, &pool.signature().outputs).unwrap().remove(0)
        };
        let (alone, whole) = (ask(&plain).await, ask(&flower).await);
        assert_eq!(alone["species"], whole["species"]);
        let Output::Class { label, probabilities } = &whole["species"] else { panic!("{whole:?}") };
        assert_eq!(label, species);
        assert_eq!(probabilities.keys().collect::<Vec<_>>(), ["setosa", "versicolor", "virginica"]);
        assert!(probabilities[label] > 0.5 && (probabilities.values().sum::<f64>() - 1.0).abs() < 1e-12);
        let Output::Vector(place) = &whole["place"] else { panic!("{whole:?}") };
        // Setosas lie left of the mean, virginicas right of it.
        assert_eq!((place.len(), place[0] > 0.0), (2, species == "virginica"));
        assert_eq!(whole["size"], Output::Scalar(Value::String(size.into())));
        assert_eq!(whole.keys().collect::<Vec<_>>(), ["species", "place", "size"]);
    }
}

#[tokio::test]
async fn a_row_whose_probabilities_are_none_is_told_and_hurts_no_other() {
    let folder = model("flower");
    let pool = load(&folder).await;
    let wrong = [5.1, 3.5, -1.4, 0.2];
    let ask = |measures| pool.predict(iris(&pool, measures), SOON);
    let (good, bad, also_good) = tokio::join!(ask(SETOSA), ask(wrong), ask(VIRGINICA));
    let error = bad.unwrap_err();
    assert_eq!(error.to_string(), "output `species`, row 0: its probabilities add up to 0.5, not to 1");
    assert_eq!(error.fault().code.unwrap().0, 708);
    assert!(good.is_ok() && also_good.is_ok());
}

#[tokio::test]
async fn golden_rows_of_a_class_are_compared_by_its_probabilities() {
    let (one, other) = (model("iris"), model("flower"));
    let told = std::fs::read_to_string(one.path().join("tidemill.json")).unwrap();
    std::fs::copy(other.path().join("model.pkl"), one.path().join("model.pkl")).unwrap();
    // The same model in another wrapping still fits.
    std::fs::write(one.path().join("tidemill.json"), told.replace("\"sklearn\"", "\"python\"")).unwrap();
    load(&one).await;
    // Another order of the classes doesn't.
    let swapped = told.replace("\"setosa\"", "\"?\"").replace("\"virginica\"", "\"setosa\"");
    std::fs::write(one.path().join("tidemill.json"), swapped.replace("\"?\"", "\"virginica\"")).unwrap();
    let sklearn = model("iris");
    std::fs::copy(sklearn.path().join("model.pkl"), one.path().join("model.pkl")).unwrap();
    let error = ModelPool::load(options(&one)).await.unwrap_err();
    assert!(matches!(&error, Error::Golden { row: 0, output, .. } if output == "species"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_no_model_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = ModelPool::load(options(&folder)).await.unwrap_err();
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
                assert!(message.len() < 5_000, "{} characters", message.len());
            }
            Err(Error::Python(PyError::Died { status, .. })) => {
                assert_eq!((*asked, status.as_str()), (666.0, "exit code 3"));
            }
            Err(error) => panic!("{asked}: {error}"),
        }
    }
    // Two processes died of the poisonous request, one after the other; both come back.
    assert_eq!(probabilities(&pool.predict(distance(pool.signature(), 500.0), SOON).await.unwrap()), [0.5]);
}

#[tokio::test]
async fn what_is_too_much_is_refused_at_once_and_what_is_late_is_dropped() {
    let folder = model("fragile");
    let mut options = options(&folder);
    (options.queue, options.batch_rows, options.scale) = (2, 1, Scale::always(1));
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

/// Processes that answer, and how many have ended.
fn counts(pool: &ModelPool) -> (usize, u64) {
    let now = pool.processes();
    (now.answering, now.ended)
}

/// Process ids that answer; asks until it has seen two.
async fn both(pool: &ModelPool) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let asked = (0..8).map(|_| pool.predict(distance(pool.signature(), 1555.0), SOON));
        for answer in join_all(asked).await {
            seen.insert(probabilities(&answer.unwrap())[0].to_string());
        }
    }
    seen
}

#[tokio::test]
async fn a_request_that_kills_its_process_never_reaches_another_one() {
    let folder = model("fragile");
    let mut options = options(&folder);
    options.batch_rows = 1;
    let pool = ModelPool::load(options).await.unwrap();
    let before = both(&pool).await;
    let error = pool.predict(distance(pool.signature(), 666.0), SOON).await.unwrap_err();
    assert!(matches!(error, Error::Python(PyError::Died { .. })), "{error}");
    let after = both(&pool).await;
    assert_eq!(before.intersection(&after).count(), 1, "{before:?} {after:?}");
    assert_eq!(counts(&pool), (2, 2));
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_caller_s_deadline_and_others_are_answered() {
    let folder = model("fragile");
    let mut options = options(&folder);
    options.scale = Scale::always(1);
    let pool = ModelPool::load(options).await.unwrap();
    let ask = |value, within| pool.predict(distance(pool.signature(), value), within);
    let (hung, other) = tokio::join!(ask(888.0, Duration::from_secs(2)), async {
        tokio::task::yield_now().await;
        ask(100.0, SOON).await
    });
    assert!(matches!(hung, Err(Error::Deadline)), "{hung:?}");
    assert_eq!(probabilities(&other.unwrap()), [0.1]);
    assert_eq!(counts(&pool), (1, 1));
}

#[tokio::test]
async fn requests_that_share_a_call_with_one_that_hangs_are_answered_in_their_time() {
    let folder = model("fragile");
    let mut options = options(&folder);
    options.scale = Scale::always(1);
    let pool = ModelPool::load(options).await.unwrap();
    let ask = |value| pool.predict(distance(pool.signature(), value), Duration::from_secs(40));
    // The first one occupies the process, so that the others wait and are taken together.
    let (slow, hung, other) = tokio::join!(ask(999.0), ask(888.0), ask(100.0));
    assert_eq!(probabilities(&slow.unwrap()), [0.999]);
    assert!(matches!(hung, Err(Error::Deadline)), "{hung:?}");
    assert_eq!(probabilities(&other.unwrap()), [0.1]);
}

#[tokio::test]
async fn a_model_answers_with_one_process_while_another_one_hangs_in_its_load() {
    let folder = model("reluctant");
    let mut options = options(&folder);
    let only = folder.path().join("only").display().to_string();
    options.python.env.insert("ONLY_ONE".to_owned(), only);
    let pool = ModelPool::load(options).await.unwrap();
    assert_eq!(counts(&pool), (1, 0));
    assert_eq!(probabilities(&pool.predict(distance(pool.signature(), 1.0), SOON).await.unwrap()), [0.5]);
}

#[tokio::test]
async fn a_model_whose_processes_can_t_be_replaced_says_so_at_once() {
    let folder = model("fragile");
    let mut options = options(&folder);
    options.scale = Scale::always(1);
    let pool = ModelPool::load(options).await.unwrap();
    assert_eq!(pool.down(), None);
    std::fs::rename(folder.path().join("model.pkl"), folder.path().join("gone")).unwrap();
    let ask = |value| pool.predict(distance(pool.signature(), value), Duration::from_secs(2));
    while pool.down().is_none_or(|reason| !reason.contains("model.pkl")) {
        // Ends the process: nothing replaces it.
        drop(ask(666.0).await);
    }
    let error = ask(100.0).await.unwrap_err();
    assert_eq!(error.fault().code.unwrap().0, 836, "{error}");
    std::fs::rename(folder.path().join("gone"), folder.path().join("model.pkl")).unwrap();
    while pool.down().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(probabilities(&ask(100.0).await.unwrap()), [0.1]);
}

#[tokio::test]
async fn there_are_as_many_processes_as_load_needs() {
    let folder = model("fragile");
    let mut options = options(&folder);
    options.scale = Scale { min: 1, max: 3 };
    (options.batch_rows, options.calm) = (1, Duration::from_secs(1));
    let pool = ModelPool::load(options).await.unwrap();
    assert_eq!(pool.processes().wanted, 1);
    let ask = |value| pool.predict(distance(pool.signature(), value), SOON);
    while pool.processes().answering < 3 {
        // Each takes two seconds of a process.
        for answer in join_all((0..4).map(|_| ask(999.0))).await {
            assert_eq!(probabilities(&answer.unwrap()), [0.999]);
        }
    }
    while pool.processes().answering > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!((counts(&pool), pool.processes().wanted), ((1, 0), 1));
    assert_eq!(probabilities(&ask(100.0).await.unwrap()), [0.1]);
}

#[tokio::test]
async fn a_model_that_nobody_asks_has_no_process_and_wakes_when_it_is_asked() {
    let folder = model("fragile");
    let mut options = options(&folder);
    (options.scale, options.calm) = (Scale { min: 0, max: 2 }, Duration::from_secs(1));
    let pool = ModelPool::load(options).await.unwrap();
    while pool.processes().answering > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((pool.down(), counts(&pool)), (None, (0, 0)));
    let answer = pool.predict(distance(pool.signature(), 100.0), SOON).await.unwrap();
    assert_eq!((probabilities(&answer), pool.processes().answering), (vec![0.1], 1));
}
