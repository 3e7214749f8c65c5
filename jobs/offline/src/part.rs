//! Some rows of tables, taken out of their newest version.
//!
//! A file that holds some is written again without them. From the next version on the new one stands in its place, with the
//! commits of the old one, as after a merge: whoever consumes a table by its commits finds none of its rows a second time.
//! Versions of before read the old file until it is collected, a day later, and the new one then.

use std::collections::BTreeMap;

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::{filter_record_batch, not},
    error::ArrowError,
};
use sqlx::PgConnection;

use crate::{
    CommitKind, Error, Lake, LakeFile, Staged, Table,
    manifest::{self, Publication},
    scan::as_stored,
    sql::text,
};

/// Files of which rows go, with what is left of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partings {
    tables: BTreeMap<Table, Vec<(LakeFile, Option<Staged>)>>,
    rows: i64,
}

impl Partings {
    /// How many rows go.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// The tables that lose some.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.keys()
    }
}

impl Lake {
    /// Writes files of a table's newest version again without the rows that are `gone`, and adds them to `partings`. No reader
    /// sees anything of it before [`part_with`](Self::part_with). Safe to repeat, under the same `key`, which names the act.
    ///
    /// # Errors
    /// A file can't be read or written, or `gone` fails.
    pub async fn without_rows(
        &self,
        partings: &mut Partings,
        table: &Table,
        files: Vec<LakeFile>,
        key: &str,
        gone: impl Fn(&RecordBatch) -> Result<BooleanArray, ArrowError> + Sync,
    ) -> Result<(), Error> {
        let keys = manifest::keys(&self.pool, table).await?.unwrap_or_default();
        for file in files {
            let path = self.blobs.fetch(&file.path).await?;
            let statement = format!("SELECT * FROM read_parquet([{}])", text(&path.to_string_lossy()));
            let doing = format!("reading a file of {table}");
            let rows = self.duck.run(doing, move |session| session.query(&statement)).await?;
            let rows = as_stored(&rows, &*self.types(&file.path).await?)?;
            let rest = gone(&rows).and_then(|gone| filter_record_batch(&rows, &not(&gone)?));
            let rest = rest.map_err(tidemill_rows::Error::from)?;
            if rest.num_rows() == rows.num_rows() {
                continue;
            }
            partings.rows += i64::try_from(rows.num_rows() - rest.num_rows()).unwrap_or(i64::MAX);
            // Files with the same rows left must not become one.
            let of_file = format!("{key}/{}", file.path);
            let rest = self.stage(table, &of_file, 0, &keys, &rest.schema(), vec![rest]).await?;
            let rest = rest.map(|rest| Staged { timed_by: file.timed_by.clone(), ..rest });
            partings.tables.entry(table.clone()).or_default().push((file, rest));
        }
        Ok(())
    }

    /// Lets what is left stand in the place of the files, when the caller's transaction commits: first of all in it, but for
    /// what is declared (`docs/explanation/locks.md`). Who has read one of the tables before can't commit what follows from it
    /// any more. False if somebody has merged or collected one of the files meanwhile: roll back, and look again.
    pub async fn part_with(
        &self,
        connection: &mut PgConnection,
        partings: &Partings,
        key: &str,
    ) -> Result<bool, Error> {
        let tables: Vec<Table> = partings.tables().cloned().collect();
        manifest::count_removal(connection, &tables).await?;
        for (table, parted) in &partings.tables {
            let (mut files, mut commits) = (Vec::new(), Vec::new());
            for (file, rest) in parted {
                if let Some(rest) = rest {
                    files.push(rest.clone());
                    commits.push((file.first_commit, file.last_commit));
                }
            }
            let kind = CommitKind::Compact;
            let publication = Publication { table, job_key: key, kind, files: &files, commits: &commits };
            let paths: Vec<String> = parted.iter().map(|(file, _)| file.path.clone()).collect();
            if !manifest::replace(connection, &publication, &paths).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
