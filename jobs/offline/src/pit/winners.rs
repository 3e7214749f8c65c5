//! The newest row of each asked row's entity, found in the files themselves.
//!
//! In a file the rows of one entity follow each other in the total order, so for an asked row a binary search in each of
//! its entity's runs is enough, and nothing is ever sorted but the asked rows. Row groups are read newest first and left out
//! where their statistics say that no asked row could find a newer row in them: what is read follows what is asked, not the
//! length of the history. Only keys and order are read of all rows; the columns that are wanted, of the winners.

use std::{collections::HashMap, fs::File, ops::Range};

use arrow::{
    array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch, UInt64Array},
    compute::{concat_batches, filter_record_batch, partition, take},
    datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType},
    row::{OwnedRow, RowConverter, SortField},
};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
        statistics::StatisticsConverter,
    },
};
use tidemill_rows::{self as rows, CREATED_AT, SEQ, VALID_AT, row::column};

use super::{Asked, KnownAt};
use crate::{
    CommitRange, Error,
    duck::in_columns,
    scan::{LAKE_COMMIT, ScannedFile},
};

/// For each asked row the row that is its entity's newest at its moment, in the columns of `schema`; nulls where there is none.
pub(super) fn winners(
    files: &[ScannedFile],
    asked: &Asked,
    known_at: KnownAt,
    schema: &SchemaRef,
    threads: usize,
) -> Result<RecordBatch, Error> {
    let mut search = Search { asked: Questions::of(asked)?, known_at, best: Vec::new() };
    search.best = vec![None; search.asked.moments.len()];
    let mut opened: Vec<Opened> =
        files.iter().map(|file| Opened::open(file, &search.asked.keys)).collect::<Result<_, _>>()?;
    opened.sort_by_key(|file| std::cmp::Reverse(file.newest()));
    for (wave, places) in opened.chunks(threads.max(1)).zip((0..).step_by(threads.max(1))) {
        let found = at_once(wave, |place, file| search.in_file(places + place, file))?;
        for (question, row) in found.into_iter().flatten() {
            search.note(question, row);
        }
    }
    fetched(&opened, &search, asked.moments.len(), schema, threads)
}

/// A stored row's place in the total order, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    valid_us: i64,
    created_us: i64,
    seq: i64,
    file: usize,
    row: usize,
}

/// The asked rows whose keys are there, sorted by entity and moment.
struct Questions {
    keys: Vec<String>,
    /// Which asked row each is.
    rows: Vec<usize>,
    /// Its moment.
    moments: Vec<i64>,
    /// Of each entity, in the order of the keys, its questions.
    spans: Vec<Range<usize>>,
    /// The entities by their encoded keys.
    entities: HashMap<OwnedRow, usize>,
    /// The first of each entity's keys, encoded.
    first_keys: Vec<OwnedRow>,
}

impl Questions {
    fn of(asked: &Asked) -> Result<Self, Error> {
        let (keys, arrays): (Vec<String>, Vec<ArrayRef>) = asked.keys.iter().cloned().unzip();
        let moments = asked.moments.as_primitive::<TimestampMicrosecondType>().values();
        let (encoded, first_key) = (encoded(&arrays)?, encoded(&arrays[..1])?);
        let present = |row: &usize| arrays.iter().all(|array| array.is_valid(*row));
        let mut order: Vec<usize> = (0..moments.len()).filter(present).collect();
        order.sort_unstable_by_key(|row| (encoded.row(*row), moments[*row]));
        let (mut spans, mut entities, mut first_keys) = (Vec::new(), HashMap::new(), Vec::new());
        let mut start = 0;
        for same in order.chunk_by(|a, b| encoded.row(*a) == encoded.row(*b)) {
            entities.insert(encoded.row(same[0]).owned(), spans.len());
            first_keys.push(first_key.row(same[0]).owned());
            spans.push(start..start + same.len());
            start += same.len();
        }
        let moments = order.iter().map(|row| moments[*row]).collect();
        Ok(Self { keys, rows: order, moments, spans, entities, first_keys })
    }

