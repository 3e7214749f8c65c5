//! DuckDB in memory, one for each evaluation at a time, with expressions prepared.
//!
//! Planning a statement takes longer than running it over a few rows. So what was asked once is kept prepared, over a table
//! function that reads whatever rows it is given.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{cast, concat_batches},
    datatypes::SchemaRef,
};
use duckdb::{Config, Connection};
use tidemill_rows::row::column;
use tokio::sync::Semaphore;

use crate::{
    Expressions, LIMITS, SESSION, Stop,
    scan::{Rows, Scan},
};

/// Sets of expressions that one DuckDB keeps prepared.
const PREPARED_MAX: usize = 256;

/// What can go wrong with an evaluation. A row that an expression fails on is none of it: its value is null.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DuckDB doesn't start, or refuses an expression.
    #[error("expressions can't be evaluated")]
    Duck(#[from] duckdb::Error),
    /// It took longer than it may.
    #[error("evaluating expressions took longer than {} s", .limit.as_secs_f64())]
    TooLong {
        /// How long it may.
        limit: Duration,
    },
    /// The rows lack a column, or have one of another type.
    #[error("the rows do not fit the expressions")]
    Rows(#[from] tidemill_rows::Error),
    /// A thread of ours died.
    #[error("an evaluation was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Rows(error.into())
    }
}

/// Evaluates expressions; cheap to clone.
#[derive(Clone)]
pub struct Evaluator {
    idle: Arc<Mutex<Vec<Worker>>>,
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Evaluator")
    }
}

impl Default for Evaluator {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { idle: Arc::default(), permits: Arc::new(Semaphore::new(cores.max(2))) }
    }
}

impl Evaluator {
    /// The features of each row, in their order; null where an expression fails or makes what is no value. `rows` have the
    /// columns that are read, by name; others are left aside. Whoever stops waiting stops it.
    ///
    /// # Errors
    /// A column is missing, it takes longer than `limit`, or DuckDB fails.
    pub async fn evaluate(
        &self,
        expressions: &Arc<Expressions>,
        rows: &RecordBatch,
        limit: Duration,
    ) -> Result<RecordBatch, Error> {
        let count = rows.num_rows();
        if count == 0 || expressions.schema().fields().is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(count));
            let fields = expressions.schema();
            let nothing =
                fields.fields().iter().map(|field| new_null_array(field.data_type(), count)).collect();
            return Ok(RecordBatch::try_new_with_options(fields, nothing, &options)?);
        }
        let rows = as_read(expressions, rows)?;
        let _permit = Arc::clone(&self.permits).acquire_owned().await;
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let worker = match kept {
            Some(worker) => worker,
            None => tokio::task::spawn_blocking(Worker::open).await??,
        };
        let stop = Stop::of(&worker.connection);
        let (done, expressions) = (stop.done(), Arc::clone(expressions));
        let work = tokio::task::spawn_blocking(move || {
            let _done = done;
            let mut worker = worker;
            let given = worker.evaluate(&expressions, &rows);
            given.map(|given| (given, worker))
        });
        let Ok(evaluated) = tokio::time::timeout(limit, work).await else {
            return Err(Error::TooLong { limit });
        };
        let (given, worker) = evaluated??;
        idle().push(worker);
        Ok(given)
    }
}

/// The columns that expressions read, in their types.
fn as_read(expressions: &Expressions, rows: &RecordBatch) -> Result<RecordBatch, Error> {
    let schema = expressions.row();
    let read = |name: &str, ty: &arrow::datatypes::DataType| -> Result<ArrayRef, Error> {
        if expressions.columns.is_empty() {
            return Ok(new_null_array(ty, rows.num_rows()));
        }
        let array = column(rows, name)?;
        Ok(if array.data_type() == ty { Arc::clone(array) } else { cast(array, ty)? })
    };
    let columns = schema.fields().iter().map(|field| read(field.name(), field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// One DuckDB and what it has prepared.
struct Worker {
    connection: Connection,
    prepared: HashMap<Arc<Expressions>, (String, Rows)>,
}

impl Worker {
    fn open() -> Result<Self, duckdb::Error> {
        let config = Config::default()
            .threads(1)?
            .enable_autoload_extension(false)?
            .with("autoinstall_known_extensions", "false")?;
        let connection = Connection::open_in_memory_with_flags(config)?;
        connection.register_table_function::<Scan>("rows")?;
        connection.execute_batch(SESSION)?;
        connection.execute_batch(LIMITS)?;
        connection.execute_batch("SET enable_external_access = false; SET lock_configuration = true")?;
        connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
        Ok(Self { connection, prepared: HashMap::new() })
    }

    fn evaluate(&mut self, expressions: &Arc<Expressions>, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        if self.prepared.len() >= PREPARED_MAX && !self.prepared.contains_key(expressions) {
            self.connection.flush_prepared_statement_cache();
            self.prepared.clear();
        }
        let (statement, place) = self.prepared.entry(Arc::clone(expressions)).or_insert_with(|| {
            let place = Rows::with(&expressions.row());
            let Expressions { sound, selected, .. } = expressions.as_ref();
            (format!("SELECT {sound} FROM (SELECT {selected} FROM rows({}))", place.number), place)
        });
        place.put(rows)?;
        let given = run(&self.connection, statement, &expressions.schema());
        place.clear();
        given
    }
}

fn run(connection: &Connection, statement: &str, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let mut statement = connection.prepare_cached(statement)?;
    let batches: Vec<RecordBatch> = statement.query_arrow([])?.collect();
    let typed = |batch: &RecordBatch| {
        let columns = schema.fields().iter().zip(batch.columns());
        let columns =
            columns.map(|(field, array)| cast(array, field.data_type())).collect::<Result<_, _>>()?;
        RecordBatch::try_new(Arc::clone(schema), columns)
    };
    let batches = batches.iter().map(typed).collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(schema, &batches)?)
}

#[cfg(test)]
mod tests;
