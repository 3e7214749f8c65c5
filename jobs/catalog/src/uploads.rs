//! Accepted files and their chunks.
//!
//! An upload row is the receipt: it is written in the transaction that enqueues the work. `ingest` decides, this
//! module remembers.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{FromRow, Row as _, postgres::PgRow, types::Json};
use tidemill_core::{RunId, Time, UploadId};
use tidemill_spec::Source;
use tidemill_store::Tx;
use uuid::Uuid;

use crate::{Catalog, Error, connection::ordered_json};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Parquet, Self::Jsonl];

    /// The word that requests, SQL and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
        }
    }

    /// The format that a file's name tells, packed or not.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let name = [".gz", ".zst"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" | "tsv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }

    /// The format of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An accepted file whose rows aren't in the lake yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpublished {
    /// Its place in the order of acceptance.
    pub ordinal: i64,
    /// The source.
    pub source: String,
    /// Its ingest still runs; else it has failed, or was paused or cancelled.
    pub running: bool,
}

/// A file about to be accepted.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// The source as declared now: what every chunk validates against.
    pub source: Source,
    /// SHA-256 of the whole file, in hex.
    pub sha256: String,
    /// The upload that is repeated by force.
    pub repeat_of: Option<UploadId>,
    /// Of rows that were pushed: what makes a repeat of the call the same upload.
    pub push_key: Option<String>,
    /// How the file is written.
    pub format: Format,
    /// Its name, for people.
    pub file_name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its columns in the file's order; empty for JSONL.
    pub header: Vec<String>,
    /// The data clock now.
    pub created_at: Time,
    /// Its parts.
    pub chunks: Vec<ChunkPlan>,
}

/// A part of a file: bytes of a text file, whole lines; rows of a Parquet file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlan {
    /// First byte, or row from 0.
    pub start: u64,
    /// First byte, or row, not taken.
    pub end: u64,
    /// Data rows before it in the file.
    pub rows_before: u64,
    /// Lines before it in a text file, the header included; 0 for Parquet.
    pub lines_before: u64,
}

/// A chunk as planned, with what its job staged. `D` is `ingest`'s own type, kept as JSON.
#[derive(Clone, Debug)]
pub struct Chunk<D> {
    /// From 0.
    pub number: u32,
    /// Which part of the file.
    pub plan: ChunkPlan,
    /// None until its job is done.
    pub digest: Option<D>,
}

/// An accepted file.
#[derive(Clone, Debug, Serialize)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Gives its rows their `seq`: ordinal · 2^40 + row.
    pub ordinal: i64,
    /// The source it is for.
    pub source: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The upload of the same file that this one repeats by force.
    pub repeat_of: Option<UploadId>,
    /// How the file is written.
    pub format: Format,
    /// Its name, for people.
    pub file_name: String,
    /// Its size.
    pub size_bytes: i64,
    /// The source as declared at acceptance.
    #[serde(skip)]
    pub definition: Source,
    /// The file's columns, in its order.
    #[serde(skip)]
    pub header: Vec<String>,
    /// The data clock at acceptance.
    pub created_at: Time,
    /// Real time of acceptance.
    pub accepted_at: Time,
    /// The run that ingests it.
    pub run: Option<RunId>,
    /// When its rows became visible, real time; none until then.
    pub published_at: Option<Time>,
    /// Rows of it in the lake.
    pub rows: i64,
    /// Dead letters of it that are left.
    pub dead_letters: i64,
    /// Its newest event.
    pub newest_event_at: Option<Time>,
    /// It held timestamps without a zone, which were read as UTC.
    pub naive_timestamps: bool,
    /// Rows of it that had something of a name which isn't declared, by name.
    pub ignored: BTreeMap<String, u64>,
    /// When its rows were taken away, real time.
    pub removed_at: Option<Time>,
    /// Chunks it was cut into.
    pub chunks: i64,
    /// Chunks that were digested.
    pub chunks_done: i64,
}