    /// The questions of entities whose first key may lie between two; `None`: not known.
    fn between(&self, least: Option<OwnedRow>, greatest: Option<OwnedRow>) -> Range<usize> {
        let from = least.map_or(0, |least| self.first_keys.partition_point(|key| *key < least));
        let upto = greatest
            .map_or(self.spans.len(), |greatest| self.first_keys.partition_point(|key| *key <= greatest));
        let start = |entity: usize| self.spans.get(entity).map_or(self.rows.len(), |span| span.start);
        start(from)..start(upto).max(start(from))
    }
}

struct Search {
    asked: Questions,
    known_at: KnownAt,
    /// For each question the newest row that was found so far.
    best: Vec<Option<Place>>,
}

impl Search {
    fn note(&mut self, question: usize, row: Place) {
        self.best[question] = self.best[question].max(Some(row));
    }

    /// By when a row has to be accepted to count for a question.
    fn known_by(&self, question: usize) -> i64 {
        match self.known_at {
            KnownAt::Any => i64::MAX,
            KnownAt::Label => self.asked.moments[question],
            KnownAt::Time(time) => time.timestamp_micros(),
        }
    }

    /// Rows of a file that are newer than what was found for a question.
    fn in_file(&self, place: usize, file: &Opened) -> Result<Vec<(usize, Place)>, Error> {
        let mut found = Vec::new();
        for (number, group) in file.groups.iter().enumerate() {
            if self.wants(group) {
                self.in_group(place, file, number, &mut found)?;
            }
        }
        Ok(found)
    }

    /// Whether a question may find a newer row there.
    fn wants(&self, group: &Group) -> bool {
        self.asked.between(group.least_key.clone(), group.greatest_key.clone()).any(|question| {
            group.valid_us.start <= self.asked.moments[question]
                && group.created_from_us <= self.known_by(question)
                && self.best[question].is_none_or(|best| best.valid_us <= group.valid_us.end)
        })
    }

    fn in_group(
        &self,
        place: usize,
        file: &Opened,
        number: usize,
        found: &mut Vec<(usize, Place)>,
    ) -> Result<(), Error> {
        let group = &file.groups[number];
        let names = self.asked.keys.iter().map(String::as_str).chain([VALID_AT, CREATED_AT, SEQ]);
        let names: Vec<&str> = names.chain(file.commits.map(|_| LAKE_COMMIT)).collect();
        let (rows, kept) = file.counted(file.read(number, None, &names)?)?;
        let times =
            |name| Ok::<_, Error>(column(&rows, name)?.as_primitive::<TimestampMicrosecondType>().clone());
        let (valid, created) = (times(VALID_AT)?, times(CREATED_AT)?);
        let seq = column(&rows, SEQ)?.as_primitive::<Int64Type>().values();
        let keys: Vec<ArrayRef> = self
            .asked
            .keys
            .iter()
            .map(|key| Ok(column(&rows, key)?.clone()))
            .collect::<Result<_, Error>>()?;
        for (run, entity) in self.runs(&keys)? {
            let order =
                Run { valid_us: &valid.values()[run.clone()], created_us: &created.values()[run.clone()] };
            let least_created = (self.known_at != KnownAt::Any).then(|| order.least_created());
            for question in self.asked.spans[entity].clone() {
                let by = self.known_by(question);
                let newest = order.newest(self.asked.moments[question], by, least_created.as_deref());
                let Some(row) = newest.map(|row| run.start + row) else { continue };
                let in_file = group.first_row + kept.as_ref().map_or(row, |kept| kept[row]);
                let (valid_us, created_us) = (valid.value(row), created.value(row));
                let winner = Place { valid_us, created_us, seq: seq[row], file: place, row: in_file };
                if self.best[question].is_none_or(|best| best < winner) {
                    found.push((question, winner));
                }
            }
        }
        Ok(())
    }

