//! How far a job shall bring a version of a view, and in which units. Pure.
//!
//! A target is fixed in the job's first checkpoint: a retry goes on to the same lake version and moment, whatever
//! has come since. Units are published one by one, each under a key that names what it covers, so an attempt
//! that dies between two goes on at the second.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemill_core::Time;
use tidemill_offline::{Commit, CommitRange, TileRange};

use crate::selection::Selection;

/// What one unit computes at most, if it can be split: bounds what a worker holds in memory. Bytes are those of files.
const UNIT_MAX: Size = Size { rows: 500_000, bytes: 32 << 20 };

/// How much there is to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

impl Size {
    /// That of so many rows among these.
    fn of(self, rows: i64) -> Self {
        let bytes = i128::from(self.bytes) * i128::from(rows) / i128::from(self.rows.max(1));
        Self { rows, bytes: i64::try_from(bytes).unwrap_or(i64::MAX) }
    }

    /// Into how many parts it is cut.
    fn parts(self) -> u32 {
        let parts = |size: i64, max: i64| (size.max(1) - 1) / max + 1;
        let parts = parts(self.rows, UNIT_MAX.rows).max(parts(self.bytes, UNIT_MAX.bytes));
        u32::try_from(parts).unwrap_or(u32::MAX)
    }
}

/// How far one version of a view shall be brought. Stored in checkpoints: fields are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The version.
    pub(crate) version: i32,
    /// Commits up to this one are consumed already; 0 from the start.
    pub(crate) after: i64,
    /// The data clock then; none from the start.
    pub(crate) clock_before: Option<Time>,
    /// Commits up to this one shall be consumed.
    pub(crate) lake_version: i64,
    /// Source commits up to this one are in the rows then.
    pub(crate) reached: i64,
    /// The data clock: later rows wait in the lake.
    pub(crate) clock: Time,
    /// Into how many parts by entity the work is cut.
    #[serde(default = "whole")]
    pub(crate) parts: u32,
    /// How often rows had been taken away of what it reads and writes, before anything of that was read.
    #[serde(default)]
    pub(crate) removals: i64,
}

fn whole() -> u32 {
    1
}

impl Target {
    /// The commits to consume.
    pub(crate) fn commits(&self) -> CommitRange {
        CommitRange { after: self.after, upto: self.lake_version }
    }

    /// What changes until then, of one part of the entities: rows that are new, and rows that the clock passes.
    pub(crate) fn range(&self, part: u32) -> TileRange {
        let part = (part, self.parts);
        TileRange { commits: self.commits(), clock_before: self.clock_before, clock: self.clock, part }
    }

    /// The same work, cut so that a part of what is read fits into memory.
    pub(crate) fn cut(self, size: Size) -> Self {
        Self { parts: size.parts(), ..self }
    }
}

/// What becomes of a version that has reached its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It goes on being what it is.
    Updated,
    /// It takes the place of the current one.
    Switched,
}

/// A part of the work, computed and published by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Input commits that it covers.
    pub(crate) commits: CommitRange,
    /// Of how many parts by entity which one, from 0.
    pub(crate) part: (u32, u32),
    /// Which of its rows are computed.
    pub(crate) selection: Selection,
    /// Names what it covers: unique within the view version's table.
    pub(crate) key: String,
}

/// What is left of the units of a row view, in order. `commits`: those of its source in the target's range; `size`: of all of
/// these; `covered`: the keys under which rows of the view were published since.
///
/// A unit covers some commits that follow each other, or a part of a large one, and is named by them: their order doesn't
/// matter. What is covered is left out, whoever covered it: an attempt before, or a job that was cut otherwise. So no commit
/// is ever covered twice, and a unit may grow with what has come since.
pub(crate) fn units_of_rows<'a>(
    commits: &[Commit],
    size: Size,
    covered: impl IntoIterator<Item = &'a str>,
) -> Vec<Unit> {
    let covered = Covered::of(covered);
    let mut units: Vec<Unit> = Vec::new();
    let mut open: Vec<&Commit> = Vec::new();
    for commit in commits {
        let rows = open.iter().map(|commit| commit.rows).sum::<i64>() + commit.rows;
        let left = covered.left(commit.version, size.of(commit.rows).parts());
        if left.as_slice() != [(0, 1)] || size.of(rows).parts() > 1 {
            units.extend(unit_of_commits(&open));
            open.clear();
        }
        match left.as_slice() {
            [(0, 1)] => open.push(commit),
            _ => units.extend(left.into_iter().map(|part| part_of_commit(commit.version, part))),
        }
    }
    units.extend(unit_of_commits(&open));
    units
}

