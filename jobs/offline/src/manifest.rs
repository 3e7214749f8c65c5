//! The manifest's statements: what Postgres knows of tables, commits and files.

use sqlx::{FromRow, PgConnection, PgPool};
use tidemill_core::Time;

use crate::{Commit, CommitKind, CommitRange, Error, LakeFile, Staged, Table, Version};

/// Statements by their file, so that one test can prepare them all.
macro_rules! queries {
    ($($name:ident = $file:literal),+ $(,)?) => {
        $(const $name: &str = include_str!(concat!("../queries/", $file));)+
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str)] = &[$(($file, $name)),+];
    };
}

queries! {
    PUBLISH = "commit/publish.sql",
    LIST_COMMITS = "commit/list.sql",
    COMMIT_OF_KEY = "commit/of_key.sql",
    REMOVE_COMMITS = "commit/remove.sql",
    LIST_FILES = "file/list.sql",
    TAKE_TURNS = "file/take_turns.sql",
    END_FILES = "file/end.sql",
    END_TABLE = "file/end_table.sql",
    LIST_ENDED = "file/ended.sql",
    FORGET_FILES = "file/forget.sql",
    KNOWN_FILES = "file/known.sql",
    EXTEND_FILES = "file/extend.sql",
    NAME_TABLE = "table/name.sql",
    FILES_EVER = "file/ever.sql",
    SWAP_FILE = "file/swap.sql",
    TABLES = "table/list.sql",
    TABLE_KEYS = "table/keys.sql",
    REMOVALS = "table/removals.sql",
    HOLD_REMOVALS = "table/hold_removals.sql",
    COUNT_REMOVAL = "table/count_removal.sql",
    FRAGMENTED_TABLES = "table/fragmented.sql",
}

/// Files that a commit brings.
pub(crate) struct Publication<'a> {
    pub(crate) table: &'a Table,
    pub(crate) job_key: &'a str,
    pub(crate) kind: CommitKind,
    pub(crate) files: &'a [Staged],
    /// For each file the first and last commit whose rows it holds; empty: this one.
    pub(crate) commits: &'a [(Version, Version)],
}

pub(crate) async fn head(pool: &PgPool) -> Result<Version, Error> {
    Ok(sqlx::query_scalar("SELECT head FROM lake.lake_head").fetch_one(pool).await?)
}

/// Lets one transaction at a time change files that are published already. First of all: whoever held one of them and
/// then waited for its turn would wait for one that waits for the file.
async fn take_turns(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(TAKE_TURNS).execute(connection).await?;
    Ok(())
}

/// Publishes once: `None` for a repeat. What stands for the version is below 0 until COMMIT draws one.
pub(crate) async fn publish(
    connection: &mut PgConnection,
    publication: &Publication<'_>,
) -> Result<Option<Version>, Error> {
    let Publication { table, job_key, kind, files, commits } = publication;
    let keys = files.first().map(|file| file.keys.clone()).unwrap_or_default();
    sqlx::query(NAME_TABLE).bind(table.as_str()).bind(keys).execute(&mut *connection).await?;
    let rows: i64 = if *kind == CommitKind::Append { files.iter().map(|file| file.rows).sum() } else { 0 };
    let of_file = |place: usize| commits.get(place).copied();
    let least = |range: &Option<(Time, Time)>| range.map(|(least, _)| least);
    let greatest = |range: &Option<(Time, Time)>| range.map(|(_, greatest)| greatest);
    let published = sqlx::query_scalar(PUBLISH)
        .bind(table.as_str())
        .bind(job_key)
        .bind(kind.as_str())
        .bind(rows)
        .bind((0..files.len()).map(|place| of_file(place).map(|(first, _)| first)).collect::<Vec<_>>())
        .bind((0..files.len()).map(|place| of_file(place).map(|(_, last)| last)).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.path.clone()).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.rows).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.size_bytes).collect::<Vec<_>>())
        .bind(files.iter().map(|file| least(&file.valid_at)).collect::<Vec<_>>())
        .bind(files.iter().map(|file| greatest(&file.valid_at)).collect::<Vec<_>>())
        .bind(files.iter().map(|file| least(&file.created_at)).collect::<Vec<_>>())
        .bind(files.iter().map(|file| greatest(&file.created_at)).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.timed_by.clone()).collect::<Vec<_>>());
    Ok(published.fetch_optional(connection).await?)
}

