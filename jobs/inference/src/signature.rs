//! What a model takes and gives, and rows made to fit it.

use std::{path::Path, sync::Arc};

use arrow::{array::RecordBatch, compute::cast, datatypes::Schema};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_rows::{Row, arrow_type, batch_of, field};
use tidemill_spec::{OutputType, Type};

use crate::Error;

/// What a model takes and gives, as `tidemill.json` of its folder says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// lightgbm, xgboost, sklearn, onnx or python.
    pub flavor: String,
    /// Columns in the vector's order.
    pub columns: Vec<InputColumn>,
    /// Named, typed outputs in order.
    pub outputs: IndexMap<String, OutputType>,
    /// Columns in which a null makes the model fail, as it was found out where it was saved.
    #[serde(default)]
    pub no_nulls: Vec<String>,
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
    ///
    /// # Errors
    /// [`Error::Folder`] if there is none, or it can't be read.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let wrong = |message: String| Error::Folder { folder: folder.to_owned(), message };
        let text = std::fs::read(folder.join("tidemill.json"));
        let text = text.map_err(|error| wrong(format!("tidemill.json: {error}")))?;
        serde_json::from_slice(&text).map_err(|error| wrong(format!("tidemill.json: {error}")))
    }

    /// Rows by column name as the batch that the model takes; a column that a row lacks is null.
    ///
    /// # Errors
    /// [`Error::Rows`] for a value of another type.
    pub fn vectorise(&self, rows: &[Row]) -> Result<RecordBatch, Error> {
        batch_of(&Arc::new(self.schema()), rows).map_err(|error| Error::Rows { message: error.to_string() })
    }

    /// A table's columns picked by name and cast to the batch that the model takes; others are left out.
    ///
    /// # Errors
    /// [`Error::Rows`] if a column is missing or can't be cast.
    pub fn select(&self, table: &RecordBatch) -> Result<RecordBatch, Error> {
        let wrong = |message: String| Error::Rows { message };
        let column = |column: &InputColumn| {
            let values = table.column_by_name(&column.name);
            let values = values.ok_or_else(|| wrong(format!("column `{}` is missing", column.name)))?;
            cast(values, &arrow_type(column.ty))
                .map_err(|error| wrong(format!("column `{}`: {error}", column.name)))
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::new(self.schema()), columns).map_err(|error| wrong(error.to_string()))
    }

    fn schema(&self) -> Schema {
        Schema::new(self.columns.iter().map(|column| field(&column.name, column.ty)).collect::<Vec<_>>())
    }
}
