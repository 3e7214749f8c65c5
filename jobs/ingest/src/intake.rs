//! What the jobs of ingest do with an upload: digest a chunk, publish all of them, try dead letters again.
//!
//! The jobs and the `ingest` step call the same functions, so that a file is the same rows whichever way it comes.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use tidemill_blobs::Blobs;
use tidemill_catalog::{Catalog, ChunkPlan, Edge, Format, Node, Publication, Upload};
use tidemill_core::{Clock, RunId, Time, UploadId};
use tidemill_features::updates_of_source;
use tidemill_offline::{
    Lake, Staged, Table,
    upload::{ChunkInput, DeadRow, Digest, Stamp, dead_batch},
};
use tidemill_spec::{Extra, Source};
use tidemill_store::Tx;

use crate::{Error, Limits, Origin, columns::Naming, extra::Ignored, plain::place, split};

/// What ingest needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ingest {
    catalog: Catalog,
    lake: Lake,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

/// What a chunk's job staged, kept with the chunk until its upload is published. Stored, so fields are only ever
/// added, with a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkDigest {
    /// Valid rows.
    pub rows: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// The newest event.
    pub newest_event_at: Option<Time>,
    /// Some timestamp came without a zone.
    pub naive_timestamps: bool,
    /// Files for the source's table.
    pub staged: Vec<Staged>,
    /// Files for its dead letters.
    pub staged_dead: Vec<Staged>,
    /// What the rows had beyond the declared columns.
    #[serde(default)]
    pub(crate) ignored: Ignored,
}

/// As what rows are taken.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    /// The source as it counts for them.
    pub(crate) source: Source,
    /// What they came with.
    pub(crate) origin: Origin,
    /// What is written into each.
    pub(crate) stamp: Stamp,
}

impl From<&Upload> for Intake {
    fn from(upload: &Upload) -> Self {
        Self {
            source: upload.definition.clone(),
            origin: Origin::Upload(upload.id),
            stamp: Stamp::of_upload(upload.created_at, upload.ordinal),
        }
    }
}

impl Ingest {
    /// Puts together what ingest needs.
    pub fn new(catalog: Catalog, lake: Lake, blobs: Blobs, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { catalog, lake, blobs, clock, limits }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Where files are kept.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) async fn now_data(&self) -> Result<Time, Error> {
        Ok(self.catalog.store().data_clock().await?.at(self.clock.now()))
    }

    /// Bytes of an accepted file.
    pub async fn size_of(&self, id: UploadId) -> Result<u64, Error> {
        Ok(u64::try_from(self.upload(id).await?.size_bytes).unwrap_or(0))
    }

    pub(crate) async fn upload(&self, id: UploadId) -> Result<Upload, Error> {
        // One that never came into the lake may have been taken away, with its file.
        let there = |upload: &Upload| upload.removed_at.is_none() || upload.published_at.is_some();
        self.catalog.upload(id).await?.filter(there).ok_or(Error::NoUpload(id))
    }

    /// Types and judges one chunk and stages what came out. Safe to repeat: files are named by upload and chunk.
    pub(crate) async fn digest_chunk(
        &self,
        upload: &Upload,
        number: u32,
        plan: ChunkPlan,
    ) -> Result<ChunkDigest, Error> {
        let path = self.blobs.fetch(&place(&upload.sha256, upload.format, &upload.definition)).await?;
        let (input, mut dead, ignored) = if upload.format == Format::Parquet {
            parquet_rows(path, upload, &plan)
        } else {
            let (upload, format) = (upload.clone(), upload.format);
            let split = tokio::task::spawn_blocking(move || split_chunk(&path, &upload, &plan))
                .await
                .map_err(std::io::Error::other)??;
            (text_rows(format, split.rows), split.dead, split.ignored)
        };
        let intake = Intake::from(upload);
        let digest = self.digest(input, &intake).await?;
        dead.extend(digest.dead);
        dead.sort_by_key(|letter| letter.row);
        let key = upload.id.to_string();
        Ok(ChunkDigest {
            rows: digest.rows.num_rows() as u64,
            dead_letters: dead.len() as u64,
            newest_event_at: digest.newest_event_at,
            naive_timestamps: digest.naive_timestamps,
            staged: self.stage(&intake, &key, number, digest.rows).await?,
            staged_dead: self.stage_dead(&intake, &key, number, &dead, upload.accepted_at, false).await?,
            ignored,
        })
    }

    /// What each chunk became; those that no job has digested are digested here, one after another. `progress` hears how
    /// many of how many are done.
    pub(crate) async fn digests(
        &self,
        upload: &Upload,
        progress: impl Fn(u64, u64),
    ) -> Result<Vec<ChunkDigest>, Error> {
        let chunks = self.catalog.chunks::<ChunkDigest>(upload.id).await?;
        let total = chunks.len() as u64;
        let mut digests = Vec::new();
        for chunk in chunks {
            digests.push(match chunk.digest {
                Some(digest) => digest,
                None => self.digest_chunk(upload, chunk.number, chunk.plan).await?,
            });
            progress(digests.len() as u64, total);
        }
        Ok(digests)
    }

    pub(crate) async fn digest(&self, input: ChunkInput, intake: &Intake) -> Result<Digest, Error> {
        Ok(self.lake.digest(input, intake.source.clone(), intake.stamp).await?)
    }

