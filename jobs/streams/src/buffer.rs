//! What has been read and is in no batch yet, and when it becomes one.
//!
//! Pure: time comes in. Records are taken in the order in which they came, so that no partition waits for another.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use tidemill_catalog::OffsetRange;
use tidemill_ingest::Record;
use tidemill_spec::Batch;

/// Bytes of a batch at most; a record that is larger is one of its own.
const BATCH_BYTES: usize = 8 << 20;
/// Bytes that wait at most, before no more is read.
const WAITING_BYTES: usize = 4 * BATCH_BYTES;
/// Batches that wait at most.
const WAITING_BATCHES: usize = 4;

/// Records of the partitions that are followed.
#[derive(Debug)]
pub(crate) struct Buffer {
    rules: Batch,
    /// The first offset of each partition that is in no batch, and the first that was not read.
    partitions: BTreeMap<i32, Followed>,
    waiting: VecDeque<(Instant, Record)>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Followed {
    generation: i16,
    cut: i64,
    read: i64,
}

/// Records that become a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// What it covers, by partition.
    pub(crate) ranges: Vec<OffsetRange>,
    /// Its records, those of a partition by offset.
    pub(crate) records: Vec<Record>,
}

impl Buffer {
    pub(crate) fn new(rules: Batch) -> Self {
        Self { rules, partitions: BTreeMap::new(), waiting: VecDeque::new(), bytes: 0 }
    }

    /// Takes records of a partition from an offset on.
    pub(crate) fn follow(&mut self, partition: i32, generation: i16, from: i64) {
        self.leave(partition);
        self.partitions.insert(partition, Followed { generation, cut: from, read: from });
    }

    /// Takes no more of a partition, and drops what waits of it.
    pub(crate) fn leave(&mut self, partition: i32) {
        if self.partitions.remove(&partition).is_some() {
            self.waiting.retain(|(_, record)| record.partition != partition);
            self.bytes = self.waiting.iter().map(|(_, record)| record.size()).sum();
        }
    }

    /// Takes a record in, unless it was read before, or its partition isn't followed.
    pub(crate) fn push(&mut self, mut record: Record, now: Instant) {
        let Some(followed) = self.partitions.get_mut(&record.partition) else { return };
        if record.offset < followed.read {
            return;
        }
        followed.read = record.offset + 1;
        record.generation = followed.generation;
        self.bytes += record.size();
        self.waiting.push_back((now, record));
    }

