//! One DuckDB in this process. Statements run on connections of their own, off the async threads, two at a time.

use std::{fmt, path::Path, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::{cast, concat_batches},
    datatypes::SchemaRef,
};
use duckdb::{
    Config, Connection,
    vtab::arrow::{ArrowVTab, arrow_recordbatch_to_query_params},
};
use tempfile::TempDir;
use tidemill_rows::row::column;
use tokio::sync::{Mutex, Semaphore};

use crate::{Error, LakeOptions};

/// Statements that run at once: each may use the whole memory limit for a while.
const STATEMENTS: usize = 2;

/// The database; cheap to clone.
#[derive(Clone)]
pub(crate) struct Duck {
    // `Connection` may move between threads but not be shared.
    root: Arc<Mutex<Connection>>,
    permits: Arc<Semaphore>,
    options: LakeOptions,
    // Where it spills; gone with the last handle.
    spill: Arc<TempDir>,
}

/// One connection and what it is doing, for messages.
pub(crate) struct Session {
    connection: Connection,
}

impl Duck {
    pub(crate) fn open(options: &LakeOptions) -> Result<Self, Error> {
        let failed = |source| Error::Query { doing: "starting".to_owned(), source };
        let spill =
            TempDir::new().map_err(|error| failed(duckdb::Error::ToSqlConversionFailure(error.into())))?;
        let root = start(options, spill.path()).map_err(failed)?;
        Ok(Self {
            spill: Arc::new(spill),
            root: Arc::new(Mutex::new(root)),
            permits: Arc::new(Semaphore::new(STATEMENTS)),
            options: options.clone(),
        })
    }

    /// Runs `work` on a connection of its own; temporary tables die with it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        work: impl FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.root.lock().await.try_clone();
        self.on(connection, doing.into(), work).await
    }

    /// Runs `work` in a database of its own, which may lock itself up.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        work: impl FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.on(start(&self.options, self.spill.path()), doing.into(), work).await
    }

    async fn on<T: Send + 'static>(
        &self,
        connection: duckdb::Result<Connection>,
        doing: String,
        work: impl FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let session = Session { connection: connection? };
            session.connection.execute_batch("SET TimeZone = 'UTC'")?;
            work(&session)
        });
        result.await?.map_err(|failure| match failure {
            Failure::Duck(source) => Error::Query { doing, source },
            Failure::Other(error) => error,
        })
    }
}

/// What ends a piece of work: DuckDB's refusal, which gets its context from [`Duck::run`], or another error.
pub(crate) enum Failure {
    Duck(duckdb::Error),
    Other(Error),
}

impl From<duckdb::Error> for Failure {
    fn from(error: duckdb::Error) -> Self {
        Self::Duck(error)
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Debug for Duck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Duck")
    }
}

impl Session {
    /// The connection, for statements with parameters.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The rows of a query, as one batch.
    pub(crate) fn query(&self, sql: &str) -> Result<RecordBatch, Failure> {
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_arrow([])?;
        let schema = rows.get_schema();
        let batches: Vec<RecordBatch> = rows.collect();
        Ok(concat_batches(&schema, &batches).map_err(tidemill_rows::Error::from)?)
    }

    /// The rows of a query in the columns of `schema`, by name.
    pub(crate) fn query_as(&self, sql: &str, schema: &SchemaRef) -> Result<RecordBatch, Failure> {
        let rows = self.query(sql)?;
        let columns: Result<Vec<_>, tidemill_rows::Error> = schema
            .fields()
            .iter()
            .map(|field| {
                let array = column(&rows, field.name())?;
                Ok(if array.data_type() == field.data_type() {
                    array.clone()
                } else {
                    cast(array, field.data_type())?
                })
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns?, &options)
            .map_err(tidemill_rows::Error::from)?)
    }

    /// The names of a subquery's columns.
    pub(crate) fn columns(&self, rows: &str) -> Result<Vec<String>, Failure> {
        let none = self.query(&format!("SELECT * FROM {rows} LIMIT 0"))?;
        Ok(none.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    /// The one number that a query gives.
    pub(crate) fn count(&self, sql: &str) -> Result<i64, Failure> {
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Runs statements without rows.
    pub(crate) fn execute(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Makes a temporary table of a batch.
    pub(crate) fn load(&self, table: &str, batch: &RecordBatch) -> Result<(), Failure> {
        let mut statement = self
            .connection
            .prepare(&format!("CREATE TEMP TABLE {table} AS SELECT * FROM arrow_rows(?, ?)"))?;
        statement.execute(arrow_recordbatch_to_query_params(batch.clone()))?;
        Ok(())
    }
}

fn start(options: &LakeOptions, spill: &Path) -> Result<Connection, duckdb::Error> {
    let config = Config::default()
        .threads(i64::from(options.threads))?
        .max_memory(&format!("{}MiB", options.memory_bytes >> 20))?
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("temp_directory", spill.to_string_lossy())?;
    let connection = Connection::open_in_memory_with_flags(config)?;
    connection.register_table_function::<ArrowVTab>("arrow_rows")?;
    Ok(connection)
}
