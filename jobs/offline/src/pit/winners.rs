//! The newest row of each asked row's entity, found in the files themselves.
//!
//! In a file the rows of one entity follow each other in the total order, so for an asked row a binary search in each of
//! its entity's runs is enough, and nothing is ever sorted but the asked rows. Files are looked at newest first; files and
//! row groups are left out where no asked row could find a newer row in them: what is read follows what is asked, not the
//! length of the history. Only keys and order are read of all rows; the columns that are wanted, of the winners.

use std::ops::Range;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch, UInt64Array},
    compute::{concat_batches, filter_record_batch, partition, take},
    datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType},
    row::OwnedRow,
};
use parquet::arrow::arrow_reader::RowSelection;
use tidemill_core::Time;
use tidemill_rows::{self as rows, CREATED_AT, SEQ, VALID_AT, row::column};

use super::{Asked, Entities, grouped};
use crate::{
    Error, LakeFile,
    duck::in_columns,
    opened::{Group, Opened, encoded},
    scan::ScannedFile,
    threads::on_threads,
};

/// The search, as far as it has come.
pub(super) struct Search {
    asked: Questions,
    /// For each question the newest row that was found so far.
    best: Vec<Option<Place>>,
    /// Questions for which a file that was not looked at yet may hold a newer row, in order.
    open: Vec<usize>,
    /// The files that were looked at.
    files: Vec<Opened>,
    threads: usize,
}

/// The files whose rows may be the newest first.
pub(super) fn newest_first(mut files: Vec<LakeFile>) -> Vec<LakeFile> {
    files.sort_by_key(|file| std::cmp::Reverse(upto(file)));
    files
}