    /// Rows that follow each other with the same keys, of entities that are asked for.
    fn runs(&self, keys: &[ArrayRef]) -> Result<Vec<(Range<usize>, usize)>, Error> {
        if keys[0].is_empty() {
            return Ok(Vec::new());
        }
        let runs = partition(keys).map_err(rows::Error::from)?.ranges();
        let starts = UInt64Array::from_iter_values(runs.iter().map(|run| run.start as u64));
        let first = |array: &ArrayRef| take(array, &starts, None).map_err(rows::Error::from);
        let encoded = encoded(&keys.iter().map(first).collect::<Result<Vec<_>, _>>()?)?;
        let entity = |(run, row)| Some((run, *self.asked.entities.get(&encoded.row(row).owned())?));
        Ok(runs.into_iter().zip(0..).filter_map(entity).collect())
    }
}

/// Rows of one entity in the total order.
struct Run<'a> {
    valid_us: &'a [i64],
    created_us: &'a [i64],
}

impl Run<'_> {
    /// The least `created_at` up to each row.
    fn least_created(&self) -> Vec<i64> {
        let mut least = i64::MAX;
        let so_far = self.created_us.iter().map(|created| {
            least = least.min(*created);
            least
        });
        so_far.collect()
    }

    /// The last row that is valid at a moment and was accepted by another.
    fn newest(&self, at_us: i64, by_us: i64, least_created: Option<&[i64]>) -> Option<usize> {
        let newest = self.valid_us.partition_point(|valid| *valid <= at_us).checked_sub(1)?;
        let Some(least_created) = least_created else { return Some(newest) };
        let mut earlier = (0..=newest).rev().take_while(|row| least_created[*row] <= by_us);
        earlier.find(|row| self.created_us[*row] <= by_us)
    }
}

/// A file whose footer was read.
struct Opened {
    file: File,
    metadata: ArrowReaderMetadata,
    commits: Option<CommitRange>,
    groups: Vec<Group>,
}

/// What a row group's statistics say.
struct Group {
    /// The place in the file of its first row.
    first_row: usize,
    rows: usize,
    /// Least and greatest first key, encoded; `None`: not known.
    least_key: Option<OwnedRow>,
    greatest_key: Option<OwnedRow>,
    /// From the least to the greatest `valid_at`, both included.
    valid_us: Range<i64>,
    /// The least `created_at`.
    created_from_us: i64,
}

