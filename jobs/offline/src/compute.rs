//! Rows of views that are not windows: from source rows, or by Python from other views.
//!
//! A row view has one row for each source row and keeps the source row's place in the total order, so a tie or a
//! correction has the same winner in the view as in the source. A Python view over views has one row for each moment of
//! any input, computed from all inputs as of that moment; a late row computes its entity's later moments anew.

pub(crate) mod refused;

use arrow::{
    array::{Array as _, BooleanArray, RecordBatch},
    datatypes::{Field, Schema, SchemaRef},
};
use tidemill_core::Time;
use tidemill_rows::{self as rows, DELETED, SEQ, VALID_AT};
use tidemill_spec::{Feature, Rule, Source, Type, ViewKind, expr::sql::compiled};

use crate::{
    CommitRange, Error, KnownAt, Lake, PitRead, PitRequest, View,
    scan::Scan,
    sql::{self, fill, list, quoted},
    view::Input,
};

use refused::Computation;
pub use refused::Refused;

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
    /// Input rows that an expression fails on, if it does on any: that feature of theirs is null.
    pub refused: Option<Refused>,
}

/// Moments of a Python view over views with its inputs as of then.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The entity's keys, `valid_at`, then each input's features under their own names.
    pub inputs: RecordBatch,
    /// Whether at a moment no input has anything any more: the entity was withdrawn.
    pub gone: BooleanArray,
}

/// What the columns of when each input was found begin with.
const INPUT_FOUND: &str = "_found_";

impl Moments {
    /// From the inputs as they were joined, each with a column of when it was found.
    fn of(joined: &RecordBatch) -> Result<Self, Error> {
        let schema = joined.schema();
        let found = |place: &usize| schema.field(*place).name().starts_with(INPUT_FOUND);
        let (found, kept): (Vec<usize>, Vec<usize>) = (0..joined.num_columns()).partition(found);
        let nothing = |row: usize| found.iter().all(|place| joined.column(*place).is_null(row));
        let gone = (0..joined.num_rows()).map(|row| Some(nothing(row))).collect();
        Ok(Self { inputs: joined.project(&kept).map_err(rows::Error::from)?, gone })
    }
}

fn input_read(input: &Input, place: usize) -> PitRead {
    let Input { read, view } = input;
    PitRead {
        view: view.clone(),
        role: read.role.clone(),
        keys: read.keys.clone(),
        features: read.features.iter().map(|name| (name.clone(), read.column(name))).collect(),
        found_at: Some(format!("{INPUT_FOUND}{place}")),
    }
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
        self.computed(view, commits, part, |fails| features(view, living, fails), &view.schema()).await
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
        // Older rows may lack a column that has to have a value now.
        let rest = source.columns.iter().filter(|(name, _)| !view.entity.keys.contains_key(*name));
        let rest = rest.map(|(name, column)| rows::field(name, column.ty));
        let schema = Schema::new(keys.chain(rest).chain(rows::schema::system_fields()).collect::<Vec<_>>());
        self.computed(view, commits, part, |_| others.clone(), &schema.into()).await
    }

    async fn computed(
        &self,
        view: &View,
        commits: CommitRange,
        part: (u32, u32),
        features: impl Fn(Fails) -> String,
        schema: &SchemaRef,
    ) -> Result<Computed, Error> {
        let source = view.source()?;
        let scan = self.scan_source(source, commits).await?;
        let rows = scan.rows(&rows::source_schema(source), "true");
        let keys = view.keys();
        let (typed_keys, key_columns) = (typed_keys(view), list(&keys));
        let sound = sql::sound(computed_by_sql(view));
        let features = Fails::ALL.map(features);
        let computed = move |rows: &str, fails: Fails| {
            let holes = [
                ("rows", rows),
                ("keys", &typed_keys),
                ("key_columns", &key_columns),
                ("features", fails.of(&features)),
                ("sound", &sound),
            ];
            fill(include_str!("../queries/compute/rows.sql"), &holes)
        };
        let (rows_of_part, keyless) = (
            refused::of_part(&rows, &keys, part),
            format!(
                "SELECT count(*) AS n FROM {rows} WHERE NOT ({}) AND {}",
                sql::present(&keys),
                sql::part(&keys, part)
            ),
        );
        let computation = Computation {
            view: view.clone(),
            input: rows_of_part,
            expression: living,
            statement: computed,
            schema: schema.clone(),
            limit: self.duck.rows_limit(),
        };
        self.duck
            .run_declared(format!("computing view {}", view.name()), move |session| {
                let (rows, refused) = computation.run(session)?;
                Ok(Computed { rows, keyless: session.count(&keyless)?, refused })
            })
            .await
    }

    /// The moments of a Python view over views to compute for what is new in `commits`, with its inputs' features as of
    /// each.
    ///
    /// # Errors
    /// An input that is computed from views of another entity, or two inputs with a feature of one name.
    pub async fn snapshots(
        &self,
        view: &View,
        commits: CommitRange,
        part: (u32, u32),
    ) -> Result<Moments, Error> {
        let keys = view.keys();
        let (mut all, mut changed) = (Vec::new(), Vec::new());
        for input in view.inputs.iter().flat_map(|input| input.view.stored()) {
            if !keys.iter().all(|key| input.entity.keys.contains_key(key)) {
                let message =
                    format!("view `{}` needs the keys of its entity from `{}`", view.name(), input.name());
                return Err(Error::invalid(604, message));
            }
            let upto = CommitRange::upto(commits.upto);
            // A window changes with every row of its source; so do last rows where these replace each other.
            let (windowed, upserts) = (input.kind() == ViewKind::Windows, input.upserts());
            let (rows, schema) = self.scan_moments(input, upto).await?;
            let rows = rows.rows(&schema, "true");
            let fresh = self.scan_moments(input, commits).await?.0.rows(&schema, "true");
            let columns = format!("{}, {VALID_AT}", list(&keys));
            all.push(format!("SELECT {columns} FROM {rows}"));
            changed.push(format!("SELECT {columns} FROM {fresh}"));
            let Some(source) = input.source.as_ref().filter(|_| windowed || upserts) else { continue };
            let (rows, fresh) = if upserts {
                let rows = self.scan_source(source, upto).await?;
                let rows = rows.rows(&rows::source_schema(source), "true");
                let fresh =
                    format!("(SELECT stored.* FROM {rows} AS stored SEMI JOIN {fresh} USING ({SEQ}))");
                (rows, fresh)
            } else {
                (rows, fresh)
            };
            all.extend(replaced(&keys, source, &rows, &rows));
            changed.extend(replaced(&keys, source, &rows, &fresh));
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
            reads: (0..).zip(&view.inputs).map(|(place, input)| input_read(input, place)).collect(),
            version: commits.upto,
            known_at: KnownAt::Any,
            on_demand: None,
        };
        Moments::of(&self.point_in_time(&request).await?)
    }

    /// The rows at whose moments a view changes, and their columns: a window view's are those of its source.
    pub(crate) async fn scan_moments(
        &self,
        view: &View,
        commits: CommitRange,
    ) -> Result<(Scan, SchemaRef), Error> {
        Ok(match &view.source {
            Some(source) if view.kind() == ViewKind::Windows => {
                (self.scan_source(source, commits).await?, rows::source_schema(source))
            }
            _ => (self.scan(&view.table(), commits).await?, view.schema()),
        })
    }
}