/// The greatest `valid_at` of a file, as far as it is known.
fn upto(file: &LakeFile) -> i64 {
    file.valid_at.map_or(i64::MAX, |(_, upto)| upto.timestamp_micros())
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

impl Search {
    pub(super) fn of(asked: &Asked, threads: usize) -> Result<Self, Error> {
        let questions = Questions::of(asked)?;
        let count = questions.moments.len();
        let (best, open) = (vec![None; count], (0..count).collect());
        Ok(Self { asked: questions, best, open, files: Vec::new(), threads })
    }

    /// Those of some files that may hold what is looked for. All that are not looked at yet hold no row that is valid later
    /// than the last of the first of these.
    pub(super) fn wanted(&mut self, files: &[LakeFile]) -> Vec<LakeFile> {
        let newest = files.first().map_or(i64::MIN, upto);
        self.open.retain(|question| self.best[*question].is_none_or(|best| best.valid_us <= newest));
        let from = |range: Option<(Time, Time)>| range.map_or(i64::MIN, |(from, _)| from.timestamp_micros());
        let wanted = |file: &&LakeFile| {
            let (valid, created) = (from(file.valid_at)..upto(file), from(file.created_at));
            self.open.iter().any(|question| self.may_find(*question, &valid, created))
        };
        files.iter().filter(wanted).cloned().collect()
    }

    /// Looks for newer rows in some files.
    pub(super) fn look_at(&mut self, files: &[ScannedFile]) -> Result<(), Error> {
        // A few at a time: what is found in one may spare a look at the next.
        for some in files.chunks(self.threads.max(1)) {
            let key = &self.asked.entities.names[0];
            let opened = on_threads(some, self.threads, |file| Opened::open(file, key, VALID_AT))?;
            let first = self.files.len();
            self.files.extend(opened);
            let groups = |file: usize| (0..self.files[file].groups.len()).map(move |group| (file, group));
            let groups = (first..self.files.len()).flat_map(groups);
            let wanted: Vec<(usize, usize)> =
                groups.filter(|(file, group)| self.wants(&self.files[*file].groups[*group])).collect();
            let found = on_threads(&wanted, self.threads, |(file, group)| self.in_group(*file, *group))?;
            for (question, row) in found.into_iter().flatten() {
                self.best[question] = self.best[question].max(Some(row));
            }
        }
        Ok(())
    }

    /// Whether a question may find a newer row there.
    fn wants(&self, group: &Group) -> bool {
        let Range { start, end } = self.asked.between(group.least_key.as_ref(), group.greatest_key.as_ref());
        let place = |question| self.open.partition_point(|open| *open < question);
        let open = &self.open[place(start)..place(end)];
        open.iter().any(|question| self.may_find(*question, &group.valid_us, group.created_from_us))
    }

    /// Whether a newer row for a question may be among rows that are valid from one moment to another, both included, and
    /// were accepted from a third one on.
    fn may_find(&self, question: usize, valid_us: &Range<i64>, created_from_us: i64) -> bool {
        valid_us.start <= self.asked.moments[question]
            && created_from_us <= self.asked.known_by[question]
            && self.best[question].is_none_or(|best| best.valid_us <= valid_us.end)
    }

    /// Rows of a row group that are newer than what was found for a question.
    fn in_group(&self, file: usize, number: usize) -> Result<Vec<(usize, Place)>, Error> {
        let (opened, keys) = (&self.files[file], &self.asked.entities.names);
        let names = keys.iter().map(String::as_str).chain([VALID_AT, CREATED_AT, SEQ]);
        let names: Vec<&str> = names.chain(opened.commit_column()).collect();
        let mut rows = opened.read(number, None, &names)?;
        let counted = opened.counted(&rows)?;
        let places: Option<Vec<usize>> =
            counted.as_ref().map(|counted| counted.values().set_indices().collect());
        if let Some(counted) = counted {
            rows = filter_record_batch(&rows, &counted).map_err(rows::Error::from)?;
        }
        let times =
            |name| Ok::<_, Error>(column(&rows, name)?.as_primitive::<TimestampMicrosecondType>().clone());
        let (valid, created) = (times(VALID_AT)?, times(CREATED_AT)?);
        let seq = column(&rows, SEQ)?.as_primitive::<Int64Type>().values();
        let keys =
            keys.iter().map(|key| Ok(column(&rows, key)?.clone())).collect::<Result<Vec<_>, Error>>()?;
        let mut found = Vec::new();
        for (run, entity) in self.asked.runs(&keys)? {
            let order =
                Run { valid_us: &valid.values()[run.clone()], created_us: &created.values()[run.clone()] };
            let least_created = self.asked.limited.then(|| order.least_created());
            for question in self.asked.spans[entity].clone() {
                let (at, by) = (self.asked.moments[question], self.asked.known_by[question]);
                let Some(row) = order.newest(at, by, least_created.as_deref()) else { continue };
                let row = run.start + row;
                let in_file =
                    opened.groups[number].first_row + places.as_ref().map_or(row, |places| places[row]);
                let (valid_us, created_us) = (valid.value(row), created.value(row));
                let winner = Place { valid_us, created_us, seq: seq[row], file, row: in_file };
                if self.best[question].is_none_or(|best| best < winner) {
                    found.push((question, winner));
                }
            }
        }
        Ok(found)
    }

    /// The row that was found for each asked row, in the columns of `schema`; nulls where there is none.
    pub(super) fn winners(&self, schema: &SchemaRef) -> Result<RecordBatch, Error> {
        let mut places: Vec<(usize, usize)> =
            self.best.iter().flatten().map(|winner| (winner.file, winner.row)).collect();
        places.sort_unstable();
        places.dedup();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = on_threads(&self.wins(&places), self.threads, |wins| {
            let opened = &self.files[wins.file];
            let group = &opened.groups[wins.group];
            let rows = wins.places.iter().map(|(_, row)| row - group.first_row..row - group.first_row + 1);
            let selection = RowSelection::from_consecutive_ranges(rows, group.rows);
            Ok(in_columns(&opened.read(wins.group, Some(selection), &names)?, schema)?)
        })?;
        let rows = concat_batches(schema, &rows).map_err(rows::Error::from)?;
        let mut chosen: Vec<Option<u64>> = vec![None; self.asked.count];
        for (question, winner) in self.best.iter().enumerate() {
            let place = |winner: &Place| {
                places.binary_search(&(winner.file, winner.row)).ok().map(|place| place as u64)
            };
            chosen[self.asked.rows[question]] = winner.as_ref().and_then(place);
        }
        let chosen = UInt64Array::from(chosen);
        let columns = rows.columns().iter().map(|array| take(array, &chosen, None)).collect::<Result<_, _>>();
        Ok(RecordBatch::try_new(schema.clone(), columns.map_err(rows::Error::from)?)
            .map_err(rows::Error::from)?)
    }

    /// The row groups that hold some of these places, which are sorted.
    fn wins<'a>(&self, places: &'a [(usize, usize)]) -> Vec<Wins<'a>> {
        let mut wins = Vec::new();
        for of_file in places.chunk_by(|a, b| a.0 == b.0) {
            let (file, mut left) = (of_file[0].0, of_file);
            for (number, group) in self.files[file].groups.iter().enumerate() {
                let (here, later) =
                    left.split_at(left.partition_point(|place| place.1 < group.first_row + group.rows));
                left = later;
                if !here.is_empty() {
                    wins.push(Wins { file, group: number, places: here });
                }
            }
        }
        wins
    }
}

