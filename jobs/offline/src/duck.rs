//! One DuckDB in this process. Statements run on connections of their own, off the async threads, two at a time.
//!
//! Whoever stops waiting for a statement (a step that is cancelled or out of time, a request that is gone) stops the
//! statement too, and the next one begins at once.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::RecvTimeoutError,
    },
    time::Duration,
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::{cast, concat_batches},
    datatypes::SchemaRef,
};
use duckdb::{Config, Connection};
use tempfile::TempDir;
use tidemill_expressions::{LIMITS, Rows, SESSION, Scan, Stop};
use tidemill_rows::row::column;
use tokio::sync::{Mutex, Semaphore};

use crate::{Error, LakeOptions, error::interrupted};

/// Statements that run at once: each may use the whole memory limit for a while.
const STATEMENTS: usize = 2;

/// The database; cheap to clone.
#[derive(Clone)]
pub(crate) struct Duck {
    // `Connection` may move between threads but not be shared.
    root: Arc<Mutex<Connection>>,
    permits: Arc<Semaphore>,
    options: LakeOptions,
    // Between two pieces of work of the same sort.
    kept: Arc<std::sync::Mutex<Vec<Connection>>>,
    // Where it spills; gone with the last handle.
    spill: Arc<TempDir>,
}

/// One connection and what it is doing, for messages.
pub(crate) struct Session {
    connection: Connection,
    stopped: Arc<AtomicBool>,
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
            kept: Arc::default(),
        })
    }

    /// Runs `work` on a connection of its own; temporary tables die with it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        work: impl FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.root.lock().await.try_clone();
        self.on(connection, doing.into(), None, |session| work(&session)).await
    }

    /// Runs `work` on a connection that is kept for the next, with its temporary tables and what it has prepared, unless
    /// the work fails: small pieces of work of one sort would spend most of their time on planning the same again.
    pub(crate) async fn run_kept<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        work: impl FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = kept().pop();
        let connection = match idle {
            Some(connection) => Ok(connection),
            None => self.root.lock().await.try_clone(),
        };
        let work = |session: Session| Ok((work(&session)?, session.connection));
        // Kept when nobody would interrupt it any more.
        let (done, connection) = self.on(connection, doing.into(), None, work).await?;
        kept().push(connection);
        Ok(done)
    }

    /// Runs `work` with expressions of a user over rows, within [`LIMITS`].
    pub(crate) async fn run_declared<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        work: impl FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.root.lock().await.try_clone();
        self.on(connection, doing.into(), None, |session| {
            session.execute(LIMITS)?;
            work(&session)
        })
        .await
    }

    /// Runs `work` with a user's query, in a database of its own, which may lock itself up; for so long at most.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        work: impl FnOnce(&Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let limit = Duration::from_secs(self.options.query_seconds);
        // Beside the one that is always there, so with half of its memory.
        let options = LakeOptions { memory_bytes: self.options.memory_bytes / 2, ..self.options.clone() };
        let connection = start(&options, self.spill.path());
        self.on(connection, doing.into(), Some(limit), |session| {
            session.execute(LIMITS)?;
            work(&session)
        })
        .await
    }

    /// Threads that one piece of work may use.
    pub(crate) fn threads(&self) -> usize {
        self.options.threads as usize
    }

    /// Longest time that one statement with expressions of a user over rows takes.
    pub(crate) fn rows_limit(&self) -> Duration {
        Duration::from_secs(self.options.rows_seconds)
    }

    async fn on<T: Send + 'static>(
        &self,
        connection: duckdb::Result<Connection>,
        doing: String,
        limit: Option<Duration>,
        work: impl FnOnce(Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        // Given back when nobody waits for the work any more, even where it has not noticed yet.
        let _permit = Arc::clone(&self.permits).acquire_owned().await;
        let failed = |doing, failure| match failure {
            Failure::Duck(source) => Error::Query { doing, source },
            Failure::Other(error) => error,
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => return Err(failed(doing, error.into())),
        };
        let stop = Stop::of(&connection);
        let session = Session { connection, stopped: stop.stopped() };
        let done = stop.done();
        let work = tokio::task::spawn_blocking(move || {
            let _done = done;
            session.execute(SESSION)?;
            work(session)
        });
        let result = match limit {
            None => work.await,
            Some(limit) => match tokio::time::timeout(limit, work).await {
                Ok(result) => result,
                Err(_) => return Err(Error::TooLong { doing, limit }),
            },
        };
        result?.map_err(|failure| failed(doing, failure))
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
    ///
    /// # Errors
    /// Nobody waits for the work any more.
    pub(crate) fn connection(&self) -> Result<&Connection, Failure> {
        if self.stopped.load(SeqCst) {
            return Err(Failure::Other(Error::Stopped));
        }
        Ok(&self.connection)
    }

    /// Interrupts what `work` runs when it takes longer than that; whether it did, [`overdue`](Self::overdue) says.
    pub(crate) fn within<T>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let interrupt = self.connection()?.interrupt_handle();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while wait.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    interrupt.interrupt();
                }
            });
            let result = work();
            drop(done);
            result
        })
    }

    /// Runs a statement with SQL of a user for so long at most.
    ///
    /// # Errors
    /// [`Error::TooLong`] past that.
    pub(crate) fn in_time<T>(
        &self,
        doing: &str,
        limit: Duration,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match self.within(limit, work) {
            Err(Failure::Duck(error)) if self.overdue(&error) => {
                Err(Failure::Other(Error::TooLong { doing: doing.to_owned(), limit }))
            }
            done => done,
        }
    }

    /// Whether a statement was ended by [`within`](Self::within), not by whoever waited for it.
    pub(crate) fn overdue(&self, error: &duckdb::Error) -> bool {
        interrupted(error) && !self.stopped.load(SeqCst)
    }

    /// The rows of a query, as one batch.
    pub(crate) fn query(&self, sql: &str) -> Result<RecordBatch, Failure> {
        let mut statement = self.connection()?.prepare(sql)?;
        drop(statement.query_arrow([])?);
        let schema = statement.schema();
        let mut batches = Vec::new();
        while let Some(rows) = statement.step()? {
            batches.push(RecordBatch::from(&rows));
        }
        Ok(concat_batches(&schema, &batches).map_err(tidemill_rows::Error::from)?)
    }

    /// The rows of a query, batch by batch as DuckDB finds them: never all in memory. `open` is given their schema.
    pub(crate) fn stream<T>(
        &self,
        sql: &str,
        open: impl FnOnce(&SchemaRef) -> Result<T, Failure>,
        mut take: impl FnMut(&mut T, RecordBatch) -> Result<(), Failure>,
    ) -> Result<T, Failure> {
        let mut statement = self.connection()?.prepare(sql)?;
        drop(statement.stream_arrow([])?);
        let mut state = open(&statement.schema())?;
        while let Some(rows) = statement.step()? {
            self.connection()?;
            take(&mut state, RecordBatch::from(&rows))?;
        }
        Ok(state)
    }

    /// The rows of a query in the columns of `schema`, by name.
    pub(crate) fn query_as(&self, sql: &str, schema: &SchemaRef) -> Result<RecordBatch, Failure> {
        Ok(in_columns(&self.query(sql)?, schema)?)
    }

    /// The same batch by batch, as [`stream`](Self::stream) does.
    pub(crate) fn stream_as(
        &self,
        sql: &str,
        schema: &SchemaRef,
        mut take: impl FnMut(&RecordBatch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.stream(sql, |_| Ok(()), |(), rows| take(&in_columns(&rows, schema)?))
    }

    /// The names of a subquery's columns.
    pub(crate) fn columns(&self, rows: &str) -> Result<Vec<String>, Failure> {
        let none = self.query(&format!("SELECT * FROM {rows} LIMIT 0"))?;
        Ok(none.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    /// The one number that a query gives.
    pub(crate) fn count(&self, sql: &str) -> Result<i64, Failure> {
        Ok(self.connection()?.query_row(sql, [], |row| row.get(0))?)
    }

    /// Runs statements without rows.
    pub(crate) fn execute(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.connection()?.execute_batch(sql)?)
    }

    /// Makes a temporary table of a batch.
    pub(crate) fn load(&self, table: &str, batch: &RecordBatch) -> Result<(), Failure> {
        let rows = Rows::of(batch).map_err(tidemill_rows::Error::from)?;
        self.execute(&format!("CREATE TEMP TABLE {table} AS SELECT * FROM rows({})", rows.number))
    }
}

/// Rows in the columns of `schema`, by name.
pub(crate) fn in_columns(
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, tidemill_rows::Error> {
    let columns = schema.fields().iter().map(|field| {
        let array = column(rows, field.name())?;
        Ok(if array.data_type() == field.data_type() {
            array.clone()
        } else {
            cast(array, field.data_type())?
        })
    });
    let columns: Result<Vec<_>, tidemill_rows::Error> = columns.collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns?, &options)?)
}

fn start(options: &LakeOptions, spill: &Path) -> Result<Connection, duckdb::Error> {
    let config = Config::default()
        .threads(i64::from(options.threads))?
        .max_memory(&format!("{}MiB", options.memory_bytes >> 20))?
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("temp_directory", spill.to_string_lossy())?
        .with("max_temp_directory_size", format!("{}MiB", options.spill_bytes >> 20))?;
    let connection = Connection::open_in_memory_with_flags(config)?;
    connection.register_table_function::<Scan>("rows")?;
    Ok(connection)
}
