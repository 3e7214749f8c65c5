//! Merging small files, and removing those that nobody reads.
//!
//! A merged file's rows name the commit they came with, so any version and any range of commits reads the same rows
//! as before: until the replaced files are collected from those, afterwards from the merged one.
//!
//! Small files are sorted into tiers by their rows, and a tier is merged when it has grown full: so each row is
//! rewritten about once for each tier, however many commits there are (as in size-tiered compaction of log-structured
//! stores).

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use tidemill_core::Time;

use crate::{
    CommitKind, Error, Lake, LakeFile, Staged, Table,
    manifest::{self, Publication},
    scan::{LAKE_COMMIT, Types, agree, as_stored},
    sql::text,
};

/// Rows of a file from which it belongs to the next tier.
const TIERS: [i64; 2] = [10_000, 100_000];
/// A file with as many rows or bytes is left alone.
const LARGE_ROWS: i64 = 500_000;
const LARGE_BYTES: i64 = 64 << 20;

impl Lake {
    /// Tables of which a tier holds at least `full` files, by name.
    pub async fn fragmented(&self, full: usize) -> Result<Vec<Table>, Error> {
        manifest::fragmented(&self.pool, &TIERS, LARGE_ROWS, LARGE_BYTES, full).await
    }

    /// Files of a table worth one each, tier by tier, where a tier holds at least `full`; each group is at most twice
    /// as large as what is left alone, so that it can be merged in memory. Files that have a column of two types stay
    /// apart: one type couldn't hold what both say.
    pub async fn mergeable(&self, table: &Table, full: usize) -> Result<Vec<Vec<LakeFile>>, Error> {
        let mut mergeable = Vec::new();
        for group in groups(self.files(table, self.head().await?).await?, full) {
            mergeable.extend(self.alike(group).await?.into_iter().filter(|files| files.len() > 1));
        }
        Ok(mergeable)
    }

    /// The files of a group, those of the same types together.
    async fn alike(&self, group: Vec<LakeFile>) -> Result<Vec<Vec<LakeFile>>, Error> {
        let mut alike: Vec<(Types, Vec<LakeFile>)> = Vec::new();
        for file in group {
            let types = self.types(&file.path).await?;
            match alike.iter_mut().find(|(known, _)| agree(known, &types)) {
                Some((known, files)) => {
                    known.extend(types.iter().map(|(name, ty)| (name.clone(), *ty)));
                    files.push(file);
                }
                None => alike.push(((*types).clone(), vec![file])),
            }
        }
        Ok(alike.into_iter().map(|(_, files)| files).collect())
    }

    /// Writes one file of several, which no reader sees before [`Self::replace`]. Safe to repeat.
    pub async fn merge(&self, table: &Table, files: &[LakeFile]) -> Result<Option<Staged>, Error> {
        let keys = manifest::keys(&self.pool, table).await?.unwrap_or_default();
        let (mut parts, mut types) = (Vec::new(), Types::new());
        for file in files {
            let path = self.blobs.fetch(&file.path).await?;
            types.extend(self.types(&file.path).await?.iter().map(|(name, ty)| (name.clone(), *ty)));
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
        let doing = format!("merging {} files of {table}", files.len());
        let rows = self.duck.run(doing, move |session| session.query(&statement)).await?;
        let rows = as_stored(&rows, &types)?;
        let merged = self.stage(table, "compact", 0, &keys, &rows.schema(), vec![rows]).await?;
        let timed_by = files.first().and_then(|file| file.timed_by.clone());
        let same = files.iter().all(|file| file.timed_by == timed_by);
        Ok(merged.map(|merged| Staged { timed_by: timed_by.filter(|_| same), ..merged }))
    }

    /// Lets a merged file stand for those it was made of, when the caller's transaction commits; no answer at any
    /// version changes. Other merges wait for it (`docs/explanation/locks.md`). False if somebody else replaced one of
    /// them meanwhile: roll back, and the merged file is garbage.
    pub async fn replace(
        &self,
        connection: &mut PgConnection,
        table: &Table,
        files: &[LakeFile],
        merged: &Staged,
    ) -> Result<bool, Error> {
        let first = files.iter().map(|file| file.first_commit).min().unwrap_or_default();
        let last = files.iter().map(|file| file.last_commit).max().unwrap_or_default();
        let publication = Publication {
            table,
            job_key: &format!("compact/{}", merged.path),
            kind: CommitKind::Compact,
            files: std::slice::from_ref(merged),
            commits: &[(first, last)],
        };
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        manifest::replace(connection, &publication, &paths).await
    }

    /// Deletes files that compactions replaced, and files that were staged but never published and are not among
    /// those `awaited`, both before an instant of real time; leave a day, so that no reader or job still has them in
    /// hand. Returns how many. Safe to repeat.
    pub async fn collect_garbage(&self, before: Time, awaited: &BTreeSet<String>) -> Result<usize, Error> {
        let mut tx = self.pool.begin().await?;
        manifest::forget_ended(&mut tx, before).await?;
        tx.commit().await?;
        let stored = self.blobs.list("lake/").await?;
        let old = stored.into_iter().filter(|entry| entry.modified_at < before).map(|entry| entry.path);
        let old: Vec<String> = old.collect();
        let known: BTreeSet<String> = manifest::known(&self.pool, &old).await?.into_iter().collect();
        let garbage: Vec<String> =
            old.into_iter().filter(|path| !known.contains(path) && !awaited.contains(path)).collect();
        for path in &garbage {
            self.blobs.delete_at(path).await?;
        }
        Ok(garbage.len())
    }
}

/// What to merge: of each tier that is full, its files in the order of their commits, cut where a group grows large.
fn groups(files: Vec<LakeFile>, full: usize) -> Vec<Vec<LakeFile>> {
    let mut tiers: BTreeMap<usize, Vec<LakeFile>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| file.rows < LARGE_ROWS && file.size_bytes < LARGE_BYTES) {
        tiers.entry(tier(file.rows)).or_default().push(file);
    }
    tiers.into_values().filter(|files| files.len() >= full.max(2)).flat_map(cut).collect()
}