/// Publishes a merged file in place of others, or nothing: a repeat, or one of them is replaced already.
pub(crate) async fn replace(
    connection: &mut PgConnection,
    publication: &Publication<'_>,
    replaced: &[String],
) -> Result<bool, Error> {
    take_turns(connection).await?;
    let Some(version) = publish(connection, publication).await? else { return Ok(false) };
    let ended = sqlx::query(END_FILES).bind(version).bind(replaced).execute(connection).await?;
    Ok(ended.rows_affected() == replaced.len() as u64)
}

/// Ends all files of a table; nothing for a repeat.
pub(crate) async fn end_table(
    connection: &mut PgConnection,
    publication: &Publication<'_>,
) -> Result<(), Error> {
    take_turns(connection).await?;
    let Some(version) = publish(connection, publication).await? else { return Ok(()) };
    sqlx::query(END_TABLE).bind(publication.table.as_str()).bind(version).execute(connection).await?;
    Ok(())
}

/// Says of the commits of a table that their rows were taken away by another one.
pub(crate) async fn remove_commits(
    connection: &mut PgConnection,
    table: &Table,
    key: &str,
) -> Result<(), Error> {
    sqlx::query(REMOVE_COMMITS).bind(table.as_str()).bind(key).execute(connection).await?;
    Ok(())
}

/// How often rows of some tables were taken away.
pub(crate) async fn removals(pool: &PgPool, tables: &[Table]) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(REMOVALS).bind(names(tables)).fetch_one(pool).await?)
}

/// The same, which stays so until the transaction ends.
pub(crate) async fn hold_removals(connection: &mut PgConnection, tables: &[Table]) -> Result<i64, Error> {
    let counts: Vec<i64> =
        sqlx::query_scalar(HOLD_REMOVALS).bind(names(tables)).fetch_all(connection).await?;
    Ok(counts.into_iter().sum())
}

/// Counts that rows of some tables are taken away. Returns those of them that are there.
pub(crate) async fn count_removal(
    connection: &mut PgConnection,
    tables: &[Table],
) -> Result<Vec<Table>, Error> {
    take_turns(connection).await?;
    let counted: Vec<String> =
        sqlx::query_scalar(COUNT_REMOVAL).bind(names(tables)).fetch_all(connection).await?;
    Ok(counted.into_iter().map(Table::from).collect())
}

fn names(tables: &[Table]) -> Vec<&str> {
    tables.iter().map(Table::as_str).collect()
}

/// Forgets files that compactions replaced before an instant; what replaced them stands for them at every version.
pub(crate) async fn forget_ended(connection: &mut PgConnection, before: Time) -> Result<(), Error> {
    take_turns(connection).await?;
    let ended: Vec<(String, Version)> =
        sqlx::query_as(LIST_ENDED).bind(before).fetch_all(&mut *connection).await?;
    let (paths, versions): (Vec<String>, Vec<Version>) = ended.into_iter().unzip();
    sqlx::query(FORGET_FILES).bind(paths).execute(&mut *connection).await?;
    sqlx::query(EXTEND_FILES).bind(versions).execute(connection).await?;
    Ok(())
}

/// Those of some paths that the manifest knows.
pub(crate) async fn known(pool: &PgPool, paths: &[String]) -> Result<Vec<String>, Error> {
    Ok(sqlx::query_scalar(KNOWN_FILES).bind(paths).fetch_all(pool).await?)
}

#[derive(FromRow)]
struct FileRow {
    path: String,
    first_commit: i64,
    last_commit: i64,
    rows: i64,
    size_bytes: i64,
    valid_at_min: Option<Time>,
    valid_at_max: Option<Time>,
    created_at_min: Option<Time>,
    created_at_max: Option<Time>,
    timed_by: Option<String>,
}

pub(crate) async fn files(
    pool: &PgPool,
    table: &Table,
    commits: CommitRange,
) -> Result<Vec<LakeFile>, Error> {
    let rows: Vec<FileRow> = sqlx::query_as(LIST_FILES)
        .bind(table.as_str())
        .bind(commits.after)
        .bind(commits.upto)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(LakeFile::from).collect())
}

