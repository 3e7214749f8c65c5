//! `ingest.replay`: gives the dead letters of a source another try, after its declaration was corrected.
//!
//! Rows that are valid now get the `seq` and `created_at` they would have had; their letters are marked as gone, the
//! rest keep their newest reason. Safe to repeat: what one run published is no letter for the next, and one run at a
//! time works on a source.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tidemill_catalog::{Format, StreamRef};
use tidemill_core::{Fault, JobError, Kind, Time};
use tidemill_offline::{
    Staged, Table,
    upload::{DeadRow, Stamp, StreamPlace},
};
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::{
    Source,
    args::{INGEST_REPLAY, IngestReplay},
};
use tidemill_store::{NewJob, Tx};

use crate::{
    Error, Ingest, Origin,
    intake::{Intake, text_rows},
    split::{format_of, revive},
};

/// Letters that one run takes at most; the next run takes the next ones.
const LETTERS_MAX: u32 = 200_000;

/// The job.
#[derive(Debug)]
pub struct ReplayJob {
    ingest: Ingest,
}

/// What came of letters that were accepted together.
#[derive(Debug)]
struct Revived {
    origin: Origin,
    /// Numbers of the rows that are valid now.
    rows: Vec<i64>,
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
        (format, intake): &(Format, Intake),
        dead: &[DeadRow],
        key: &str,
        told_at: Time,
    ) -> Result<Revived, Error> {
        let split = revive(*format, dead.iter(), &intake.source)?;
        let digest = self.ingest.digest(text_rows(*format, split.rows), intake).await?;
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
        let mut staged_dead = ingest.stage_dead(intake, key, 2 * number, &gone, told_at, true).await?;
        staged_dead.extend(ingest.stage_dead(intake, key, 2 * number + 1, &retold, told_at, false).await?);
        Ok(Revived {
            origin: intake.origin.clone(),
            rows: gone.iter().map(|letter| letter.row).collect(),
            newest_event_at: digest.newest_event_at,
            staged: ingest.stage(intake, key, number, digest.rows).await?,
            staged_dead,
        })
    }

    /// Dead letters of a source, those that were accepted together side by side, with how they are taken now.
    async fn letters(&self, declared: &Source) -> Result<Vec<((Format, Intake), Vec<DeadRow>)>, Error> {
        let mut together: BTreeMap<(Origin, Time), Vec<DeadRow>> = BTreeMap::new();
        for (origin, letter) in self.ingest.letters(&declared.name, LETTERS_MAX).await? {
            together.entry((origin, letter.created_at)).or_default().push(letter.row);
        }
        let mut letters = Vec::new();
        for ((origin, created_at), dead) in together {
            letters.push((self.taken(declared, origin, created_at).await?, dead));
        }
        Ok(letters)
    }

    /// As what rows of an origin are taken, now that their source is declared so.
    async fn taken(
        &self,
        declared: &Source,
        origin: Origin,
        created_at: Time,
    ) -> Result<(Format, Intake), Error> {
        let source = declared.clone();
        match &origin {
            Origin::Upload(id) => {
                let upload = self.ingest.upload(*id).await?;
                Ok((upload.format, Intake { source, ..Intake::from(&upload) }))
            }
            Origin::Topic { .. } => {
                let format = source.stream.as_ref().map_or(Format::Jsonl, format_of);
                Ok((format, Intake { source, origin, stamp: Stamp::of_stream(created_at) }))
            }
        }
    }

    /// Notes where the rows that are valid now came from.
    async fn note(&self, tx: &mut Tx, source: &str, revived: &Revived) -> Result<(), Error> {
        let catalog = self.ingest.catalog();
        match &revived.origin {
            Origin::Upload(id) => {
                let rows = count(revived.rows.len());
                Ok(catalog.replay_upload(tx, *id, rows, revived.newest_event_at).await?)
            }
            Origin::Topic { cluster, topic } => {
                let (cluster, topic) = (cluster.clone(), topic.clone());
                let stream = StreamRef { source: source.to_owned(), cluster, topic };
                let mut of: BTreeMap<i32, i64> = BTreeMap::new();
                for row in &revived.rows {
                    *of.entry(StreamPlace::of_row(*row).partition).or_default() += 1;
                }
                Ok(catalog.replay_stream(tx, &stream, &of.into_iter().collect::<Vec<_>>()).await?)
            }
        }
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
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
        let letters = self.letters(declared).await?;
        let key = cx.job().to_string();
        let mut revived = Vec::new();
        for (number, (taken, dead)) in (0_u32..).zip(&letters) {
            revived.push(self.revive(number, taken, dead, &key, told_at).await?);
        }

        let rows = count(revived.iter().map(|of| of.rows.len()).sum());
        let left = count(letters.iter().map(|(_, dead)| dead.len()).sum()) - rows;
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
        for of in revived.iter().filter(|of| !of.rows.is_empty()) {
            self.note(&mut tx, &args.source, of).await?;
        }
        if rows > 0 {
            self.ingest.update_features(&mut tx, &args.source).await?;
        }
        cx.log(format!("{rows} dead letters became rows, {left} are left"));
        cx.commit(tx, json!({ "rows": rows, "dead_letters": left })).await
    }
}