    /// Whether more may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_BATCHES * self.rules.rows as usize && self.bytes < WAITING_BYTES
    }

    /// Where a partition is read on.
    pub(crate) fn read(&self, partition: i32) -> Option<i64> {
        Some(self.partitions.get(&partition)?.read)
    }

    /// Whether nothing of a partition waits.
    pub(crate) fn drained(&self, partition: i32) -> bool {
        self.partitions.get(&partition).is_some_and(|followed| followed.cut == followed.read)
    }

    /// The next batch; none: nothing waits.
    pub(crate) fn cut(&mut self) -> Option<Cut> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some((_, record)) = self.waiting.front() {
            let fits = records.is_empty() || bytes + record.size() <= BATCH_BYTES;
            if records.len() >= self.rules.rows as usize || !fits {
                break;
            }
            let (_, record) = self.waiting.pop_front()?;
            bytes += record.size();
            records.push(record);
        }
        self.bytes -= bytes;
        let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
        for record in &records {
            ends.insert(record.partition, record.offset + 1);
        }
        let range = |(partition, to): (i32, i64)| {
            let followed = self.partitions.get_mut(&partition)?;
            let from = std::mem::replace(&mut followed.cut, to);
            Some(OffsetRange { partition, generation: followed.generation, from, to })
        };
        let ranges: Vec<OffsetRange> = ends.into_iter().filter_map(range).collect();
        (!records.is_empty()).then_some(Cut { ranges, records })
    }

    /// How long until there is a batch to cut; none: nothing waits.
    pub(crate) fn due_in(&self, now: Instant) -> Option<Duration> {
        let (since, _) = self.waiting.front()?;
        let full = self.waiting.len() >= self.rules.rows as usize || self.bytes >= BATCH_BYTES;
        let waits = if full { Duration::ZERO } else { self.rules.every };
        Some((*since + waits).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(partition: i32, offset: i64) -> Record {
        let value = Some(vec![0; 10].into());
        Record { partition, generation: 0, offset, key: None, value, at: None }
    }

    fn buffer(rows: u32) -> Buffer {
        Buffer::new(Batch { rows, every: Duration::from_millis(100) })
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_or_its_first_record_has_waited() {
        let (mut buffer, start) = (buffer(2), Instant::now());
        buffer.follow(0, 3, 5);
        assert_eq!(buffer.due_in(start), None);
        buffer.push(record(0, 5), start);
        assert_eq!(buffer.due_in(start), Some(Duration::from_millis(100)));
        buffer.push(record(0, 9), start + Duration::from_millis(40));
        assert_eq!(buffer.due_in(start + Duration::from_millis(40)), Some(Duration::ZERO));
        let cut = buffer.cut().unwrap();
        assert_eq!(cut.ranges, [OffsetRange { partition: 0, generation: 3, from: 5, to: 10 }]);
        assert!(cut.records.iter().all(|record| record.generation == 3));
        assert_eq!((buffer.cut(), buffer.drained(0), buffer.read(0)), (None, true, Some(10)));
    }

    #[test]
    fn what_waits_of_a_partition_goes_with_it() {
        let (mut buffer, now) = (buffer(10), Instant::now());
        buffer.follow(0, 0, 0);
        buffer.follow(1, 0, 0);
        for offset in 0..3 {
            buffer.push(record(0, offset), now);
            buffer.push(record(1, offset), now);
        }
        buffer.leave(0);
        buffer.push(record(0, 3), now);
        assert_eq!(
            buffer.cut().unwrap().ranges,
            [OffsetRange { partition: 1, generation: 0, from: 0, to: 3 }]
        );
        assert_eq!(buffer.bytes, 0);
    }

    proptest! {
        /// Whatever comes, twice or with holes, and whenever is cut: the batches of a partition follow each other without a
        /// gap, hold each record once, in order.
        #[test]
        fn batches_cover_what_came_once_and_in_order(
            comes in prop::collection::vec((0..3_i32, 0..4_i64, any::<bool>()), 1..200),
            rows in 1..9_u32,
        ) {
            let (mut buffer, now) = (buffer(rows), Instant::now());
            let mut next = [0_i64; 3];
            let (mut sent, mut got) = (vec![Vec::new(); 3], vec![Vec::new(); 3]);
            let mut ends = [0_i64; 3];
            (0..3).for_each(|partition| buffer.follow(partition, 0, 0));
            let mut take = |buffer: &mut Buffer, ends: &mut [i64; 3]| {
                let Some(cut) = buffer.cut() else { return false };
                assert!(cut.records.len() <= rows as usize);
                for range in &cut.ranges {
                    let place = usize::try_from(range.partition).unwrap();
                    assert_eq!(range.from, ends[place]);
                    ends[place] = range.to;
                }
                for record in cut.records {
                    got[usize::try_from(record.partition).unwrap()].push(record.offset);
                }
                true
            };
            for (partition, hole, cut) in comes {
                let place = usize::try_from(partition).unwrap();
                next[place] += hole;
                buffer.push(record(partition, next[place]), now);
                // What was read before comes again.
                buffer.push(record(partition, next[place]), now);
                sent[place].push(next[place]);
                next[place] += 1;
                if cut {
                    take(&mut buffer, &mut ends);
                }
            }
            while take(&mut buffer, &mut ends) {}
            prop_assert_eq!(sent, got);
            prop_assert_eq!(buffer.bytes, 0);
        }
    }
}
