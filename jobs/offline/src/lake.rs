//! The lake itself: stage files, publish them in the caller's transaction, list them at a version.

use std::{fmt::Write as _, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgPool, migrate::Migrator};
use tidemill_blobs::Blobs;
use tidemill_core::Time;
use tidemill_expressions::Evaluator;
use tidemill_rows::{CREATED_AT, VALID_AT, parquet};
use tidemill_spec::Source;

use crate::{
    Commit, CommitKind, CommitRange, Error, LakeFile, Staged, Table, Version,
    duck::Duck,
    manifest::{self, Publication},
    scan::{Scan, ScannedFile, Types},
    shapes::Shapes,
    span::Span,
};

/// Files fetched at once.
pub(crate) const FETCHES: usize = 16;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How much of the machine the lake may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LakeOptions {
    /// Memory of DuckDB, in bytes; what needs more spills to disk.
    pub memory_bytes: u64,
    /// Disk that it may take for that, in bytes.
    pub spill_bytes: u64,
    /// Threads of DuckDB.
    pub threads: u32,
    /// Longest time that one query of a user takes, in seconds; a step's own `timeout` may end it sooner.
    pub query_seconds: u64,
    /// Longest time that one statement with expressions of a view or label takes, in seconds.
    pub rows_seconds: u64,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 384 << 20,
            spill_bytes: 64 << 30,
            threads: 2,
            query_seconds: 3600,
            rows_seconds: 600,
        }
    }
}

/// The offline store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lake {
    pub(crate) pool: PgPool,
    pub(crate) blobs: Blobs,
    pub(crate) duck: Duck,
    pub(crate) evaluator: Evaluator,
    shapes: Shapes,
}

impl Lake {
    /// Opens the lake over its manifest's database and the store of its files.
    ///
    /// # Errors
    /// DuckDB doesn't start.
    pub fn open(options: &LakeOptions, pool: PgPool, blobs: Blobs) -> Result<Self, Error> {
        let (duck, evaluator) = (Duck::open(options)?, Evaluator::default());
        Ok(Self { pool, blobs, duck, evaluator, shapes: Shapes::default() })
    }

    /// What computes the features of views that hold nothing.
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Makes or updates the manifest's tables, in the schema `lake`. Safe to repeat.
    pub async fn migrate(&self) -> Result<(), Error> {
        migrate(&self.pool).await
    }

    /// The newest version.
    pub async fn head(&self) -> Result<Version, Error> {
        manifest::head(&self.pool).await
    }

    /// Files of a table as of a version.
    pub async fn files(&self, table: &Table, version: Version) -> Result<Vec<LakeFile>, Error> {
        manifest::files(&self.pool, table, CommitRange::upto(version)).await
    }

    /// Commits that added rows to a table, in their order.
    pub async fn commits(&self, table: &Table, range: CommitRange) -> Result<Vec<Commit>, Error> {
        manifest::commits(&self.pool, table, range).await
    }

    /// The version that a table's commit under a job key made; `None` where nothing was published under it.
    pub async fn commit_of(&self, table: &Table, job_key: &str) -> Result<Option<Version>, Error> {
        manifest::commit_of(&self.pool, table, job_key).await
    }

    /// The rows of some commits of a table: its files, fetched to this machine. After a compaction a file may hold
    /// rows of other commits too; the scan leaves those out.
    pub(crate) async fn scan(&self, table: &Table, commits: CommitRange) -> Result<Scan, Error> {
        self.scan_within(table, None, commits, Span::ALL).await
    }

    /// The rows of some commits of a source, with the times and tombstones that it is declared with.
    pub(crate) async fn scan_source(&self, source: &Source, commits: CommitRange) -> Result<Scan, Error> {
        self.scan_within(&Table::source(&source.name), Some(source), commits, Span::ALL).await
    }

