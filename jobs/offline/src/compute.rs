//! Rows of views that are not windows: from source rows, or from other views.
//!
//! A row view has one row for each source row and keeps the source row's place in the total order, so a tie or a
//! correction has the same winner in the view as in the source. A derived view has one row for each moment of
//! any input, computed from all inputs as of that moment; a late row computes its entity's later moments anew.

mod refused;

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use tidemill_core::Time;
use tidemill_rows::{self as rows, DELETED, VALID_AT};
use tidemill_spec::{Rule, Source, Type, ViewKind};

use crate::{
    CommitRange, Error, KnownAt, Lake, PitRead, PitRequest, Table, View,
    sql::{self, fill, list, quoted},
};

pub use refused::Refused;
use refused::query_or_refuse;

/// What computed rows that have no source row of their own carry: fixed with the job's target, so that a repeat
/// writes the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Their `created_at`: the data clock.
    pub created_at: Time,
    /// Their `seq`: the lake version they are computed for.
    pub seq: i64,
}

/// Rows of a view, not yet staged.
#[derive(Clone, Debug)]
pub struct Computed {
    /// Columns as in [`View::schema`], sorted by (keys, total order).
    pub rows: RecordBatch,
    /// Input rows left out because a key column is null.
    pub keyless: i64,
    /// Input rows left out because an expression fails on them, if it does on any.
    pub refused: Option<Refused>,
}

/// Moments of a derived view with its inputs as of then.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The entity's keys, `valid_at`, then each input's features under their own names.
    pub inputs: RecordBatch,
}

impl Lake {
    /// Rows of a row view in SQL (`last`, expressions) for the source rows of `commits`.
    /// `part`: of how many parts by entity which one, from 0; `(0, 1)` is everything.
    pub async fn compute_rows(
        &self,
        view: &View,
        commits: CommitRange,
        part: (u32, u32),
    ) -> Result<Computed, Error> {
        let features = view
            .definition
            .features
            .iter()
            .filter_map(|(name, feature)| Some(sql::feature(name, &living(&feature.rule)?, feature.ty)));
        self.computed(view, commits, part, &features.collect::<String>(), &view.schema()).await
    }

    /// The source rows that [`Lake::compute_rows`] would read, for Python to compute: all source columns and the
    /// system columns, sorted; null keys left out.
    pub async fn source_rows(
        &self,
        view: &View,
        commits: CommitRange,
        part: (u32, u32),
    ) -> Result<Computed, Error> {
        let source = view.source()?;
        let others = source.columns.iter().filter(|(name, _)| !view.entity.keys.contains_key(*name));
        let others: String =
            others.map(|(name, column)| sql::feature(name, &quoted(name), column.ty)).collect();
        let keys = view.entity.keys.iter().map(|(name, ty)| rows::field(name, *ty));
        let rest = rows::source_schema(source);
        let rest = rest.fields().iter().filter(|field| !view.entity.keys.contains_key(field.name()));
        let schema = Schema::new(keys.chain(rest.map(|field| field.as_ref().clone())).collect::<Vec<_>>());
        self.computed(view, commits, part, &others, &schema.into()).await
    }

    async fn computed(
        &self,
        view: &View,
        commits: CommitRange,
        part: (u32, u32),
        features: &str,
        schema: &SchemaRef,
    ) -> Result<Computed, Error> {
        let source = view.source()?;
        let scan = self.scan(&Table::source(&source.name), commits).await?;
        let rows = scan.rows(&rows::source_schema(source), "true");
        let keys = view.keys();
        let (typed_keys, key_columns) = (typed_keys(view), list(&keys));
        let holes = [("keys", typed_keys), ("key_columns", key_columns), ("features", features.to_owned())];
        let computed = move |rows: &str| {
            let mut filled: Vec<(&str, &str)> = vec![("rows", rows)];
            filled.extend(holes.iter().map(|(hole, filling)| (*hole, filling.as_str())));
            fill(include_str!("../queries/compute/rows.sql"), &filled)
        };
        let input = refused::of_part(&rows, &keys, part);
        let (present, part) = (sql::present(&keys), sql::part(&keys, part));
        let keyless = format!("SELECT count(*) AS n FROM {rows} WHERE NOT ({present}) AND {part}");
        let (schema, asked) = (schema.clone(), view.clone());
        self.duck
            .run(format!("computing view {}", view.name()), move |session| {
                let (rows, refused) = query_or_refuse(session, &asked, &input, living, computed, &schema)?;
                Ok(Computed { rows, keyless: session.count(&keyless)?, refused })
            })
            .await
    }

