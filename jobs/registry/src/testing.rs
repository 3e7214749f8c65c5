//! Values that several tests need.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use tidemill_catalog::ModelVersion;
use tidemill_spec::{Hydration, Type};

/// A registered version of a model with one output.
pub(crate) fn version(model: &str, number: i32) -> ModelVersion {
    ModelVersion {
        model: model.to_owned(),
        version: number,
        artifact: format!("artifacts/{number}"),
        runtime: "lightgbm".to_owned(),
        keys: IndexMap::new(),
        hydration: Hydration { rounds: Vec::new(), columns: IndexMap::new() },
        request: IndexMap::new(),
        outputs: IndexMap::from([("probability".to_owned(), Type::Float.into())]),
        fail_on_missing: false,
        processes: 2,
        categories: IndexMap::new(),
        view_versions: BTreeMap::new(),
        leak_allowed: Vec::new(),
        dataset: None,
        params: serde_json::Map::new(),
        run: None,
        code_hash: None,
    }
}