/// What a publication found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// Valid rows.
    pub rows: i64,
    /// Dead letters.
    pub dead_letters: i64,
    /// The newest event.
    pub newest_event_at: Option<Time>,
    /// Timestamps without a zone were read as UTC.
    pub naive_timestamps: bool,
    /// Rows that had something of a name which isn't declared, by name.
    pub ignored: BTreeMap<String, u64>,
}

impl FromRow<'_, PgRow> for Upload {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let format: String = row.try_get("format")?;
        Ok(Self {
            id: row.try_get::<Uuid, _>("id")?.into(),
            ordinal: row.try_get("ordinal")?,
            source: row.try_get("source")?,
            sha256: row.try_get("sha256")?,
            repeat_of: row.try_get::<Option<Uuid>, _>("repeat_of")?.map(UploadId::from),
            format: Format::parse(&format).ok_or_else(|| sqlx::Error::Decode(format.into()))?,
            file_name: row.try_get("file_name")?,
            size_bytes: row.try_get("size_bytes")?,
            definition: row.try_get::<Json<_>, _>("definition")?.0,
            header: row.try_get::<Json<_>, _>("header")?.0,
            created_at: row.try_get("created_at")?,
            accepted_at: row.try_get("accepted_at")?,
            run: row.try_get::<Option<Uuid>, _>("run")?.map(RunId::from),
            published_at: row.try_get("published_at")?,
            rows: row.try_get("rows")?,
            dead_letters: row.try_get("dead_letters")?,
            newest_event_at: row.try_get("newest_event_at")?,
            naive_timestamps: row.try_get("naive_timestamps")?,
            ignored: row.try_get::<Json<_>, _>("ignored")?.0,
            removed_at: row.try_get("removed_at")?,
            chunks: row.try_get("chunks")?,
            chunks_done: row.try_get("chunks_done")?,
        })
    }
}

impl Catalog {
    /// Writes an upload with its chunks; none when the same file was accepted before and this is no repeat by force, or
    /// rows were accepted under its key.
    pub async fn insert_upload(&self, tx: &mut Tx, upload: &NewUpload) -> Result<Option<UploadId>, Error> {
        let id = UploadId::generate();
        let inserted = sqlx::query(include_str!("../queries/upload/insert.sql"))
            .bind(id.as_uuid())
            .bind(&upload.source.name)
            .bind(&upload.sha256)
            .bind(upload.repeat_of.map(UploadId::as_uuid))
            .bind(upload.format.as_str())
            .bind(&upload.file_name)
            .bind(signed(upload.size_bytes))
            .bind(ordered_json(&upload.source))
            .bind(ordered_json(&upload.header))
            .bind(upload.created_at)
            .bind(&upload.push_key)
            .fetch_optional(tx.conn())
            .await?;
        if inserted.is_none() {
            return Ok(None);
        }
        let column = |of: fn(&ChunkPlan) -> u64| {
            upload.chunks.iter().map(|chunk| signed(of(chunk))).collect::<Vec<_>>()
        };
        sqlx::query(include_str!("../queries/chunk/insert.sql"))
            .bind(id.as_uuid())
            .bind((0_i32..).take(upload.chunks.len()).collect::<Vec<_>>())
            .bind(column(|chunk| chunk.start))
            .bind(column(|chunk| chunk.end))
            .bind(column(|chunk| chunk.rows_before))
            .bind(column(|chunk| chunk.lines_before))
            .execute(tx.conn())
            .await?;
        Ok(Some(id))
    }

    /// Uploads of some sources whose rows aren't in the lake yet, in the order of acceptance.
    pub async fn uploads_unpublished(&self, sources: &[String]) -> Result<Vec<Unpublished>, Error> {
        let rows: Vec<(i64, String, bool)> =
            sqlx::query_as(include_str!("../queries/upload/unpublished.sql"))
                .bind(sources)
                .fetch_all(self.pool())
                .await?;
        Ok(rows
            .into_iter()
            .map(|(ordinal, source, running)| Unpublished { ordinal, source, running })
            .collect())
    }