    /// Stages rows of a source.
    pub(crate) async fn stage(
        &self,
        intake: &Intake,
        key: &str,
        number: u32,
        rows: RecordBatch,
    ) -> Result<Vec<Staged>, Error> {
        let source = &intake.source;
        let table = Table::source(&source.name);
        let schema = tidemill_rows::source_schema(source);
        let staged = self.lake.stage(&table, key, number, &source.unique, &schema, vec![rows]).await?;
        let timed_by = Some(source.available_time.clone());
        Ok(staged.into_iter().map(|staged| Staged { timed_by: timed_by.clone(), ..staged }).collect())
    }

    /// Stages dead letters; `deleted` says that they are letters no more. `told_at` is real time: a frozen data clock
    /// would not tell a letter from the one that replaces it.
    pub(crate) async fn stage_dead(
        &self,
        intake: &Intake,
        key: &str,
        number: u32,
        dead: &[DeadRow],
        told_at: Time,
        deleted: bool,
    ) -> Result<Vec<Staged>, Error> {
        let rows = dead_batch(&intake.origin.to_string(), intake.stamp, dead, told_at, deleted)?;
        let (table, schema) = (Table::dead(&intake.source.name), rows.schema());
        let staged = self.lake.stage(&table, key, number, &[], &schema, vec![rows]).await?;
        Ok(staged.into_iter().collect())
    }

    /// Makes every chunk of an upload visible in one version, writes down what was found, and asks for the features that
    /// read the source. Safe to repeat: the lake publishes a key once. Nothing but the commit should follow: everybody
    /// who publishes waits for it.
    pub(crate) async fn publish(
        &self,
        tx: &mut Tx,
        upload: &Upload,
        digests: &[ChunkDigest],
        run: RunId,
    ) -> Result<Publication, Error> {
        // A view that is declared from now on is computed after this commit, and sees its rows without being asked.
        self.catalog.hold_objects(tx).await?;
        let key = upload.id.to_string();
        let staged =
            |of: fn(&ChunkDigest) -> &Vec<Staged>| digests.iter().flat_map(of).cloned().collect::<Vec<_>>();
        let (dead, rows) = (staged(|digest| &digest.staged_dead), staged(|digest| &digest.staged));
        self.publish_files(tx, &upload.source, &key, &dead, &rows).await?;
        let sum = |of: fn(&ChunkDigest) -> u64| {
            i64::try_from(digests.iter().map(of).sum::<u64>()).unwrap_or(i64::MAX)
        };
        let mut ignored = Ignored::default();
        for digest in digests {
            ignored.extend(&digest.ignored);
        }
        let publication = Publication {
            rows: sum(|digest| digest.rows),
            dead_letters: sum(|digest| digest.dead_letters),
            newest_event_at: digests.iter().filter_map(|digest| digest.newest_event_at).max(),
            naive_timestamps: digests.iter().any(|digest| digest.naive_timestamps),
            ignored: ignored.into_counts(),
        };
        self.catalog.publish_upload(tx, upload.id, &publication).await?;
        let edge = Edge {
            run: Some(run),
            ..Edge::new(Node::Upload(upload.id), Node::Source(upload.source.clone()))
        };
        self.catalog.lineage(tx, &[edge]).await?;
        self.update_features(tx, &upload.source).await?;
        Ok(publication)
    }

    /// Dead letters first: whoever sees the rows can see what is missing among them.
    pub(crate) async fn publish_files(
        &self,
        tx: &mut Tx,
        source: &str,
        key: &str,
        dead: &[Staged],
        rows: &[Staged],
    ) -> Result<(), Error> {
        for (table, files) in [(Table::dead(source), dead), (Table::source(source), rows)] {
            if !files.is_empty() {
                self.lake.publish(tx.conn(), &table, key, files).await?;
            }
        }
        Ok(())
    }

    /// Asks for the features that read a source. Last: whoever asks for the same waits for the commit.
    pub async fn update_features(&self, tx: &mut Tx, source: &str) -> Result<(), Error> {
        let updates = updates_of_source(&self.catalog, tx, source).await?;
        self.catalog.store().enqueue_all(tx, &updates).await?;
        Ok(())
    }
}

/// Rows that were split, to be read as their format writes values.
pub(crate) fn text_rows(format: Format, rows: RecordBatch) -> ChunkInput {
    if format == Format::Csv { ChunkInput::Csv(rows) } else { ChunkInput::Json(rows) }
}

/// Rows of a Parquet file are read in place.
fn parquet_rows(path: PathBuf, upload: &Upload, plan: &ChunkPlan) -> (ChunkInput, Vec<DeadRow>, Ignored) {
    let (source, header) = (&upload.definition, &upload.header);
    let naming = Naming::of_header(source, header);
    let there =
        |in_file: Option<&str>| header.iter().find(|column| Some(column.as_str()) == in_file).cloned();
    let extra = naming.extra(header);
    let mut ignored = Ignored::default();
    if source.extra == Extra::Ignore {
        for name in &extra {
            ignored.add(name, plan.end - plan.start);
        }
    }
    let input = ChunkInput::Parquet {
        path,
        rows: plan.start..plan.end,
        columns: naming.names().map(there).collect(),
        extra: extra.into_iter().map(str::to_owned).collect(),
    };
    (input, Vec::new(), ignored)
}

fn split_chunk(path: &Path, upload: &Upload, plan: &ChunkPlan) -> Result<split::Split, Error> {
    let mut bytes = vec![0; usize::try_from(plan.end - plan.start).unwrap_or(0)];
    File::open(path)?.read_exact_at(&mut bytes, plan.start)?;
    Ok(split::split(upload.format, &bytes, plan, &upload.header, &upload.definition)?)
}
