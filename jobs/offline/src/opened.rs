//! A file of the lake whose footer was read: what the statistics of its row groups say, and some rows of these.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Int64Type, TimestampMicrosecondType},
    row::{OwnedRow, RowConverter, SortField},
};
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
            statistics::StatisticsConverter,
        },
    },
    file::reader::{ChunkReader, Length},
};
use tidemill_rows::{self as rows, CREATED_AT, row::column};

use crate::{
    CommitRange, Error,
    scan::{LAKE_COMMIT, ScannedFile},
};

/// A file whose footer was read.
pub(crate) struct Opened {
    file: Shared,
    metadata: ArrowReaderMetadata,
    commits: Option<CommitRange>,
    pub(crate) groups: Vec<Group>,
}

/// What a row group's statistics say.
pub(crate) struct Group {
    /// The place in the file of its first row.
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// Least and greatest first key, encoded; `None`: not known.
    pub(crate) least_key: Option<OwnedRow>,
    pub(crate) greatest_key: Option<OwnedRow>,
    /// From the least to the greatest `valid_at`, both included.
    pub(crate) valid_us: Range<i64>,
    /// The least `created_at`.
    pub(crate) created_from_us: i64,
}

impl Opened {
    /// `key`: the first of the keys that it is sorted by; `valid_at`: the column that holds it.
    pub(crate) fn open(file: &ScannedFile, key: &str, valid_at: &str) -> Result<Self, Error> {
        let commits = file.commits;
        let file = Shared(Arc::new(File::open(&file.path).map_err(rows::Error::from)?));
        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(rows::Error::from)?;
        let groups = metadata.metadata().row_groups();
        let statistics = |name: &str| {
            StatisticsConverter::try_new(name, metadata.schema(), metadata.parquet_schema())
                .and_then(|of| Ok((of.row_group_mins(groups)?, of.row_group_maxes(groups)?)))
                .map_err(rows::Error::from)
        };
        let (least_keys, greatest_keys) = statistics(key)?;
        let (valid_from, valid_upto) = statistics(valid_at)?;
        let (created_from, _) = statistics(CREATED_AT)?;
        let keys = |keys: &ArrayRef| {
            let encoded = encoded(keys)?;
            let key = |group| keys.is_valid(group).then(|| encoded.row(group).owned());
            Ok::<Vec<Option<OwnedRow>>, Error>((0..keys.len()).map(key).collect())
        };
        let (least_keys, greatest_keys) = (keys(&least_keys)?, keys(&greatest_keys)?);
        let instant = |instants: &ArrayRef, group, unknown| {
            let instants = instants.as_primitive::<TimestampMicrosecondType>();
            if instants.is_valid(group) { instants.value(group) } else { unknown }
        };
        let mut first_row = 0;
        let group = |(number, (least_key, greatest_key)): (usize, (Option<OwnedRow>, Option<OwnedRow>))| {
            let rows = usize::try_from(groups[number].num_rows()).unwrap_or(usize::MAX);
            first_row += rows;
            Group {
                first_row: first_row - rows,
                rows,
                least_key,
                greatest_key,
                valid_us: instant(&valid_from, number, i64::MIN)..instant(&valid_upto, number, i64::MAX),
                created_from_us: instant(&created_from, number, i64::MIN),
            }
        };
        let groups = least_keys.into_iter().zip(greatest_keys).enumerate().map(group).collect();
        Ok(Self { file, metadata, commits, groups })
    }

    /// Some columns of a row group's rows; of these a selection, or all. Columns that the file lacks are left out.
    pub(crate) fn read(
        &self,
        group: usize,
        selection: Option<RowSelection>,
        names: &[&str],
    ) -> Result<RecordBatch, Error> {
        let schema = self.metadata.schema();
        let roots = names.iter().filter_map(|name| schema.index_of(name).ok());
        let file = self.file.clone();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let mut builder = builder
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(self.groups[group].rows.max(1));
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let reader = builder.build().map_err(rows::Error::from)?;
        let schema = arrow::array::RecordBatchReader::schema(&reader);
        let mut batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().map_err(rows::Error::from)?;
        match batches.len() {
            1 => Ok(batches.remove(0)),
            _ => Ok(concat_batches(&schema, &batches).map_err(rows::Error::from)?),
        }
    }

    /// The column that [`counted`](Self::counted) needs, if only some rows of the file count.
    pub(crate) fn commit_column(&self) -> Option<&'static str> {
        self.commits.map(|_| LAKE_COMMIT)
    }

    /// Which of some rows count, by the commits they came with; `None`: all.
    pub(crate) fn counted(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>, Error> {
        let Some(range) = self.commits else { return Ok(None) };
        let commits = column(rows, LAKE_COMMIT)?.as_primitive::<Int64Type>();
        let counts =
            |commit: Option<i64>| commit.is_some_and(|commit| commit > range.after && commit <= range.upto);
        Ok(Some(commits.iter().map(|commit| Some(counts(commit))).collect()))
    }
}

/// An open file that several threads read at once: by place, for they have one cursor between them.
#[derive(Clone)]
struct Shared(Arc<File>);

impl Length for Shared {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for Shared {
    type T = BufReader<Tail>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(Tail { file: Arc::clone(&self.0), next: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// A file from some place on.
struct Tail {
    file: Arc<File>,
    next: u64,
}

impl Read for Tail {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.next)?;
        self.next += read as u64;
        Ok(read)
    }
}

/// Keys as bytes that are in the order of the keys.
pub(crate) fn encoded(keys: &ArrayRef) -> Result<arrow::row::Rows, Error> {
    let converter = RowConverter::new(vec![SortField::new(keys.data_type().clone())]);
    let encoded = converter.and_then(|converter| converter.convert_columns(std::slice::from_ref(keys)));
    Ok(encoded.map_err(rows::Error::from)?)
}
