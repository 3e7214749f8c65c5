//! Label rows: what happened, and the moment at which it was asked.
//!
//! Either each row of a source is an answer, or the answer is computed from the windows that begin when it is asked
//! (`ahead`), of a population (`population`). Both have the same columns, and hold only what has matured.

mod ahead;
mod file;
mod population;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Field, Schema, SchemaRef},
};
use tidemill_core::{Fault, Schedule, Time};
use tidemill_rows::{field, source_schema};
use tidemill_spec::{Asked, Entity, Label, Source, Type, expr::sql::compiled};

use crate::{
    CommitRange, Error, Lake, Version, View,
    sql::{self, fill, list, quoted},
};

pub use file::LabelFile;
pub(crate) use file::read;

/// Which label rows.
#[derive(Clone, Debug)]
pub struct LabelRequest {
    /// The label.
    pub label: Label,
    /// Its entity.
    pub entity: Entity,
    /// Its source.
    pub source: Source,
    /// Of whom it is asked; none where each row of the source is an answer.
    pub population: Option<Population>,
    /// First event time; of a label over windows, the first moment at which it is asked.
    pub from: Time,
    /// First event time after them.
    pub to: Time,
    /// The data clock: rows known later have not matured.
    pub clock: Time,
    /// The state of the lake that is read.
    pub version: Version,
}

/// Of whom a label over windows is asked: as it is declared, with what is read of it.
#[derive(Clone, Debug)]
pub enum Population {
    /// At each tick every entity that the view has a value for.
    Entities {
        /// The version that is read.
        view: Box<View>,
        /// Its ticks are the moments.
        schedule: Schedule,
    },
    /// The entity of each row.
    Rows {
        /// Whose rows.
        source: Box<Source>,
        /// The moment, as a DuckDB expression over a row.
        asked_at: String,
    },
}

/// Label rows, and what was left out.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The entity's keys, `label_ts` (the moment asked at), `event_time` (of a label over windows the same), `matured_at`,
    /// and the answer in a column of the label's name; sorted by (`label_ts`, keys).
    pub rows: RecordBatch,
    /// How many were asked by the clock, matured or not; none where each row of the source is an answer, and nothing says
    /// how many are still to come.
    pub asked: Option<i64>,
    /// Matured rows left out because the answer, the moment or a key is null.
    pub left_out: i64,
}

impl Labels {
    /// How many have matured, with an answer or without.
    pub fn matured(&self) -> i64 {
        i64::try_from(self.rows.num_rows()).unwrap_or(i64::MAX).saturating_add(self.left_out)
    }
}

/// The answers of a label for rows that someone asks, each in its place.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Null where a window has not passed, a key is null, or there is none.
    pub answer: ArrayRef,
    /// When each matures.
    pub matured_at: ArrayRef,
    /// How many have matured.
    pub matured: usize,
}

impl Lake {
    /// The answers of a label over windows for rows with the entity's keys and `label_ts`, whoever they are: neither the
    /// population of the request nor its range is looked at.
    ///
    /// # Errors
    /// The rows lack a column, or the label is not over windows.
    pub async fn answers(&self, request: &LabelRequest, rows: &RecordBatch) -> Result<Answers, Error> {
        match &request.label.asked {
            Asked::Ahead(ahead) => ahead::answers_of(self, request, ahead, rows).await,
            Asked::OfRows(_) => {
                let message =
                    format!("label `{}` is not over windows that begin when it is asked", request.label.name);
                Err(Error::invalid(602, message))
            }
        }
    }

    /// Rows with `from <= event time < to` that have matured. Where each row of the source is an answer: the newest of
    /// each unique key, unless deleted.
    ///
    /// # Errors
    /// A label over windows without a population, or one that is asked after its answer is known.
    pub async fn labels(&self, request: &LabelRequest) -> Result<Labels, Error> {
        match &request.label.asked {
            Asked::OfRows(asked_at) => self.labels_of_rows(request, asked_at).await,
            Asked::Ahead(ahead) => ahead::labels(self, request, ahead).await,
        }
    }

    async fn labels_of_rows(&self, request: &LabelRequest, asked_at: &str) -> Result<Labels, Error> {
        let LabelRequest { label, entity, source, .. } = request;
        let scan = self.scan_source(source, CommitRange::upto(request.version)).await?;
        let keys: Vec<String> = entity.keys.keys().cloned().collect();
        let statement = fill(
            include_str!("../queries/label/rows.sql"),
            &[
                ("rows", &scan.rows(&source_schema(source), "true")),
                ("clock", &sql::instant(request.clock)),
                ("newest", &sql::newest_of(source)),
                ("keys", &list(&keys)),
                ("event_time", &quoted(&source.event_time)),
                ("from", &sql::instant(request.from)),
                ("to", &sql::instant(request.to)),
                ("answer", &quoted(&label.name)),
                ("type", &label.ty.duckdb()),
                ("asked_at", &compiled(asked_at)),
                ("sql", &compiled(&label.sql)),
            ],
        );
        let complete = sql::present(keys.iter().chain([&"label_ts".to_owned(), &label.name]));
        let rows = format!("SELECT * FROM answer WHERE {complete} ORDER BY label_ts, {}, _seq", list(&keys));
        let left_out = format!("SELECT count(*) FROM answer WHERE NOT ({complete})");
        let schema = labels_schema(request);
        let sound = sql::sound([("label_ts", Type::Timestamp), (&label.name, label.ty)]);
        let name = label.name.clone();
        let (doing, limit) = (format!("reading label {}", label.name), self.duck.rows_limit());
        self.duck
            .run_declared(doing.clone(), move |session| {
                let table = format!("CREATE TEMP TABLE answer AS SELECT {sound} FROM ({statement})");
                session.in_time(&doing, limit, || session.execute(&table))?;
                let late = session.count("SELECT count(*) FROM answer WHERE label_ts > matured_at")?;
                if late > 0 {
                    return Err(asked_too_late(&name, late).into());
                }
                let (rows, left_out) = (session.query_as(&rows, &schema)?, session.count(&left_out)?);
                Ok(Labels { rows, asked: None, left_out })
            })
            .await
    }
}

/// Features as of a moment after the answer was known could hold the answer.
fn asked_too_late(label: &str, rows: i64) -> Error {
    let message = format!("{rows} rows of label `{label}` are asked for after their answer is known");
    let hint = "make `asked_at` a moment that is not after the source's `available_time`";
    Error::Invalid(Fault::coded(413, message).hint(hint))
}

fn labels_schema(request: &LabelRequest) -> SchemaRef {
    let mut fields: Vec<Field> = request.entity.keys.iter().map(|(name, ty)| field(name, *ty)).collect();
    fields.extend(["label_ts", "event_time", "matured_at"].map(|name| field(name, Type::Timestamp)));
    fields.push(field(&request.label.name, request.label.ty));
    Schema::new(fields).into()
}