impl Opened {
    fn open(file: &ScannedFile, keys: &[String]) -> Result<Self, Error> {
        let commits = file.commits;
        let file = File::open(&file.path).map_err(rows::Error::from)?;
        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(rows::Error::from)?;
        let groups = metadata.metadata().row_groups();
        let statistics = |name: &str| {
            StatisticsConverter::try_new(name, metadata.schema(), metadata.parquet_schema())
                .and_then(|of| Ok((of.row_group_mins(groups)?, of.row_group_maxes(groups)?)))
                .map_err(rows::Error::from)
        };
        let (least_keys, greatest_keys) = statistics(&keys[0])?;
        let (valid_from, valid_upto) = statistics(VALID_AT)?;
        let (created_from, _) = statistics(CREATED_AT)?;
        let keys = |keys: &ArrayRef| {
            let encoded = encoded(std::slice::from_ref(keys))?;
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

    /// The greatest `valid_at` in it.
    fn newest(&self) -> i64 {
        self.groups.iter().map(|group| group.valid_us.end).max().unwrap_or(i64::MIN)
    }

    /// Some columns of a row group's rows; of these a selection, or all.
    fn read(
        &self,
        group: usize,
        selection: Option<RowSelection>,
        names: &[&str],
    ) -> Result<RecordBatch, Error> {
        let schema = self.metadata.schema();
        let roots = names.iter().filter_map(|name| schema.index_of(name).ok());
        let file = self.file.try_clone().map_err(rows::Error::from)?;
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
        let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().map_err(rows::Error::from)?;
        Ok(concat_batches(&schema, &batches).map_err(rows::Error::from)?)
    }

    /// Of rows with their commits those that count, and which they are of the given ones; `None`: all.
    fn counted(&self, rows: RecordBatch) -> Result<(RecordBatch, Option<Vec<usize>>), Error> {
        let Some(range) = self.commits else { return Ok((rows, None)) };
        let commits = column(&rows, LAKE_COMMIT)?.as_primitive::<Int64Type>();
        let counts: BooleanArray = commits
            .iter()
            .map(|commit| commit.map(|commit| commit > range.after && commit <= range.upto))
            .collect();
        let kept = (0..rows.num_rows()).filter(|row| counts.is_valid(*row) && counts.value(*row)).collect();
        Ok((filter_record_batch(&rows, &counts).map_err(rows::Error::from)?, Some(kept)))
    }
}

/// The winners' columns, an asked row each.
fn fetched(
    files: &[Opened],
    search: &Search,
    asked: usize,
    schema: &SchemaRef,
    threads: usize,
) -> Result<RecordBatch, Error> {
    let mut places: Vec<(usize, usize)> =
        search.best.iter().flatten().map(|winner| (winner.file, winner.row)).collect();
    places.sort_unstable();
    places.dedup();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let of_file = |number: usize| {
        places.partition_point(|place| place.0 < number)..places.partition_point(|place| place.0 <= number)
    };
    let mut batches = Vec::new();
    for (wave, first) in files.chunks(threads.max(1)).zip((0..).step_by(threads.max(1))) {
        let read = at_once(wave, |place, file| {
            let mut batches = Vec::new();
            let mut left = &places[of_file(first + place)];
            for (number, group) in file.groups.iter().enumerate() {
                let (here, later) =
                    left.split_at(left.partition_point(|place| place.1 < group.first_row + group.rows));
                left = later;
                if here.is_empty() {
                    continue;
                }
                let rows = here.iter().map(|(_, row)| row - group.first_row..row - group.first_row + 1);
                let selection = RowSelection::from_consecutive_ranges(rows, group.rows);
                batches.push(in_columns(&file.read(number, Some(selection), &names)?, schema)?);
            }
            Ok(batches)
        })?;
        batches.extend(read.into_iter().flatten());
    }
    let rows = concat_batches(schema, &batches).map_err(rows::Error::from)?;
    let mut chosen: Vec<Option<u64>> = vec![None; asked];
    for (question, winner) in search.best.iter().enumerate() {
        let place =
            |winner: &Place| places.binary_search(&(winner.file, winner.row)).ok().map(|place| place as u64);
        chosen[search.asked.rows[question]] = winner.as_ref().and_then(place);
    }
    let chosen = UInt64Array::from(chosen);
    let columns = rows.columns().iter().map(|array| take(array, &chosen, None)).collect::<Result<_, _>>();
    Ok(RecordBatch::try_new(schema.clone(), columns.map_err(rows::Error::from)?)
        .map_err(rows::Error::from)?)
}

/// Does the same with several files at once, each on a thread of its own.
fn at_once<T: Send>(
    files: &[Opened],
    work: impl Fn(usize, &Opened) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> =
            files.iter().enumerate().map(|(place, file)| scope.spawn(move || work(place, file))).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect()
    })
}

/// Keys as bytes that are in the order of the keys.
fn encoded(keys: &[ArrayRef]) -> Result<arrow::row::Rows, Error> {
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(rows::Error::from)?;
    Ok(converter.convert_columns(keys).map_err(rows::Error::from)?)
}

#[cfg(test)]
mod tests {
    use std::{
        path::{Path, PathBuf},
        sync::Arc,
    };

    use arrow::{
        array::{Int64Array, StringArray, TimestampMicrosecondArray},
        datatypes::{DataType, Field, Schema},
    };
    use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
    use proptest::prelude::*;
    use tidemill_core::Time;
    use tidemill_rows::parquet::sorted;

    use super::*;

