//! Against the libraries themselves: models of every kind, trained and asked by `parity.py`, over a million rows full of
//! thresholds and what lies next to them. Not a bit may differ.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use tidemill_trees::{Error, Trees};

#[derive(Deserialize)]
struct Told {
    name: String,
    library: String,
    file: String,
    refused: Option<String>,
}

fn python() -> PathBuf {
    let venv = || std::env::home_dir().unwrap().join(".cache/tidemill/venv/bin/python");
    std::env::var_os("TIDEMILL_PYTHON").map_or_else(venv, PathBuf::from)
}

fn read(told: &Told, folder: &Path) -> Result<Trees, Error> {
    let bytes = fs::read(folder.join(&told.file)).unwrap();
    match told.library.as_str() {
        "lightgbm" => Trees::lightgbm(std::str::from_utf8(&bytes).unwrap()),
        _ => Trees::xgboost(&bytes),
    }
}

fn floats(file: PathBuf) -> Vec<f64> {
    let bytes = fs::read(file).unwrap();
    bytes.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Rows that differ, and the first of them.
fn different(got: &[f64], expected: &[f64]) -> Option<(usize, usize, f64, f64)> {
    assert_eq!(got.len(), expected.len());
    let pairs = got.iter().zip(expected).enumerate();
    let wrong: Vec<_> = pairs.filter(|(_, (got, expected))| got.to_bits() != expected.to_bits()).collect();
    wrong.first().map(|(place, (got, expected))| (wrong.len(), *place, **got, **expected))
}

#[test]
fn predictions_are_the_library_s_own_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity.py");
    let status = Command::new(python()).arg(script).arg(folder.path()).status().unwrap();
    assert!(status.success());
    let models: Vec<Told> =
        serde_json::from_slice(&fs::read(folder.path().join("models.json")).unwrap()).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for told in &models {
        let trees = match (read(told, folder.path()), &told.refused) {
            (Ok(trees), None) => trees,
            (Err(Error::Unsupported { what }), Some(reason)) => {
                assert_eq!(what, *reason, "{}", told.name);
                continue;
            }
            (read, _) => {
                wrong.push(format!("{}: {:?}", told.name, read.map(|_| "read, but to be refused")));
                continue;
            }
        };
        let of = |what: &str| floats(folder.path().join(format!("{}.{what}", told.name)));
        let asked = of("rows");
        rows += asked.len() / trees.features();
        for (what, got) in [("margins", trees.margins(&asked)), ("said", trees.predict(&asked))] {
            if let Some((count, place, got, expected)) = different(&got.unwrap(), &of(what)) {
                wrong.push(format!(
                    "{}: {count} {what} differ, first {place}: {got:?}, expected {expected:?}",
                    told.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 1_000_000, "{rows} rows of {} models", models.len());
}