    /// Notes which run ingests an upload.
    pub async fn set_upload_run(&self, tx: &mut Tx, upload: UploadId, run: RunId) -> Result<(), Error> {
        sqlx::query("UPDATE catalog.upload SET run = $2 WHERE id = $1")
            .bind(upload.as_uuid())
            .bind(run.as_uuid())
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// The upload of rows that were pushed to a source under a key, its run, and the hash of the rows.
    pub async fn find_push(
        &self,
        source: &str,
        key: &str,
    ) -> Result<Option<(UploadId, Option<RunId>, String)>, Error> {
        let row: Option<(Uuid, Option<Uuid>, String)> =
            sqlx::query_as(include_str!("../queries/upload/find_push.sql"))
                .bind(source)
                .bind(key)
                .fetch_optional(self.pool())
                .await?;
        Ok(row.map(|(id, run, sha256)| (id.into(), run.map(RunId::from), sha256)))
    }

    /// The upload of a file for a source that was neither a repeat by force nor pushed, with its run.
    pub async fn find_upload(
        &self,
        source: &str,
        sha256: &str,
    ) -> Result<Option<(UploadId, Option<RunId>)>, Error> {
        let row: Option<(Uuid, Option<Uuid>)> = sqlx::query_as(include_str!("../queries/upload/find.sql"))
            .bind(source)
            .bind(sha256)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.map(|(id, run)| (id.into(), run.map(RunId::from))))
    }

    /// One upload.
    pub async fn upload(&self, id: UploadId) -> Result<Option<Upload>, Error> {
        Ok(self.select_uploads(Some(id), None, 1).await?.pop())
    }

    /// Uploads for a source, or for all, newest first.
    pub async fn uploads(&self, source: Option<&str>, limit: u32) -> Result<Vec<Upload>, Error> {
        self.select_uploads(None, source, limit).await
    }