/// Whether what some keys cover goes beyond a version.
pub(crate) fn covers_beyond<'a>(covered: impl IntoIterator<Item = &'a str>, version: i64) -> bool {
    let covered = Covered::of(covered);
    covered.ranges.iter().any(|(_, last)| *last > version) || covered.parts.keys().any(|of| *of > version)
}

/// What of commits is covered.
#[derive(Debug, Default)]
struct Covered {
    /// First and last commit.
    ranges: Vec<(i64, i64)>,
    /// Of a commit in parts, how many there are, and those that are covered.
    parts: BTreeMap<i64, (u32, BTreeSet<u32>)>,
}

impl Covered {
    fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let mut covered = Self::default();
        for key in keys {
            let words: Vec<&str> = key.split(' ').collect();
            if let ["commits", first, "to", last] = words[..] {
                covered.ranges.extend(first.parse().ok().zip(last.parse().ok()));
            } else if let ["commit", version, "part", part, "of", of] = words[..]
                && let (Ok(version), Ok(part), Ok(of)) = (version.parse(), part.parse(), of.parse())
            {
                let (_, parts) = covered.parts.entry(version).or_insert_with(|| (of, BTreeSet::new()));
                parts.insert(part);
            }
        }
        covered
    }

    /// The parts of a commit that are not, each with how many there are: `parts`, unless it was begun otherwise.
    fn left(&self, version: i64, parts: u32) -> Vec<(u32, u32)> {
        if self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&version)) {
            return Vec::new();
        }
        match self.parts.get(&version) {
            None => (0..parts).map(|part| (part, parts)).collect(),
            Some((of, parts)) => {
                (0..*of).filter(|part| !parts.contains(part)).map(|part| (part, *of)).collect()
            }
        }
    }
}

fn unit_of_commits(commits: &[&Commit]) -> Option<Unit> {
    let (first, last) = (commits.first()?.version, commits.last()?.version);
    if first == last {
        return Some(part_of_commit(first, (0, 1)));
    }
    let commits = CommitRange { after: first - 1, upto: last };
    let key = format!("commits {first} to {last}");
    Some(Unit { commits, part: (0, 1), selection: Selection::All, key })
}

fn part_of_commit(version: i64, part: (u32, u32)) -> Unit {
    let key = format!("commit {version} part {} of {}", part.0, part.1);
    Unit { commits: CommitRange::one(version), part, selection: Selection::All, key }
}

/// The units of a target of tiles or derived rows, in order. They depend on all that came before, so theirs cover the whole
/// range, each for a part of the entities.
pub(crate) fn units_of_entities(target: &Target) -> Vec<Unit> {
    (0..target.parts).map(|part| unit_of_range(target, (part, target.parts))).collect()
}