/// Rows of a row group that were found.
struct Wins<'a> {
    file: usize,
    group: usize,
    /// File and row of each.
    places: &'a [(usize, usize)],
}

/// The asked rows whose keys are there, sorted by entity and moment.
struct Questions {
    /// How many rows are asked.
    count: usize,
    entities: Entities,
    /// Which asked row each is.
    rows: Vec<usize>,
    /// Its moment.
    moments: Vec<i64>,
    /// By when a row has to be accepted to count for it.
    known_by: Vec<i64>,
    /// Whether that is asked of any.
    limited: bool,
    /// Of each entity its questions.
    spans: Vec<Range<usize>>,
    /// The first of each entity's keys, encoded.
    first_keys: Vec<OwnedRow>,
}

impl Questions {
    fn of(asked: &Asked) -> Result<Self, Error> {
        let entities = Entities::of(asked)?;
        let moments = asked.moments_us();
        let (mut rows, spans) = grouped(&entities.of, entities.count);
        for span in &spans {
            rows[span.clone()].sort_unstable_by_key(|row| moments[*row]);
        }
        let by = asked.known.by.map_or(i64::MAX, |by| by.timestamp_micros());
        let known_by = |row: &usize| if asked.known.is_strict(*row) { by.min(moments[*row]) } else { by };
        let known_by: Vec<i64> = rows.iter().map(known_by).collect();
        let first_keys = encoded(&entities.keys[0])?;
        Ok(Self {
            count: moments.len(),
            moments: rows.iter().map(|row| moments[*row]).collect(),
            limited: known_by.iter().any(|by| *by != i64::MAX),
            known_by,
            rows,
            spans,
            first_keys: first_keys.iter().map(|key| key.owned()).collect(),
            entities,
        })
    }

    /// The questions of entities whose first key may lie between two; `None`: not known.
    fn between(&self, least: Option<&OwnedRow>, greatest: Option<&OwnedRow>) -> Range<usize> {
        let from = least.map_or(0, |least| self.first_keys.partition_point(|key| key < least));
        let upto = greatest
            .map_or(self.spans.len(), |greatest| self.first_keys.partition_point(|key| key <= greatest));
        let start = |entity: usize| self.spans.get(entity).map_or(self.rows.len(), |span| span.start);
        start(from)..start(upto).max(start(from))
    }

    /// Rows that follow each other with the same keys, of entities that are asked for.
    fn runs(&self, keys: &[ArrayRef]) -> Result<Vec<(Range<usize>, usize)>, Error> {
        if keys[0].is_empty() {
            return Ok(Vec::new());
        }
        let runs = partition(keys).map_err(rows::Error::from)?.ranges();
        let starts = UInt64Array::from_iter_values(runs.iter().map(|run| run.start as u64));
        let first = keys.iter().map(|array| take(array, &starts, None)).collect::<Result<Vec<_>, _>>();
        let entities = self.entities.find(&first.map_err(rows::Error::from)?)?;
        Ok(runs.into_iter().zip(entities).filter_map(|(run, entity)| Some((run, entity?))).collect())
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

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        path::{Path, PathBuf},
        sync::Arc,
    };