fn tier(rows: i64) -> usize {
    TIERS.iter().filter(|least| rows >= **least).count()
}

/// Groups of at least two: any two small files fit together.
fn cut(files: Vec<LakeFile>) -> Vec<Vec<LakeFile>> {
    let mut groups: Vec<Vec<LakeFile>> = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for file in files {
        let fits = rows + file.rows <= 2 * LARGE_ROWS && bytes + file.size_bytes <= 2 * LARGE_BYTES;
        if !fits {
            (rows, bytes) = (0, 0);
        }
        rows += file.rows;
        bytes += file.size_bytes;
        match groups.last_mut() {
            Some(group) if fits => group.push(file),
            _ => groups.push(vec![file]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(commit: i64, rows: i64, size_bytes: i64) -> LakeFile {
        let path = format!("lake/{commit}-{rows}.parquet");
        LakeFile {
            path,
            first_commit: commit,
            last_commit: commit,
            rows,
            size_bytes,
            valid_at: None,
            created_at: None,
            timed_by: None,
        }
    }

    proptest! {
        #[test]
        fn a_full_tier_has_something_to_merge_and_no_file_is_merged_twice_or_when_large(
            sizes in prop::collection::vec((1_i64..700_000, 1_i64..(80 << 20)), 0..40),
            full in 2_usize..9,
        ) {
            let small = |rows: i64, bytes: i64| rows < LARGE_ROWS && bytes < LARGE_BYTES;
            let files: Vec<LakeFile> =
                (1..).zip(&sizes).map(|(commit, (rows, bytes))| file(commit, *rows, *bytes)).collect();
            let mut held: BTreeMap<usize, usize> = BTreeMap::new();
            for of in files.iter().filter(|of| small(of.rows, of.size_bytes)) {
                *held.entry(tier(of.rows)).or_default() += 1;
            }
            let groups = groups(files, full);
            prop_assert_eq!(groups.is_empty(), held.values().all(|count| *count < full));
            let mut seen = BTreeSet::new();
            for group in &groups {
                prop_assert!(group.len() > 1);
                prop_assert!(group.iter().map(|of| of.rows).sum::<i64>() <= 2 * LARGE_ROWS);
                prop_assert!(group.iter().map(|of| of.size_bytes).sum::<i64>() <= 2 * LARGE_BYTES);
                prop_assert!(group.iter().all(|of| small(of.rows, of.size_bytes) && seen.insert(of.path.clone())));
            }
        }
    }

    /// Commits of a few rows for weeks: what is read stays few files, and no row is rewritten again and again.
    #[test]
    fn files_stay_few_and_rows_are_rewritten_about_once_for_each_tier() {
        let full = 8;
        let (mut files, mut written, mut rewritten, mut most) = (Vec::new(), 0, 0, 0);
        for commit in 1..=20_000 {
            files.push(file(commit, 500, 10_000));
            written += 500;
            for group in groups(files.clone(), full) {
                let rows = group.iter().map(|of| of.rows).sum();
                let bytes = group.iter().map(|of| of.size_bytes).sum();
                rewritten += rows;
                files.retain(|of| !group.contains(of));
                files.push(file(commit, rows, bytes));
            }
            most = most.max(files.len());
        }
        assert_eq!(files.iter().map(|of| of.rows).sum::<i64>(), written);
        assert!(most <= 3 * full + 20_000 * 500 / usize::try_from(LARGE_ROWS).unwrap(), "{most} files");
        assert!(rewritten <= 5 * written, "each row was written {} times", rewritten / written);
    }
}