fn unit_of_range(target: &Target, part: (u32, u32)) -> Unit {
    let (after, upto) = (target.after, target.lake_version);
    // The clock is part of the name: with no new commit a window view has new tiles when it moves.
    let key =
        format!("{after} to {upto} at {} part {} of {}", target.clock.timestamp_micros(), part.0, part.1);
    Unit { commits: target.commits(), part, selection: Selection::All, key }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_timestamp(seconds, 0).unwrap()
    }

    fn target(after: i64, upto: i64) -> Target {
        Target {
            version: 1,
            after,
            clock_before: None,
            lake_version: upto,
            reached: upto,
            clock: at(0),
            parts: 1,
            removals: 0,
        }
    }

    fn commit(version: i64, rows: i64) -> Commit {
        Commit { version, job_key: String::new(), rows, committed_at: at(0) }
    }

    /// Every part of every commit that units cover, in order.
    fn parts_of(units: &[Unit], commits: &[Commit]) -> Vec<(i64, u32, u32)> {
        let of_unit = |unit: &Unit| {
            let (part, CommitRange { after, upto }) = (unit.part, unit.commits);
            let within =
                commits.iter().filter(move |commit| commit.version > after && commit.version <= upto);
            within.map(move |commit| (commit.version, part.0, part.1)).collect::<Vec<_>>()
        };
        let mut parts: Vec<_> = units.iter().flat_map(of_unit).collect();
        parts.sort_unstable();
        parts
    }

    proptest! {
        /// Jobs that are given up after any number of units, each followed by one over what has come since.
        #[test]
        fn every_commit_of_a_row_view_is_covered_once_and_in_full_whoever_is_given_up(
            rows in prop::collection::vec(prop_oneof![0..2_000_i64, 0..2_000_000_i64], 0..12),
            row_bytes in 1..400_i64,
            attempts in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize), 0..6),
            old in any::<prop::sample::Index>(),
        ) {
            // Versions between are those of other tables.
            let commits: Vec<_> = rows.iter().zip(1..).map(|(rows, version)| commit(2 * version, *rows)).collect();
            let size = Size { rows: rows.iter().sum(), bytes: rows.iter().sum::<i64>() * row_bytes };
            // What a job of an earlier release had published: commits one by one.
            let mut published: Vec<Unit> = commits.iter().take(old.index(commits.len() + 1).min(2))
                .map(|commit| part_of_commit(commit.version, (0, 1))).collect();
            let mut seen = 0;
            for (upto, done) in attempts {
                seen = seen.max(upto.index(commits.len() + 1));
                let keys: Vec<String> = published.iter().map(|unit| unit.key.clone()).collect();
                let left = units_of_rows(&commits[..seen], size, keys.iter().map(String::as_str));
                published.extend(left.into_iter().take(done));
            }
            let keys: Vec<String> = published.iter().map(|unit| unit.key.clone()).collect();
            let left = units_of_rows(&commits, size, keys.iter().map(String::as_str));
            for unit in &left {
                let CommitRange { after, upto } = unit.commits;
                let rows = commits.iter().filter(|commit| commit.version > after && commit.version <= upto);
                let rows = rows.map(|commit| commit.rows).sum::<i64>() / i64::from(unit.part.1);
                prop_assert!(rows <= UNIT_MAX.rows && rows * row_bytes <= UNIT_MAX.bytes + row_bytes, "{:?}", unit);
            }
            published.extend(left);
            let keys: BTreeSet<_> = published.iter().map(|unit| &unit.key).collect();
            prop_assert_eq!(keys.len(), published.len());
            let found = parts_of(&published, &commits);
            let mut wanted = found.clone();
            wanted.dedup();
            prop_assert_eq!(&found, &wanted, "nothing twice");
            for commit in &commits {
                let of: Vec<_> = found.iter().filter(|(version, ..)| *version == commit.version).collect();
                prop_assert!(!of.is_empty() && of.iter().all(|(_, _, parts)| *parts as usize == of.len()), "{:?}", of);
            }
        }
    }

    #[test]
    fn small_commits_are_one_unit() {
        let commits: Vec<_> = (1..=100).map(|version| commit(version, 1_000)).collect();
        let size = Size { rows: 100_000, bytes: 1 << 20 };
        let keys = |covered: &[&str]| -> Vec<String> {
            units_of_rows(&commits, size, covered.iter().copied()).into_iter().map(|unit| unit.key).collect()
        };
        assert_eq!(keys(&[]), ["commits 1 to 100"]);
        assert_eq!(
            keys(&["commit 7 part 0 of 1", "commits 98 to 99"]),
            ["commits 1 to 6", "commits 8 to 97", "commit 100 part 0 of 1"]
        );
    }

    #[test]
    fn tiles_are_computed_again_when_only_the_clock_moved() {
        let (first, second) = (target(3, 3), Target { clock: at(60), ..target(3, 3) });
        let key = |target: Target| units_of_entities(&target)[0].key.clone();
        assert_ne!(key(first), key(second));
    }

    #[test]
    fn what_does_not_fit_into_memory_is_cut_by_entity_and_each_part_has_a_name() {
        for size in
            [Size { rows: 2 * UNIT_MAX.rows + 1, bytes: 1 }, Size { rows: 9, bytes: 3 * UNIT_MAX.bytes }]
        {
            let units = units_of_entities(&target(0, 3).cut(size));
            assert_eq!(units.iter().map(|unit| unit.part).collect::<Vec<_>>(), [(0, 3), (1, 3), (2, 3)]);
            assert_eq!(units.iter().map(|unit| &unit.key).collect::<BTreeSet<_>>().len(), 3);
        }
        // As jobs of an earlier release have it in their checkpoints.
        let mut old = serde_json::to_value(target(0, 3)).unwrap();
        old.as_object_mut().unwrap().remove("parts");
        assert_eq!(serde_json::from_value::<Target>(old).unwrap(), target(0, 3));
    }
}