    use arrow::{
        array::{Int64Array, StringArray, TimestampMicrosecondArray},
        datatypes::{DataType, Field, Schema},
    };
    use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
    use proptest::prelude::*;
    use tidemill_rows::parquet::sorted;

    use super::*;
    use crate::{CommitRange, pit::Known, scan::LAKE_COMMIT};

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

    fn asked(questions: &[(Option<u8>, u8, i64)], known: Known) -> Asked {
        let a = StringArray::from_iter(questions.iter().map(|(a, ..)| a.map(|a| format!("key {a}"))));
        let b = Int64Array::from_iter_values(questions.iter().map(|(_, b, _)| i64::from(*b)));
        let at = TimestampMicrosecondArray::from_iter_values(questions.iter().map(|(.., at)| *at));
        Asked {
            keys: vec![("a".to_owned(), Arc::new(a)), ("b".to_owned(), Arc::new(b))],
            moments: Arc::new(at.with_timezone("UTC")),
            known,
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
            known in 0..2,
            strict_from in 0..12_usize,
            threads in 1..4_usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let time = |us| Time::from_timestamp_micros(us).unwrap();
            let by = (known == 1).then(|| time(6));
            let commits = CommitRange { after: 1, upto: 2 };
            let (mut files_of_lake, mut scanned, mut rows) = (Vec::new(), Vec::new(), Vec::new());
            for (number, (of_file, partly)) in files.iter().enumerate() {
                let first_seq = number as i64 * 100;
                let path = write(folder.path(), number, &stored(of_file, first_seq));
                let range = |of: fn(&StoredRow) -> i64| {
                    let times = of_file.iter().map(of);
                    // What the manifest does not say is possible.
                    (number > 0).then(|| (time(times.clone().min().unwrap()), time(times.max().unwrap())))
                };
                files_of_lake.push(LakeFile {
                    path: number.to_string(),
                    first_commit: 0,
                    last_commit: 0,
                    rows: of_file.len() as i64,
                    size_bytes: 0,
                    valid_at: range(|row| row.2),
                    created_at: range(|row| row.3),
                    timed_by: None,
                });
                scanned.push(ScannedFile { path, commits: partly.then_some(commits) });
                let counted = of_file.iter().zip(first_seq..).filter(|(row, _)| !partly || row.4 == 2);
                rows.extend(counted.map(|((a, b, valid, created, _), seq)| (*a, *b, *valid, *created, seq)));
            }
            let known = Known { by, strict_from };
            let mut search = Search::of(&asked(&questions, known), threads).unwrap();
            for some in newest_first(files_of_lake).chunks(2) {
                let wanted = search.wanted(some);
                let local = wanted.iter().map(|file| scanned[file.path.parse::<usize>().unwrap()].clone());
                search.look_at(&local.collect::<Vec<_>>()).unwrap();
            }
            let fields = vec![Field::new(SEQ, DataType::Int64, true)];
            let found = search.winners(&Schema::new(fields).into()).unwrap();
            let found: Vec<Option<i64>> = found.column(0).as_primitive::<Int64Type>().iter().collect();
            let expected: Vec<Option<i64>> = questions.iter().enumerate().map(|(place, (a, b, at))| {
                let by = if by.is_some() { 6 } else { i64::MAX };
                let by = if place >= strict_from { by.min(*at) } else { by };
                let counts = rows.iter().filter(|row| {
                    Some(row.0) == *a && row.1 == *b && row.2 <= *at && row.3 <= by
                });
                counts.map(|row| (row.2, row.3, row.4)).max().map(|(.., seq)| seq)
            }).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
