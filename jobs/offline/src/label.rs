//! Label rows: what happened, and the moment at which it was asked.

mod file;

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use tidemill_core::{Fault, Time};
use tidemill_rows::{field, source_schema};
use tidemill_spec::{Entity, Label, Source, Type, expr::sql::compiled};

use crate::{
    CommitRange, Error, Lake, Version,
    duck::Failure,
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
    /// First event time.
    pub from: Time,
    /// First event time after them.
    pub to: Time,
    /// The data clock: rows known later have not matured.
    pub clock: Time,
    /// The state of the lake that is read.
    pub version: Version,
}

/// Label rows, and what was left out.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The entity's keys, `label_ts` (the moment asked at), `event_time`, `matured_at`, and the answer in a column of
    /// the label's name; sorted by (`label_ts`, keys).
    pub rows: RecordBatch,
    /// Rows left out because the answer, the moment or a key is null.
    pub left_out: i64,
}

impl Lake {
    /// Rows with `from <= event time < to` that have matured: the newest of each unique key, unless deleted.
    pub async fn labels(&self, request: &LabelRequest) -> Result<Labels, Error> {
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
                ("asked_at", &compiled(&label.asked_at)),
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
                session.within(limit, || session.execute(&table)).map_err(|failure| match failure {
                    Failure::Duck(error) if session.overdue(&error) => Error::TooLong { doing, limit }.into(),
                    other => other,
                })?;
                let late = session.count("SELECT count(*) FROM answer WHERE label_ts > matured_at")?;
                if late > 0 {
                    return Err(asked_too_late(&name, late).into());
                }
                Ok(Labels { rows: session.query_as(&rows, &schema)?, left_out: session.count(&left_out)? })
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