    /// At least the rows of some commits that are valid within a span: files that hold none of them are left out. Those of
    /// a source with the times and tombstones that it is declared with.
    pub(crate) async fn scan_within(
        &self,
        table: &Table,
        source: Option<&Source>,
        commits: CommitRange,
        span: Span,
    ) -> Result<Scan, Error> {
        self.scan_where(table, source, commits, |valid_at| span.meets(valid_at)).await
    }

    /// The same of the files that are wanted by the least and greatest `valid_at` of their rows, if that is known.
    pub(crate) async fn scan_where(
        &self,
        table: &Table,
        source: Option<&Source>,
        commits: CommitRange,
        wanted: impl Fn(Option<(Time, Time)>) -> bool + Send + Sync,
    ) -> Result<Scan, Error> {
        let wanted = |file: &LakeFile| wanted(file.valid_at_of(source));
        self.scan_files(table, source, commits, wanted).await
    }

    /// The same of the files that are wanted.
    pub(crate) async fn scan_files(
        &self,
        table: &Table,
        source: Option<&Source>,
        commits: CommitRange,
        wanted: impl Fn(&LakeFile) -> bool + Send + Sync,
    ) -> Result<Scan, Error> {
        match self.scan_listed(table, source, commits, &wanted).await {
            // Between its listing and its fetching a file may be replaced by one that stands for it at this version.
            Err(Error::Files(tidemill_blobs::Error::Missing { .. })) => {
                self.scan_listed(table, source, commits, &wanted).await
            }
            scan => scan,
        }
    }

    async fn scan_listed(
        &self,
        table: &Table,
        source: Option<&Source>,
        commits: CommitRange,
        wanted: &(impl Fn(&LakeFile) -> bool + Send + Sync),
    ) -> Result<Scan, Error> {
        let mut files = manifest::files(&self.pool, table, commits).await?;
        files.retain(|file| wanted(file));
        let (mut scan, shapes) = (Scan::of(commits, source), self.shapes.clone());
        let local = self.fetched(files, commits).await?;
        let scan = tokio::task::spawn_blocking(move || {
            for ScannedFile { path, commits } in local {
                let types = shapes.of(&path)?;
                scan.push(path, &types, commits.is_none());
            }
            Ok::<_, Error>(scan)
        });
        scan.await?
    }

    /// Some files on this machine, each with what counts of it of some commits.
    pub(crate) async fn fetched(
        &self,
        files: Vec<LakeFile>,
        commits: CommitRange,
    ) -> Result<Vec<ScannedFile>, Error> {
        let inside =
            move |file: &LakeFile| file.first_commit > commits.after && file.last_commit <= commits.upto;
        // Owned files: a future that borrows from a closure's argument isn't `Send` enough for jobs.
        let fetched = files.into_iter().map(|file| async move {
            let path = self.blobs.fetch(&file.path).await?;
            Ok::<_, Error>(ScannedFile { path, commits: (!inside(&file)).then_some(commits) })
        });
        futures::stream::iter(fetched).buffered(FETCHES).try_collect().await
    }

    /// The types of a file's columns.
    pub(crate) async fn types(&self, path: &str) -> Result<Arc<Types>, Error> {
        let (shapes, path) = (self.shapes.clone(), self.blobs.fetch(path).await?);
        tokio::task::spawn_blocking(move || shapes.of(&path)).await?
    }

