//! Rows as they are: of a table, of an entity; by anyone's SQL in [`query`].

mod query;

use std::{path::Path, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use indexmap::IndexMap;
use tidemill_core::Time;
use tidemill_rows::{CREATED_AT, SEQ, VALID_AT, field, parquet};
use tidemill_spec::{Source, Type, Value};

use crate::{
    CommitRange, Error, Lake, LakeFile, LakeOptions, PitRequest, Table, Version, View,
    duck::{Duck, Failure, Session},
    foreign, label, manifest,
    span::Span,
    sql::{self, quoted},
};

pub use query::Queried;

/// Rows of a table to read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The table.
    pub table: Table,
    /// The source whose rows they are, if any: their times are those that it declares.
    pub source: Option<Source>,
    /// Which commits' rows; [`CommitRange::upto`] a pinned version for all.
    pub commits: CommitRange,
    /// Which of them.
    pub filter: Filter,
    /// Which columns, in this order; `None` for all of the table's.
    pub columns: Option<Vec<String>>,
    /// The columns that the rows are read in; `None`: whatever the files have, each as the newest of them has it.
    pub schema: Option<SchemaRef>,
}

/// Conditions, all of which hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// A timestamp column, and its instants `from ≤ t < to`.
    pub between: Option<(String, Time, Time)>,
    /// Columns that equal values; a null equals null.
    pub equal: Vec<(String, Value)>,
    /// Columns that are not null.
    pub present: Vec<String>,
    /// The last rows in an order, at most.
    pub last: Option<u32>,
    /// In which order.
    pub order: Order,
}

/// An order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The total one: `(valid_at, created_at, seq)`.
    #[default]
    Known,
    /// As they were accepted: `(created_at, seq)`.
    Accepted,
}

impl Read {
    /// All rows as of a version.
    pub fn all(table: Table, version: Version) -> Self {
        let commits = CommitRange::upto(version);
        Self { table, source: None, commits, filter: Filter::default(), columns: None, schema: None }
    }

    /// All rows of a source as of a version.
    pub fn source(source: &Source, version: Version) -> Self {
        Self { source: Some(source.clone()), ..Self::all(Table::source(&source.name), version) }
    }
}

impl Lake {
    /// Rows of a table in the order of the keys it is sorted by, then the filter's; of tables without the columns of that
    /// order, in the files' order. One batch; without columns if nothing was ever published.
    pub async fn read(&self, read: &Read) -> Result<RecordBatch, Error> {
        let Some(statement) = self.statement(read).await? else { return Ok(nothing()) };
        let schema = read.schema.clone().filter(|_| read.columns.is_none());
        self.duck
            .run(format!("reading {}", read.table), move |session| match schema {
                Some(schema) => session.query_as(&statement(session)?, &schema),
                None => session.query(&statement(session)?),
            })
            .await
    }

    /// The rows of [`read`](Self::read) given to `take` batch by batch: they are never all in memory. `take` gets one batch
    /// at least. Returns how many rows there are.
    ///
    /// # Errors
    /// As [`read`](Self::read), or `take` fails.
    pub async fn read_each(
        &self,
        read: &Read,
        mut take: impl FnMut(&RecordBatch) -> Result<(), Error> + Send + 'static,
    ) -> Result<u64, Error> {
        let Some(statement) = self.statement(read).await? else {
            // Where `take` always is: on a thread that may wait.
            tokio::task::spawn_blocking(move || take(&nothing())).await??;
            return Ok(0);
        };
        self.duck
            .run(format!("reading {}", read.table), move |session| {
                let mut count = 0;
                let open = |schema: &SchemaRef| {
                    take(&RecordBatch::new_empty(schema.clone()))?;
                    Ok(take)
                };
                session.stream(&statement(session)?, open, |take, batch| {
                    count += batch.num_rows() as u64;
                    Ok(take(&batch)?)
                })?;
                Ok(count)
            })
            .await
    }