impl From<FileRow> for LakeFile {
    fn from(row: FileRow) -> Self {
        Self {
            path: row.path,
            first_commit: row.first_commit,
            last_commit: row.last_commit,
            rows: row.rows,
            size_bytes: row.size_bytes,
            valid_at: row.valid_at_min.zip(row.valid_at_max),
            created_at: row.created_at_min.zip(row.created_at_max),
            timed_by: row.timed_by,
        }
    }
}

/// Files of a table, whatever version reads them, and whether the newest does.
pub(crate) async fn files_ever(pool: &PgPool, table: &Table) -> Result<Vec<(LakeFile, bool)>, Error> {
    let rows: Vec<EverRow> = sqlx::query_as(FILES_EVER).bind(table.as_str()).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|EverRow { file, live }| (LakeFile::from(file), live)).collect())
}

#[derive(FromRow)]
struct EverRow {
    #[sqlx(flatten)]
    file: FileRow,
    live: bool,
}

/// Lets a file stand for another one, or nothing; false if the other one is not there.
pub(crate) async fn swap(
    connection: &mut PgConnection,
    path: &str,
    by: Option<&Staged>,
) -> Result<bool, Error> {
    let Some(by) = by else {
        let forgotten = sqlx::query(FORGET_FILES).bind(vec![path.to_owned()]).execute(connection).await?;
        return Ok(forgotten.rows_affected() == 1);
    };
    let swapped = sqlx::query(SWAP_FILE)
        .bind(path)
        .bind(&by.path)
        .bind(by.rows)
        .bind(by.size_bytes)
        .bind(by.valid_at.map(|(least, _)| least))
        .bind(by.valid_at.map(|(_, greatest)| greatest))
        .bind(by.created_at.map(|(least, _)| least))
        .bind(by.created_at.map(|(_, greatest)| greatest));
    Ok(swapped.execute(connection).await?.rows_affected() == 1)
}

/// Every table that was ever published to, by name.
pub(crate) async fn tables(pool: &PgPool) -> Result<Vec<Table>, Error> {
    let names: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(pool).await?;
    Ok(names.into_iter().map(Table::from).collect())
}

pub(crate) async fn commits(pool: &PgPool, table: &Table, range: CommitRange) -> Result<Vec<Commit>, Error> {
    let rows: Vec<(i64, String, i64, Time)> = sqlx::query_as(LIST_COMMITS)
        .bind(table.as_str())
        .bind(range.after)
        .bind(range.upto)
        .fetch_all(pool)
        .await?;
    let commit = |(version, job_key, rows, committed_at)| Commit { version, job_key, rows, committed_at };
    Ok(rows.into_iter().map(commit).collect())
}

/// The version that a table's commit under a job key made; `None` if there was none.
pub(crate) async fn commit_of(pool: &PgPool, table: &Table, job_key: &str) -> Result<Option<Version>, Error> {
    let version = sqlx::query_scalar(COMMIT_OF_KEY).bind(table.as_str()).bind(job_key);
    Ok(version.fetch_optional(pool).await?)
}

/// What a table's files are sorted by; `None` if nothing of it was ever published.
pub(crate) async fn keys(pool: &PgPool, table: &Table) -> Result<Option<Vec<String>>, Error> {
    Ok(sqlx::query_scalar(TABLE_KEYS).bind(table.as_str()).fetch_optional(pool).await?)
}

/// Tables of which a tier, as cut by rows, holds at least `full` files that are small in rows and bytes.
pub(crate) async fn fragmented(
    pool: &PgPool,
    tiers: &[i64],
    rows: i64,
    bytes: i64,
    full: usize,
) -> Result<Vec<Table>, Error> {
    let full = i64::try_from(full).unwrap_or(i64::MAX);
    let names: Vec<String> = sqlx::query_scalar(FRAGMENTED_TABLES)
        .bind(tiers)
        .bind(rows)
        .bind(bytes)
        .bind(full)
        .fetch_all(pool)
        .await?;
    Ok(names.into_iter().map(Table::from).collect())
}

#[cfg(test)]
mod tests {
    use tidemill_testkit::postgres::database;

    use super::*;

    #[tokio::test]
    async fn every_statement_fits_the_migrated_tables() {
        let database =
            database("lake_statements", async |database| Ok(crate::lake::migrate(&database.pool).await?));
        let database = database.await.unwrap();
        for (file, statement) in ALL {
            let prepared = sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
                "PREPARE statement AS {statement}; DEALLOCATE statement"
            )));
            prepared.execute(&database.pool).await.unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }
}
