//! What a model takes and gives, and rows made to fit it.

use std::path::Path;

use arrow::array::RecordBatch;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_spec::{Type, Value};

use crate::Error;

/// What a model takes and gives: `tidemill.json` of its folder, and its entry in the live set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// lightgbm, xgboost, sklearn, onnx, torch, transformers or python.
    pub flavor: String,
    /// Columns in the vector's order.
    pub columns: Vec<InputColumn>,
    /// Named, typed outputs in order.
    pub outputs: IndexMap<String, Type>,
}

/// One column of the vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// For strings: what was seen in training, in code order. Anything else is null to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
}

impl Signature {
    /// Reads `tidemill.json` of a model folder.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let _ = folder;
        todo!()
    }

    /// Rows by column name as the batch that the model takes; a column that a row lacks is null.
    pub fn vectorise(&self, rows: &[IndexMap<String, Value>]) -> Result<RecordBatch, Error> {
        let _ = rows;
        todo!()
    }

    /// A table's columns picked by name and cast to the batch that the model takes; others are left out.
    pub fn select(&self, table: &RecordBatch) -> Result<RecordBatch, Error> {
        let _ = table;
        todo!()
    }
}
