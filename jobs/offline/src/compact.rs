//! Merging small files, and removing those that nobody reads.
//!
//! A merged file's rows name the commit they came with, so any version and any range of commits reads the same rows
//! as before: until the replaced files are collected from those, afterwards from the merged one.

use tidemill_core::Time;

use crate::{
    CommitKind, Error, Lake, LakeFile, Staged, Table, Version,
    manifest::{self, Publication},
    sql::{LAKE_COMMIT, text},
};

/// A file with more rows than this is left alone.
const MERGED_ROWS: i64 = 4_000_000;

impl Lake {
    /// Merges the table's small files and publishes the result; `None` if there is nothing to merge, or if someone
    /// else was faster. No answer at any version changes.
    pub async fn compact(&self, table: &Table) -> Result<Option<Version>, Error> {
        let keys = manifest::keys(&self.pool, table).await?.unwrap_or_default();
        let files = self.files(table, self.head().await?).await?;
        let (mut replaced, mut merged, mut commits) = (Vec::new(), Vec::new(), Vec::new());
        for group in groups(files) {
            merged.extend(self.merge(table, &keys, &group).await?);
            let first = group.iter().map(|file| file.first_commit).min();
            let last = group.iter().map(|file| file.last_commit).max();
            commits.extend(first.zip(last));
            replaced.extend(group.into_iter().map(|file| file.path));
        }
        if merged.is_empty() {
            return Ok(None);
        }
        self.replace(table, &replaced, &merged, &commits).await
    }

    async fn replace(
        &self,
        table: &Table,
        replaced: &[String],
        merged: &[Staged],
        commits: &[(Version, Version)],
    ) -> Result<Option<Version>, Error> {
        let mut tx = self.pool.begin().await?;
        let job_key = format!("compact/{}", merged.first().map_or("", |file| &file.path));
        let kind = CommitKind::Compact;
        let publication = Publication { table, job_key: &job_key, kind, files: merged, commits };
        let (version, fresh) = manifest::publish(&mut tx, &publication).await?;
        let ended = manifest::end_files(&mut tx, version, replaced).await?;
        // Another compaction replaced some of them meanwhile: its result stands, ours is garbage.
        if !fresh || ended != u64::try_from(replaced.len()).unwrap_or(u64::MAX) {
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(version))
    }

    /// One file of several, whose rows name their commits.
    async fn merge(
        &self,
        table: &Table,
        keys: &[String],
        group: &[LakeFile],
    ) -> Result<Option<Staged>, Error> {
        let mut parts = Vec::new();
        for file in group {
            let path = self.blobs.fetch(&file.path).await?;
            let commit = if file.first_commit == file.last_commit {
                // A file that was merged from one commit's names it already.
                format!(
                    "COLUMNS(column_name -> column_name <> '{LAKE_COMMIT}'), {}::BIGINT AS {LAKE_COMMIT}",
                    file.first_commit
                )
            } else {
                "*".to_owned()
            };
            parts.push(format!("SELECT {commit} FROM read_parquet([{}])", text(&path.to_string_lossy())));
        }
        let statement = parts.join(" UNION ALL BY NAME ");
        let doing = format!("merging {} files of {table}", group.len());
        let rows = self.duck.run(doing, move |session| session.query(&statement)).await?;
        self.stage(table, "compact", 0, keys, &rows.schema(), vec![rows]).await
    }

    /// Deletes files that compactions replaced and files that were staged but never published, both before an
    /// instant of real time; leave a day, so that no reader or job still has them in hand. Returns how many.
    pub async fn collect_garbage(&self, before: Time) -> Result<usize, Error> {
        let mut tx = self.pool.begin().await?;
        manifest::forget_ended(&mut tx, before).await?;
        tx.commit().await?;
        let stored = self.blobs.list("lake/").await?;
        let old = stored.into_iter().filter(|entry| entry.modified_at < before).map(|entry| entry.path);
        let old: Vec<String> = old.collect();
        let known = manifest::known(&self.pool, &old).await?;
        let garbage: Vec<String> = old.into_iter().filter(|path| !known.contains(path)).collect();
        for path in &garbage {
            self.blobs.delete_at(path).await?;
        }
        Ok(garbage.len())
    }
}

/// Small files that follow one another, in groups worth merging.
fn groups(files: Vec<LakeFile>) -> Vec<Vec<LakeFile>> {
    let mut groups: Vec<Vec<LakeFile>> = vec![Vec::new()];
    let mut rows = 0;
    for file in files.into_iter().filter(|file| file.rows < MERGED_ROWS / 2) {
        if rows + file.rows > MERGED_ROWS {
            groups.push(Vec::new());
            rows = 0;
        }
        rows += file.rows;
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}