    /// The least `valid_at` among the rows of a read, if it has any.
    pub async fn first_valid_at(&self, read: &Read) -> Result<Option<Time>, Error> {
        let Some(rows) = self.relation(read).await? else { return Ok(None) };
        let doing = format!("reading {}", read.table);
        let schema = Arc::new(Schema::new(vec![field(VALID_AT, Type::Timestamp)]));
        let filter = read.filter.clone();
        let first = move |session: &Session| {
            let held = condition(&filter, &session.columns(&rows)?);
            let first = format!("SELECT min({VALID_AT}) AS {VALID_AT} FROM {rows} WHERE {held}");
            session.query_as(&first, &schema)
        };
        let first = self.duck.run(doing, first).await?;
        Ok(parquet::time_range(&first, VALID_AT)?.map(|(first, _)| first))
    }

    /// The rows of a read's table that may be of it, as a subquery; none if nothing was ever published.
    async fn relation(&self, read: &Read) -> Result<Option<String>, Error> {
        let within = |name: &str| {
            let between = read.filter.between.as_ref().filter(|(column, ..)| column == name);
            between.map_or(Span::ALL, |(_, from, to)| Span { from: Some(*from), upto: Some(*to) })
        };
        let (valid, created) = (within(VALID_AT), within(CREATED_AT));
        let source = read.source.as_ref();
        let wanted = |file: &LakeFile| {
            // A source may make a row's `created_at` from a column of its own.
            let created_at = file.created_at.filter(|_| source.is_none());
            valid.meets(file.valid_at_of(source)) && created.meets(created_at)
        };
        let scan = self.scan_files(&read.table, source, read.commits, wanted).await?;
        let declared = read.schema.as_ref().filter(|_| scan.paths().next().is_some());
        Ok(declared.map(|schema| scan.rows(schema, "true")).or_else(|| scan.any_rows()))
    }

    /// What makes the statement of a read; none if nothing was ever published.
    async fn statement(
        &self,
        read: &Read,
    ) -> Result<Option<impl FnOnce(&Session) -> Result<String, Failure> + Send + 'static>, Error> {
        let Some(rows) = self.relation(read).await? else { return Ok(None) };
        let keys = manifest::keys(&self.pool, &read.table).await?.unwrap_or_default();
        let read = read.clone();
        Ok(Some(move |session: &Session| Ok(statement(&read, &rows, &keys, &session.columns(&rows)?))))
    }

    /// Stored rows of one entity in a view's table as of a version, oldest first, at most the `last` ones.
    /// `key`: values of the entity's key columns, in declared order.
    pub async fn history(
        &self,
        view: &View,
        key: &[Value],
        version: Version,
        last: u32,
    ) -> Result<RecordBatch, Error> {
        let equal = view.entity.keys.keys().cloned().zip(key.iter().cloned()).collect();
        let filter = Filter { equal, last: Some(last), ..Filter::default() };
        self.read(&Read { filter, ..Read::all(view.table(), version) }).await
    }

    /// The values of a window view or a derived one at a moment, as of a version: a row for each entity that its source, or
    /// an input of its own entity, has named by then, with its keys, its features, and in `valid_at` when the newest row
    /// behind them became known (of a derived view: that of the oldest input); null where there is none. Sorted by key.
    pub async fn values_at(&self, view: &View, version: Version, at: Time) -> Result<RecordBatch, Error> {
        let keys = view.keys();
        let mut named = Vec::new();
        for stored in view.of_same_entity() {
            let (scan, schema) = self.scan_moments(stored, CommitRange::upto(version)).await?;
            let known = scan.rows(&schema, &format!("{VALID_AT} <= {}", sql::instant(at)));
            named.push(format!("SELECT {} FROM {known} WHERE {}", sql::list(&keys), sql::present(&keys)));
        }
        let fields = view.entity.keys.iter().map(|(name, ty)| field(name, *ty)).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        let doing = format!("finding the entities of view {}", view.name());
        let statement = format!(
            "SELECT DISTINCT {list} FROM ({}) ORDER BY {list}",
            named.join(" UNION ALL "),
            list = sql::list(&keys)
        );
        let entities = match named.as_slice() {
            [] => RecordBatch::new_empty(schema),
            _ => self.duck.run(doing, move |session| session.query_as(&statement, &schema)).await?,
        };
        let values = self.point_in_time(&PitRequest::at(view, &entities, version, at)?).await?;
        let kept: Vec<usize> = (0..values.num_columns())
            .filter(|place| values.schema().field(*place).name() != PitRequest::MOMENT)
            .collect();
        Ok(values.project(&kept).map_err(tidemill_rows::Error::from)?)
    }
}