    /// The moments of a derived view to compute for what is new in `commits`, with its inputs' features as of
    /// each. `inputs`: the views it names, in its order.
    ///
    /// # Errors
    /// An input whose entity lacks one of the view's keys, or two inputs with a feature of one name.
    pub async fn derived_inputs(
        &self,
        view: &View,
        inputs: &[View],
        commits: CommitRange,
        part: (u32, u32),
    ) -> Result<Moments, Error> {
        let keys = view.keys();
        let (mut all, mut changed) = (Vec::new(), Vec::new());
        for input in inputs {
            if !keys.iter().all(|key| input.entity.keys.contains_key(key)) {
                let message =
                    format!("view `{}` needs the keys of its entity from `{}`", view.name(), input.name());
                return Err(Error::invalid(604, message));
            }
            // A window changes with every row of its source.
            let windowed = input.source.as_ref().filter(|_| input.kind() == ViewKind::Windows);
            let (table, schema) = match windowed {
                Some(source) => (Table::source(&source.name), rows::source_schema(source)),
                None => (input.table(), input.schema()),
            };
            let rows = self.scan(&table, CommitRange::upto(commits.upto)).await?.rows(&schema, "true");
            let fresh = self.scan(&table, commits).await?.rows(&schema, "true");
            let columns = format!("{}, {VALID_AT}", list(&keys));
            all.push(format!("SELECT {columns} FROM {rows}"));
            changed.push(format!("SELECT {columns} FROM {fresh}"));
            changed.extend(windowed.and_then(|source| replaced(&keys, source, &rows, &fresh)));
        }
        let moments = moments_sql(&keys, &all, &changed, part);
        let schema = moment_schema(view);
        let labels = self
            .duck
            .run(format!("finding the moments of view {}", view.name()), move |session| {
                session.query_as(&moments, &schema)
            })
            .await?;
        let request = PitRequest {
            labels,
            label_ts: VALID_AT.to_owned(),
            reads: inputs.iter().cloned().map(PitRead::all).collect(),
            version: commits.upto,
            known_at: KnownAt::Any,
        };
        Ok(Moments { inputs: self.point_in_time(&request).await? })
    }

    /// Rows of a derived view in SQL from its moments.
    pub async fn derive(&self, view: &View, moments: &Moments, stamp: Stamp) -> Result<Computed, Error> {
        let features =
            view.definition.features.iter().filter_map(|(name, feature)| {
                Some(sql::feature(name, &expression(&feature.rule)?, feature.ty))
            });
        let holes = [
            ("keys", list(&view.keys())),
            ("created_at", sql::instant(stamp.created_at)),
            ("seq", stamp.seq.to_string()),
            ("features", features.collect::<String>()),
        ];
        let statement = move |moments: &str| {
            let mut filled: Vec<(&str, &str)> = vec![("moments", moments)];
            filled.extend(holes.iter().map(|(hole, filling)| (*hole, filling.as_str())));
            fill(include_str!("../queries/compute/derived.sql"), &filled)
        };
        let (schema, inputs, asked) = (view.schema(), moments.inputs.clone(), view.clone());
        self.duck
            .run(format!("computing view {}", view.name()), move |session| {
                session.load("moment", &inputs)?;
                let (rows, refused) =
                    query_or_refuse(session, &asked, "moment", expression, statement, &schema)?;
                Ok(Computed { rows, keyless: 0, refused })
            })
            .await
    }
}

/// What a stored feature is computed by; `None` for what SQL over one row doesn't compute.
fn expression(rule: &Rule) -> Option<String> {
    match rule {
        Rule::Last(column) => Some(quoted(column)),
        Rule::Sql(sql) => Some(sql.clone()),
        Rule::Age | Rule::Window { .. } | Rule::Python => None,
    }
}

/// The same where the row isn't a deletion.
fn living(rule: &Rule) -> Option<String> {
    Some(format!("CASE WHEN NOT {DELETED} THEN ({}) END", expression(rule)?))
}

fn typed_keys(view: &View) -> String {
    let typed = |(name, ty): (&String, &Type)| {
        format!("CAST({name} AS {}) AS {name}", ty.duckdb(), name = quoted(name))
    };
    view.entity.keys.iter().map(typed).collect::<Vec<_>>().join(", ")
}

fn moments_sql(keys: &[String], all: &[String], changed: &[String], part: (u32, u32)) -> String {
    let moment_keys: Vec<String> = keys.iter().map(|key| format!("moment.{}", quoted(key))).collect();
    fill(
        include_str!("../queries/compute/moments.sql"),
        &[
            ("all", &format!("({})", all.join(" UNION ALL "))),
            ("changed", &format!("({})", changed.join(" UNION ALL "))),
            ("key_columns", &list(keys)),
            ("moment_keys", &moment_keys.join(", ")),
            ("same_keys", &sql::equal_keys("moment", "since", keys)),
            ("present", &sql::present(keys)),
            ("part", &sql::part(keys, part)),
        ],
    )
}

/// New rows also change the windows of the entities whose rows they replace, from their own moments on.
fn replaced(keys: &[String], source: &Source, rows: &str, fresh: &str) -> Option<String> {
    let same = sql::same("earlier", "cause", &source.unique)?;
    let keys: Vec<String> = keys.iter().map(|key| format!("earlier.{}", quoted(key))).collect();
    let keys = keys.join(", ");
    Some(format!("SELECT {keys}, cause.{VALID_AT} FROM {rows} AS earlier JOIN {fresh} AS cause ON {same}"))
}

fn moment_schema(view: &View) -> SchemaRef {
    let mut fields: Vec<Field> = view.entity.keys.iter().map(|(name, ty)| rows::field(name, *ty)).collect();
    fields.push(rows::field(VALID_AT, Type::Timestamp));
    Schema::new(fields).into()
}