    /// Keys, times, and the commit; a row's `seq` is its place in its file.
    type StoredRow = (u8, u8, i64, i64, i64);

    fn stored(rows: &[StoredRow], first_seq: i64) -> RecordBatch {
        let times = |of: fn(&StoredRow) -> i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(of)).with_timezone("UTC"))
        };
        let columns: [(&str, ArrayRef); 6] = [
            ("a", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("key {}", row.0))))),
            ("b", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::from(row.1))))),
            (VALID_AT, times(|row| row.2)),
            (CREATED_AT, times(|row| row.3)),
            (SEQ, Arc::new(Int64Array::from_iter_values(first_seq..first_seq + rows.len() as i64))),
            (LAKE_COMMIT, Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.4)))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn write(folder: &Path, number: usize, batch: &RecordBatch) -> PathBuf {
        let path = folder.join(format!("{number}.parquet"));
        let sorted =
            sorted(&batch.schema(), std::slice::from_ref(batch), &["a".to_owned(), "b".to_owned()]).unwrap();
        let groups = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
        let mut writer =
            ArrowWriter::try_new(File::create(&path).unwrap(), sorted.schema(), Some(groups)).unwrap();
        writer.write(&sorted).unwrap();
        writer.close().unwrap();
        path
    }

    fn asked(questions: &[(Option<u8>, u8, i64)]) -> Asked {
        let a = StringArray::from_iter(questions.iter().map(|(a, ..)| a.map(|a| format!("key {a}"))));
        let b = Int64Array::from_iter_values(questions.iter().map(|(_, b, _)| i64::from(*b)));
        let at = TimestampMicrosecondArray::from_iter_values(questions.iter().map(|(.., at)| *at));
        Asked {
            keys: vec![("a".to_owned(), Arc::new(a)), ("b".to_owned(), Arc::new(b))],
            moments: Arc::new(at.with_timezone("UTC")),
        }
    }

    proptest! {
        #[test]
        fn the_winner_is_the_greatest_of_all_rows_that_count_wherever_it_is(
            files in prop::collection::vec(
                (prop::collection::vec((0..4_u8, 0..2_u8, 0..12_i64, 0..12_i64, 1..4_i64), 1..12), any::<bool>()),
                0..5,
            ),
            questions in prop::collection::vec((prop::option::of(0..5_u8), 0..2_u8, 0..12_i64), 0..12),
            known in 0..3_i64,
            threads in 1..4_usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let time = |us| Time::from_timestamp_micros(us).unwrap();
            let known_at = [KnownAt::Any, KnownAt::Label, KnownAt::Time(time(6))][known as usize];
            let commits = CommitRange { after: 1, upto: 2 };
            let (mut scanned, mut rows) = (Vec::new(), Vec::new());
            for (number, (of_file, partly)) in files.iter().enumerate() {
                let first_seq = number as i64 * 100;
                let path = write(folder.path(), number, &stored(of_file, first_seq));
                scanned.push(ScannedFile { path, commits: partly.then_some(commits) });
                let counted = of_file.iter().zip(first_seq..).filter(|(row, _)| !partly || row.4 == 2);
                rows.extend(counted.map(|((a, b, valid, created, _), seq)| (*a, *b, *valid, *created, seq)));
            }
            let fields = vec![Field::new(SEQ, DataType::Int64, true)];
            let found = winners(&scanned, &asked(&questions), known_at, &Schema::new(fields).into(), threads).unwrap();
            let found: Vec<Option<i64>> = found.column(0).as_primitive::<Int64Type>().iter().collect();
            let expected: Vec<Option<i64>> = questions.iter().map(|(a, b, at)| {
                let by = match known { 0 => i64::MAX, 1 => *at, _ => 6 };
                let counts = rows.iter().filter(|row| {
                    Some(row.0) == *a && row.1 == *b && row.2 <= *at && row.3 <= by
                });
                counts.map(|row| (row.2, row.3, row.4)).max().map(|(.., seq)| seq)
            }).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