    /// Writes rows to one file that no reader sees yet; `None` without rows. The file is sorted by `keys` and the
    /// total order. Safe to repeat: the same rows under the same `job_key` and `chunk` are the same file.
    pub async fn stage(
        &self,
        table: &Table,
        job_key: &str,
        chunk: u32,
        keys: &[String],
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<Option<Staged>, Error> {
        let (schema, sort) = (schema.clone(), keys.to_vec());
        let written = tokio::task::spawn_blocking(move || {
            let batch = parquet::sorted(&schema, &batches, &sort)?;
            let bytes = parquet::write(&batch)?;
            Ok::<_, Error>((batch, bytes))
        });
        let (batch, bytes) = written.await??;
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let path = path_of(table, job_key, chunk, &bytes);
        let staged = Staged {
            path: path.clone(),
            keys: keys.to_vec(),
            rows: i64::try_from(batch.num_rows()).unwrap_or(i64::MAX),
            size_bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            valid_at: range_of(&batch, VALID_AT)?,
            created_at: range_of(&batch, CREATED_AT)?,
            timed_by: None,
        };
        self.blobs.put_at(&path, bytes).await?;
        Ok(Some(staged))
    }

    /// Makes staged files part of their table, all in one new version, when the caller's transaction commits. The
    /// version is drawn then, as the last thing, so nobody waits for the rest of the transaction. Unique by (table,
    /// `job_key`): a repeat changes nothing. A commit without files is a version too.
    pub async fn publish(
        &self,
        connection: &mut PgConnection,
        table: &Table,
        job_key: &str,
        staged: &[Staged],
    ) -> Result<(), Error> {
        let publication =
            Publication { table, job_key, kind: CommitKind::Append, files: staged, commits: &[] };
        manifest::publish(connection, &publication).await?;
        Ok(())
    }
}

impl Lake {
    /// Ends a table, when the caller's transaction commits: newer versions have none of its rows; its files go with the
    /// garbage. Merging and collecting wait for it (`docs/explanation/locks.md`). Safe to repeat.
    pub async fn drop_table(&self, connection: &mut PgConnection, table: &Table) -> Result<(), Error> {
        let kind = CommitKind::Drop;
        let publication = Publication { table, job_key: "drop", kind, files: &[], commits: &[] };
        manifest::end_table(connection, &publication).await
    }
}

impl Lake {
    /// Takes away all rows of some tables, when the caller's transaction commits: newer versions have none of them, while
    /// those of before can be read until the files are collected. Merging and collecting wait for it. `key` names the act:
    /// a table is emptied once by it.
    pub async fn truncate(
        &self,
        connection: &mut PgConnection,
        tables: &[Table],
        key: &str,
    ) -> Result<(), Error> {
        // Counted before the files are looked at: who has held a count has published by now.
        let mut there = manifest::count_removal(connection, tables).await?;
        there.sort();
        for table in &there {
            let kind = CommitKind::Truncate;
            let publication = Publication { table, job_key: key, kind, files: &[], commits: &[] };
            manifest::end_table(connection, &publication).await?;
            manifest::remove_commits(connection, table, key).await?;
        }
        Ok(())
    }

    /// How often rows of some tables were taken away. To be asked before any of them is read, by who will write what
    /// follows from them.
    pub async fn removals(&self, tables: &[Table]) -> Result<i64, Error> {
        manifest::removals(&self.pool, tables).await
    }

    /// The same within the transaction that writes it: none are taken away before that ends. If the count has grown, what
    /// was read may be gone: roll back, and begin again.
    pub async fn hold_removals(&self, connection: &mut PgConnection, tables: &[Table]) -> Result<i64, Error> {
        manifest::hold_removals(connection, tables).await
    }
}

pub(crate) async fn migrate(pool: &PgPool) -> Result<(), Error> {
    // A connection of its own, closed afterwards: nobody inherits its search path.
    let mut connection = pool.acquire().await?.detach();
    sqlx::raw_sql("CREATE SCHEMA IF NOT EXISTS lake; SET search_path TO lake")
        .execute(&mut connection)
        .await?;
    Ok(MIGRATOR.run(&mut connection).await?)
}

/// Where a staged file goes. Its content is part of the name, so that a late repeat by a worker that lost its
/// lease can never change a published file.
pub(crate) fn path_of(table: &Table, job_key: &str, chunk: u32, bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(job_key);
    hash.update([0]);
    hash.update(chunk.to_be_bytes());
    hash.update(bytes);
    let name = hash.finalize().iter().take(16).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    });
    format!("lake/{table}/{name}.parquet")
}

fn range_of(batch: &RecordBatch, column: &str) -> Result<Option<(Time, Time)>, Error> {
    match batch.column_by_name(column) {
        Some(_) => Ok(parquet::time_range(batch, column)?),
        None => Ok(None),
    }
}