/// Rows of a file, without a lake: Parquet, CSV or JSON lines, by its name's end. Naive instants are UTC. A column of text
/// is a number only where all its values are written as one.
pub async fn read_file(path: &Path) -> Result<RecordBatch, Error> {
    let (file, duck) = (path.to_path_buf(), Duck::open(&LakeOptions::default())?);
    let read = foreign::read(&duck, path, move |session| label::read(session, &file, &IndexMap::new()));
    Ok(read.await?.rows)
}

fn nothing() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(Schema::empty()))
}

fn statement(read: &Read, rows: &str, keys: &[String], columns: &[String]) -> String {
    let known = |name: &&str| columns.iter().any(|column| column == name);
    let order: &[&str] = match read.filter.order {
        Order::Known => &[VALID_AT, CREATED_AT, SEQ],
        Order::Accepted => &[CREATED_AT, SEQ],
    };
    let order: Vec<&str> = order.iter().copied().filter(known).collect();
    let held = condition(&read.filter, columns);
    let directed = |direction: &str| {
        let order: Vec<String> = order.iter().map(|name| format!("{}{direction}", quoted(name))).collect();
        order.join(", ")
    };
    let selected = read.columns.as_ref().map_or("*".to_owned(), sql::list);
    let mut statement = format!("SELECT {selected} FROM {rows} WHERE {held}");
    if let Some(last) = read.filter.last
        && !order.is_empty()
    {
        // Which rows are the last is decided before they are put in order.
        let newest = format!("FROM {rows} WHERE {held} ORDER BY {} LIMIT {last}", directed(" DESC"));
        statement = format!("SELECT {selected} FROM (SELECT * {newest})");
    }
    let sorted: Vec<String> = keys.iter().map(|key| quoted(key)).filter(|_| !order.is_empty()).collect();
    let sorted = sorted.into_iter().chain(order.iter().map(|name| quoted(name))).collect::<Vec<_>>();
    if sorted.is_empty() { statement } else { format!("{statement} ORDER BY {}", sorted.join(", ")) }
}

/// What holds of the wanted rows among those with some columns. No row has a value in a column that no file has.
fn condition(filter: &Filter, columns: &[String]) -> String {
    let mut named = filter.equal.iter().map(|(name, _)| name).chain(&filter.present);
    if named.any(|name| !columns.contains(name)) {
        return "false".to_owned();
    }
    let mut conditions = vec!["true".to_owned()];
    if let Some((column, from, to)) = &filter.between {
        let column = quoted(column);
        conditions.push(format!("{column} >= {} AND {column} < {}", sql::instant(*from), sql::instant(*to)));
    }
    conditions.extend(filter.present.iter().map(|name| format!("{} IS NOT NULL", quoted(name))));
    conditions.extend(filter.equal.iter().map(|(name, value)| {
        let value = if value.is_null() { "NULL".to_owned() } else { sql::text(&value.to_string()) };
        // Compared in the column's own type, so that `2013-06-01` meets a date.
        format!("{name} IS NOT DISTINCT FROM {value}", name = quoted(name))
    }));
    conditions.join(" AND ")
}
