//! Which columns some expressions read, and which features they give.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{Schema, SchemaRef},
};
use indexmap::IndexMap;
use tidemill_rows::{Row, array, field};
use tidemill_spec::{
    Feature, Rule, Type, Value,
    expr::sql::{columns, compiled, quote},
};

use crate::sound;

/// The columns that some expressions read, of rows by name; a column that a row lacks is null.
///
/// # Errors
/// A value of another type.
pub fn batch<'r>(
    expressions: &Expressions,
    rows: impl Iterator<Item = &'r Row> + Clone,
) -> Result<RecordBatch, tidemill_rows::Error> {
    let columns = expressions
        .columns
        .iter()
        .map(|(name, ty)| array(name, *ty, rows.clone().map(|row| row.get(name).unwrap_or(&Value::Null))));
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let fields = expressions.columns.iter().map(|(name, ty)| field(name, *ty)).collect::<Vec<_>>();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.count()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// Some features by SQL over one row, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Expressions {
    pub(crate) columns: Vec<(String, Type)>,
    features: Vec<(String, Type)>,
    /// What is selected of rows that have the columns.
    pub(crate) selected: String,
    /// From what is selected.
    pub(crate) sound: String,
}

impl Expressions {
    /// Features by their SQL over rows with these columns. Features of another rule are left out.
    pub fn new<'f>(
        row: &IndexMap<String, Type>,
        features: impl IntoIterator<Item = (&'f String, &'f Feature)>,
    ) -> Self {
        let (mut read, mut given, mut selected): (Vec<String>, Vec<(String, Type)>, Vec<String>) =
            Default::default();
        for (name, feature) in features {
            let Rule::Sql(sql) = &feature.rule else { continue };
            read.extend(columns(sql).unwrap_or_default());
            // A value that can't be computed is missing, as one is that was never there.
            let value = format!("TRY(CAST({} AS {}))", compiled(sql), feature.ty.duckdb());
            selected.push(format!("{value} AS {}", quote(name)));
            given.push((name.clone(), feature.ty));
        }
        let columns = row.iter().filter(|(name, _)| read.iter().any(|read| read.eq_ignore_ascii_case(name)));
        Self {
            columns: columns.map(|(name, ty)| (name.clone(), *ty)).collect(),
            sound: sound(given.iter().map(|(name, ty)| (name.as_str(), *ty))),
            selected: selected.join(", "),
            features: given,
        }
    }

    /// The columns that they read.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Type)> {
        self.columns.iter().map(|(name, ty)| (name.as_str(), *ty))
    }

    /// Columns of what they give.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.features.iter().map(|(name, ty)| field(name, *ty));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Columns of what they read; one at least, for rows have to be counted.
    pub(crate) fn row(&self) -> SchemaRef {
        let columns = self.columns.iter().map(|(name, ty)| field(name, *ty));
        let nothing = self.columns.is_empty().then(|| field("_nothing", Type::Bool));
        Arc::new(Schema::new(columns.chain(nothing).collect::<Vec<_>>()))
    }
}