/// What a stored feature is computed by; `None` for what SQL over one row doesn't compute.
fn expression(rule: &Rule) -> Option<String> {
    match rule {
        Rule::Last(column) => Some(quoted(column)),
        Rule::Sql(sql) => Some(compiled(sql)),
        Rule::Age | Rule::Window { .. } | Rule::Python => None,
    }
}

/// The same where the row isn't a deletion.
fn living(rule: &Rule) -> Option<String> {
    Some(format!("(CASE WHEN NOT {DELETED} THEN {} END)", expression(rule)?))
}

/// Features that SQL may make something of that is no value. What a column holds was judged when it came; floats of old
/// rows were not.
fn computed_by_sql(view: &View) -> impl Iterator<Item = (&str, Type)> {
    let features = view.definition.features.iter().filter(|(_, feature)| match feature.rule {
        Rule::Sql(_) => true,
        Rule::Last(_) => feature.ty == Type::Float,
        Rule::Age | Rule::Window { .. } | Rule::Python => false,
    });
    features.map(|(name, feature)| (name.as_str(), feature.ty))
}

/// What becomes of a row that an expression fails on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fails {
    /// The statement fails.
    Statement,
    /// The feature is null: what was there before, or what a correction replaced, isn't its value any more.
    Feature,
    /// All features are null: nothing is computed, for it would take too long or too much.
    Row,
}

impl Fails {
    const ALL: [Self; 3] = [Self::Statement, Self::Feature, Self::Row];

    /// What is made of [`Self::ALL`] for this.
    fn of(self, all: &[String; 3]) -> &str {
        &all[self as usize]
    }
}

/// The stored features of a view, each by `expression` of its rule.
fn features(view: &View, expression: impl Fn(&Rule) -> Option<String>, fails: Fails) -> String {
    let feature = |(name, feature): (&String, &Feature)| {
        let expression = expression(&feature.rule)?;
        Some(match fails {
            Fails::Statement => sql::feature(name, &expression, feature.ty),
            Fails::Feature => sql::feature_or_null(name, &expression, feature.ty),
            Fails::Row => sql::feature(name, "NULL", feature.ty),
        })
    };
    view.definition.features.iter().filter_map(feature).collect()
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

/// New rows also change the entities of the rows that they share the unique columns with: from when both are there.
fn replaced(keys: &[String], source: &Source, rows: &str, fresh: &str) -> Option<String> {
    let same = sql::same("other", "cause", &source.unique)?;
    let keys: Vec<String> = keys.iter().map(|key| format!("other.{}", quoted(key))).collect();
    let since = format!("greatest(other.{VALID_AT}, cause.{VALID_AT}) AS {VALID_AT}");
    let keys = keys.join(", ");
    Some(format!("SELECT {keys}, {since} FROM {rows} AS other JOIN {fresh} AS cause ON {same}"))
}

fn moment_schema(view: &View) -> SchemaRef {
    let mut fields: Vec<Field> = view.entity.keys.iter().map(|(name, ty)| rows::field(name, *ty)).collect();
    fields.push(rows::field(VALID_AT, Type::Timestamp));
    Schema::new(fields).into()
}
