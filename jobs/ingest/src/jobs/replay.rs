//! `ingest.replay`: gives the dead letters of a source another try, after its declaration was corrected.
//!
//! Rows that are valid now get the `seq` and `created_at` they would have had; their letters are marked as gone, the
//! rest keep their newest reason. Safe to repeat: what one run published is no letter for the next, and one run at a
//! time works on a source.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tidemill_catalog::Upload;
use tidemill_core::{Fault, JobError, Kind, Time, UploadId};
use tidemill_offline::{Staged, Table, upload::DeadRow};
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::args::{INGEST_REPLAY, IngestReplay};
use tidemill_store::NewJob;

use crate::{Error, Ingest, intake::text_rows, split::revive};

/// Letters that one run takes at most; the next run takes the next ones.
const LETTERS_MAX: u32 = 200_000;

/// The job.
#[derive(Debug)]
pub struct ReplayJob {
    ingest: Ingest,
}

/// What came of the letters of one upload.
#[derive(Debug)]
struct Revived {
    upload: UploadId,
    rows: i64,
    newest_event_at: Option<Time>,
    staged: Vec<Staged>,
    staged_dead: Vec<Staged>,
}

impl ReplayJob {
    /// With what it needs.
    pub fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }

    /// The job for a source; asking again while one waits changes nothing.
    pub fn of(source: &str) -> NewJob {
        let key = format!("{INGEST_REPLAY}/{source}");
        NewJob {
            key: Some(key.clone()),
            concurrency_key: Some(key),
            ..job_new(INGEST_REPLAY, &IngestReplay { source: source.to_owned() })
        }
    }

    async fn revive(
        &self,
        number: u32,
        upload: &Upload,
        dead: &[DeadRow],
        key: &str,
        told_at: Time,
    ) -> Result<Revived, Error> {
        let split = revive(upload.format, dead.iter(), &upload.definition)?;
        let digest = self.ingest.digest(text_rows(upload.format, split.rows), upload).await?;
        let still: BTreeMap<i64, DeadRow> =
            split.dead.into_iter().chain(digest.dead).map(|letter| (letter.row, letter)).collect();
        let gone: Vec<_> = dead.iter().filter(|letter| !still.contains_key(&letter.row)).cloned().collect();
        // A letter whose reason hasn't changed needs no new one.
        let known: BTreeSet<(i64, &str)> =
            dead.iter().map(|letter| (letter.row, letter.reason.as_str())).collect();
        let retold: Vec<_> = still
            .into_values()
            .filter(|letter| !known.contains(&(letter.row, letter.reason.as_str())))
            .collect();

        let ingest = &self.ingest;
        let mut staged_dead = ingest.stage_dead(upload, key, 2 * number, &gone, told_at, true).await?;
        staged_dead.extend(ingest.stage_dead(upload, key, 2 * number + 1, &retold, told_at, false).await?);
        Ok(Revived {
            upload: upload.id,
            rows: i64::try_from(gone.len()).unwrap_or(i64::MAX),
            newest_event_at: digest.newest_event_at,
            staged: ingest.stage(upload, key, number, digest.rows).await?,
            staged_dead,
        })
    }

    /// Dead letters by upload.
    async fn letters(&self, source: &str) -> Result<Vec<(Upload, Vec<DeadRow>)>, Error> {
        let mut by_upload: BTreeMap<UploadId, Vec<DeadRow>> = BTreeMap::new();
        for (upload, letter) in self.ingest.dead_rows(source, LETTERS_MAX).await? {
            by_upload.entry(upload).or_default().push(letter);
        }
        let mut letters = Vec::new();
        for (upload, dead) in by_upload {
            letters.push((self.ingest.upload(upload).await?, dead));
        }
        Ok(letters)
    }
}

impl Job for ReplayJob {
    type Args = IngestReplay;
    /// When the letters were told again, real time; fixed so that a retry stages the same.
    type Checkpoint = Time;
    const KIND: Kind = INGEST_REPLAY;

    async fn run(&self, args: &IngestReplay, cx: &mut Context<Time>) -> Result<Outcome, JobError> {
        let told_at = if let Some(told_at) = cx.checkpoint() {
            *told_at
        } else {
            let told_at = cx.clock().now();
            cx.save_checkpoint(told_at).await?;
            told_at
        };
        let catalog = self.ingest.catalog();
        let objects = catalog.objects().await.map_err(Error::from)?;
        let declared = objects.sources.get(&args.source);
        let declared =
            declared.ok_or_else(|| Error::UnknownSource { name: args.source.clone(), near: None })?;

        // Before the letters are read: whose rows are taken away meanwhile may not come back.
        let tables = [Table::dead(&args.source), Table::source(&args.source)];
        let removals = self.ingest.lake().removals(&tables).await.map_err(Error::from)?;
        let letters = self.letters(&args.source).await?;
        let key = cx.job().to_string();
        let mut revived = Vec::new();
        for (number, (upload, dead)) in (0_u32..).zip(&letters) {
            let upload = Upload { definition: declared.clone(), ..upload.clone() };
            revived.push(self.revive(number, &upload, dead, &key, told_at).await?);
        }

        let rows: i64 = revived.iter().map(|of| of.rows).sum();
        let all = letters.iter().map(|(_, dead)| dead.len()).sum::<usize>();
        let left = i64::try_from(all).unwrap_or(i64::MAX) - rows;
        let staged: Vec<Staged> = revived.iter().flat_map(|of| &of.staged).cloned().collect();
        let staged_dead: Vec<Staged> = revived.iter().flat_map(|of| &of.staged_dead).cloned().collect();
        let mut tx = cx.begin().await?;
        catalog.hold_objects(&mut tx).await.map_err(Error::from)?;
        self.ingest.publish_files(&mut tx, &args.source, &key, &staged_dead, &staged).await?;
        let held = self.ingest.lake().hold_removals(tx.conn(), &tables).await.map_err(Error::from)?;
        if held != removals {
            let fault = Fault::new(format!("rows of source `{}` were taken away meanwhile", args.source));
            return Err(JobError::Conflict(fault));
        }
        for of in revived.iter().filter(|of| of.rows > 0) {
            let newest = of.newest_event_at;
            catalog.replay_upload(&mut tx, of.upload, of.rows, newest).await.map_err(Error::from)?;
        }
        if rows > 0 {
            self.ingest.update_features(&mut tx, &args.source).await?;
        }
        cx.log(format!("{rows} dead letters became rows, {left} are left"));
        cx.commit(tx, json!({ "rows": rows, "dead_letters": left })).await
    }
}