    async fn select_uploads(
        &self,
        id: Option<UploadId>,
        source: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Upload>, Error> {
        Ok(sqlx::query_as(include_str!("../queries/upload/select.sql"))
            .bind(id.map(UploadId::as_uuid))
            .bind(source)
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?)
    }

    /// Chunks of an upload in the file's order.
    pub async fn chunks<D: DeserializeOwned>(&self, upload: UploadId) -> Result<Vec<Chunk<D>>, Error> {
        let rows: Vec<StoredChunk> = sqlx::query_as(include_str!("../queries/chunk/select.sql"))
            .bind(upload.as_uuid())
            .fetch_all(self.pool())
            .await?;
        rows.into_iter()
            .map(|(number, start, end, rows_before, lines_before, digest)| {
                let unsigned = |value: i64| u64::try_from(value).map_err(Error::inconsistent);
                Ok(Chunk {
                    number: u32::try_from(number).map_err(Error::inconsistent)?,
                    plan: ChunkPlan {
                        start: unsigned(start)?,
                        end: unsigned(end)?,
                        rows_before: unsigned(rows_before)?,
                        lines_before: unsigned(lines_before)?,
                    },
                    digest: digest
                        .map(|Json(digest)| serde_json::from_value(digest))
                        .transpose()
                        .map_err(Error::inconsistent)?,
                })
            })
            .collect()
    }

    /// Paths of files that chunks staged for uploads which are not published yet.
    pub async fn awaited_files(&self) -> Result<Vec<String>, Error> {
        let files = sqlx::query_scalar(include_str!("../queries/chunk/awaited_files.sql"));
        Ok(files.fetch_all(self.pool()).await?)
    }

    /// Notes what a chunk's job staged. A repeat overwrites it with the same.
    pub async fn set_chunk_digest(
        &self,
        tx: &mut Tx,
        upload: UploadId,
        number: u32,
        digest: &impl Serialize,
    ) -> Result<(), Error> {
        sqlx::query("UPDATE catalog.chunk SET digest = $3 WHERE upload = $1 AND number = $2")
            .bind(upload.as_uuid())
            .bind(i32::try_from(number).map_err(Error::inconsistent)?)
            .bind(Json(serde_json::to_value(digest).map_err(Error::inconsistent)?))
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// Notes what the publication of an upload found out. Safe to repeat.
    pub async fn publish_upload(
        &self,
        tx: &mut Tx,
        upload: UploadId,
        publication: &Publication,
    ) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/upload/publish.sql"))
            .bind(upload.as_uuid())
            .bind(publication.rows)
            .bind(publication.dead_letters)
            .bind(publication.newest_event_at)
            .bind(publication.naive_timestamps)
            .bind(Json(&publication.ignored))
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// Notes that the rows of all uploads of a source are taken away; of those that are not in the lake yet they come later.
    /// Returns of how many.
    pub async fn remove_uploads(&self, tx: &mut Tx, source: &str) -> Result<u64, Error> {
        let removed = sqlx::query(include_str!("../queries/upload/remove.sql")).bind(source);
        Ok(removed.execute(tx.conn()).await?.rows_affected())
    }

    /// Notes that uploads of some sources, accepted up to an ordinal, which never came into the lake, are taken away.
    pub async fn remove_failed_uploads(
        &self,
        tx: &mut Tx,
        sources: &[String],
        upto: i64,
    ) -> Result<u64, Error> {
        let removed =
            sqlx::query(include_str!("../queries/upload/remove_failed.sql")).bind(sources).bind(upto);
        Ok(removed.execute(tx.conn()).await?.rows_affected())
    }

    /// Notes how many rows of which uploads, by ordinal, were erased.
    pub async fn erase_rows(&self, tx: &mut Tx, by_upload: &[(i64, i64)]) -> Result<(), Error> {
        let (ordinals, rows): (Vec<i64>, Vec<i64>) = by_upload.iter().copied().unzip();
        let erased = sqlx::query(include_str!("../queries/upload/erase_rows.sql")).bind(ordinals).bind(rows);
        erased.execute(tx.conn()).await?;
        Ok(())
    }

    /// The ordinal of the upload that was accepted last; 0 before the first.
    pub async fn newest_upload(&self) -> Result<i64, Error> {
        let newest = sqlx::query_scalar("SELECT coalesce(max(ordinal), 0) FROM catalog.upload");
        Ok(newest.fetch_one(self.pool()).await?)
    }

    /// How many uploads, accepted up to an ordinal, are not in the lake while their ingest still runs.
    pub async fn uploads_under_way(&self, upto: i64) -> Result<i64, Error> {
        let under_way = sqlx::query_scalar(include_str!("../queries/upload/under_way.sql")).bind(upto);
        Ok(under_way.fetch_one(self.pool()).await?)
    }

    /// Those of some files, by hash, that an upload has whose rows were not taken away.
    pub async fn kept_files(&self, sha256: &[String]) -> Result<Vec<String>, Error> {
        let kept = sqlx::query_scalar(include_str!("../queries/upload/kept_files.sql")).bind(sha256);
        Ok(kept.fetch_all(self.pool()).await?)
    }

    /// Notes that dead letters of an upload became rows.
    pub async fn replay_upload(
        &self,
        tx: &mut Tx,
        upload: UploadId,
        revived: i64,
        newest_event_at: Option<Time>,
    ) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/upload/replay.sql"))
            .bind(upload.as_uuid())
            .bind(revived)
            .bind(newest_event_at)
            .execute(tx.conn())
            .await?;
        Ok(())
    }
}

/// Number, start, end, rows before, lines before, digest.
type StoredChunk = (i32, i64, i64, i64, i64, Option<Json<serde_json::Value>>);

/// Postgres has no unsigned integers; no file is that long.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
