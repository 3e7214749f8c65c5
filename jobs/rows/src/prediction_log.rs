//! The columns of a prediction log: what serving answered, a row for each entity of each request.
//!
//! First what is said of every prediction, under names that no column of a project can have, as these begin with a letter.
//! Then the row that the model saw, and more of it: keys, features and what the caller gave, by their own names. Then the
//! outputs as the flat columns of [`OutputType::columns`]; one that is called like a column of the row is
//! `output_NAME`. `valid_at` is what the data clock showed, `created_at` the real time of the reply.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use indexmap::IndexMap;
use tidemill_spec::{Element, Hydration, OutputType, Type};

use crate::{field, schema::system_fields};

/// The prediction's id; of a request that failed as a whole no caller has it.
pub const ID: &str = "_id";
/// The request's id, as logs and failures name it.
pub const REQUEST: &str = "_request";
/// The model's version; null where none could take the request.
pub const VERSION: &str = "_version";
/// How the version was asked for: an alias, or its number.
pub const ASKED_AS: &str = "_asked_as";
/// JSON: each view that was read, `{view, version, status, valid_at}`.
pub const VIEWS: &str = "_views";
/// Columns of the vector that no value was found for.
pub const DEFAULTED: &str = "_defaulted";
/// Columns that are null here because they are masked.
pub const MASKED: &str = "_masked";
/// The code of the error; null where there is an answer.
pub const CODE: &str = "_code";
/// From request to reply, in microseconds, real time.
pub const LATENCY_US: &str = "_latency_us";

/// Where serving puts segments that wait to be taken into the lake, in a folder for each model.
pub const SEGMENTS: &str = "prediction-log";
/// Where segments go whose rows can't be taken, in folders of the same names.
pub const REFUSED: &str = "prediction-log-refused";

/// The model whose segment is at a path below [`SEGMENTS`].
pub fn model_of(path: &str) -> Option<&str> {
    path.strip_prefix(SEGMENTS)?.split('/').nth(1)
}

/// Before an output that is called like a column of the row.
const OUTPUT: &str = "output_";

/// The columns that every row has, in order, without those of every lake table.
pub const OF_EVERY_ROW: [(&str, Type); 9] = [
    (ID, Type::String),
    (REQUEST, Type::String),
    (VERSION, Type::Int),
    (ASKED_AS, Type::String),
    (VIEWS, Type::String),
    (DEFAULTED, Type::List { of: Element::String, length: None }),
    (MASKED, Type::List { of: Element::String, length: None }),
    (CODE, Type::String),
    (LATENCY_US, Type::Int),
];

/// What a version's rows have beside [`OF_EVERY_ROW`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// Keys, features and what the caller gave.
    pub row: IndexMap<String, Type>,
    /// The flat outputs: what each is called, by its own name.
    pub outputs: IndexMap<String, (String, Type)>,
}

impl Columns {
    /// Of a version of a model.
    pub fn of_version(
        keys: &IndexMap<String, Type>,
        hydration: &Hydration,
        request: &IndexMap<String, Type>,
        outputs: &IndexMap<String, OutputType>,
    ) -> Self {
        let mut row = keys.clone();
        for (name, ty) in hydration.columns.iter().chain(request) {
            row.entry(name.clone()).or_insert(*ty);
        }
        for (name, feature) in hydration.on_demand.iter().flat_map(|of| &of.features) {
            row.entry(name.clone()).or_insert(feature.ty);
        }
        Self::new(row, outputs)
    }

    /// Of a version that has these rows and outputs. A version of before may call a column as every table has one: the
    /// log leaves it out.
    pub fn new(mut row: IndexMap<String, Type>, outputs: &IndexMap<String, OutputType>) -> Self {
        let free = |name: &String| system_fields().iter().all(|field| field.name() != name);
        row.retain(|name, _| free(name));
        let flat = outputs.iter().flat_map(|(name, ty)| ty.columns(name)).filter(|(name, _)| free(name));
        let called = |(name, ty): (String, Type)| {
            let taken = row.contains_key(&name);
            let column = if taken { format!("{OUTPUT}{name}") } else { name.clone() };
            (name, (column, ty))
        };
        let outputs = flat.map(called).collect();
        Self { row, outputs }
    }

    /// All columns in their order.
    pub fn schema(&self) -> SchemaRef {
        let own = OF_EVERY_ROW.iter().map(|(name, ty)| field(name, *ty));
        let row = self.row.iter().map(|(name, ty)| field(name, *ty));
        let outputs = self.outputs.values().map(|(name, ty)| field(name, *ty));
        let fields: Vec<Field> = own.chain(row).chain(outputs).chain(system_fields()).collect();
        Arc::new(Schema::new(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_table_has_is_no_column_of_a_version() {
        let row = [("seq", Type::Int), ("late", Type::Float)].map(|(name, ty)| (name.to_owned(), ty));
        let columns = Columns::new(row.into(), &[("created_at".to_owned(), Type::Float.into())].into());
        assert_eq!(columns.row.keys().collect::<Vec<_>>(), ["late"]);
        assert!(columns.outputs.is_empty());
        let schema = columns.schema();
        let names: std::collections::BTreeSet<_> = schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names.len(), schema.fields().len());
    }

    #[test]
    fn an_output_gives_way_to_a_column_of_the_row() {
        let row = [("carrier", Type::String), ("late", Type::Float)].map(|(name, ty)| (name.to_owned(), ty));
        let outputs = [("late".to_owned(), Type::Float.into()), ("place".to_owned(), OutputType::Vector(1))];
        let columns = Columns::new(row.into(), &outputs.into());
        let schema = columns.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(
            names[OF_EVERY_ROW.len()..OF_EVERY_ROW.len() + 4],
            ["carrier", "late", "output_late", "place_0"]
        );
        assert_eq!(columns.outputs["late"], ("output_late".to_owned(), Type::Float));
    }
}
