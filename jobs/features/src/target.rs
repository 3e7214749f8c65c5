//! How far a job shall bring a version of a view, and in which units. Pure.
//!
//! A target is fixed in the job's first checkpoint: a retry goes on to the same lake version and moment, whatever
//! has come since. Units are published one by one, each under a key that names what it covers, so an attempt
//! that dies between two goes on at the second.

use serde::{Deserialize, Serialize};
use tidemill_core::Time;
use tidemill_offline::{Commit, CommitRange, TileRange};
use tidemill_spec::ViewKind;

/// Rows that one unit computes at most, if they can be split: bounds what a worker holds in memory.
const UNIT_ROWS_MAX: i64 = 500_000;

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

    /// The same work, cut so that a part of `rows` fits into memory.
    pub(crate) fn cut(self, rows: i64) -> Self {
        Self { parts: parts(rows), ..self }
    }
}

/// A part of the work, computed and published by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Input commits that it covers.
    pub(crate) commits: CommitRange,
    /// Of how many parts by entity which one, from 0.
    pub(crate) part: (u32, u32),
    /// Names what it covers: unique within the view version's table.
    pub(crate) key: String,
}

/// The units of a target, in order. `commits`: those of the view's inputs in the target's range.
///
/// Each unit of a row view covers one commit of its source, or a part of it, and is named by it: their order
/// doesn't matter, and no commit is ever covered twice. Tiles and derived rows depend on all that came before,
/// so theirs cover the whole range.
pub(crate) fn units(kind: ViewKind, target: &Target, commits: &[Commit]) -> Vec<Unit> {
    match kind {
        ViewKind::Rows => commits.iter().flat_map(units_of_commit).collect(),
        ViewKind::Derived if commits.is_empty() => Vec::new(),
        ViewKind::Windows | ViewKind::Derived => {
            (0..target.parts).map(|part| unit_of_range(target, (part, target.parts))).collect()
        }
    }
}

fn units_of_commit(commit: &Commit) -> Vec<Unit> {
    let parts = parts(commit.rows);
    let unit = |part| Unit {
        commits: CommitRange::one(commit.version),
        part: (part, parts),
        key: format!("commit {} part {part} of {parts}", commit.version),
    };
    (0..parts).map(unit).collect()
}

fn unit_of_range(target: &Target, part: (u32, u32)) -> Unit {
    let (after, upto) = (target.after, target.lake_version);
    // The clock is part of the name: with no new commit a window view has new tiles when it moves.
    let key =
        format!("{after} to {upto} at {} part {} of {}", target.clock.timestamp_micros(), part.0, part.1);
    Unit { commits: target.commits(), part, key }
}

fn parts(rows: i64) -> u32 {
    u32::try_from((rows.max(1) - 1) / UNIT_ROWS_MAX + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        }
    }

    fn commit(version: i64, rows: i64) -> Commit {
        Commit { version, job_key: String::new(), rows, committed_at: at(0) }
    }

    proptest! {
        #[test]
        fn every_commit_of_a_row_view_is_covered_once_and_in_full(rows in prop::collection::vec(0..2_000_000_i64, 0..6)) {
            let commits: Vec<_> = rows.iter().zip(1..).map(|(rows, version)| commit(version, *rows)).collect();
            let units = units(ViewKind::Rows, &target(0, 9), &commits);
            let keys: BTreeSet<_> = units.iter().map(|unit| &unit.key).collect();
            prop_assert_eq!(keys.len(), units.len());
            for commit in &commits {
                let of_commit: Vec<_> = units.iter().filter(|unit| unit.commits == CommitRange::one(commit.version)).collect();
                let parts = of_commit[0].part.1;
                let covered: Vec<u32> = of_commit.iter().map(|unit| unit.part.0).collect();
                prop_assert_eq!(covered, (0..parts).collect::<Vec<_>>());
                prop_assert!(commit.rows <= i64::from(parts) * UNIT_ROWS_MAX);
            }
        }
    }

    #[test]
    fn tiles_are_computed_again_when_only_the_clock_moved() {
        let (first, second) = (target(3, 3), Target { clock: at(60), ..target(3, 3) });
        let key = |target| units(ViewKind::Windows, &target, &[])[0].key.clone();
        assert_ne!(key(first), key(second));
        assert_eq!(units(ViewKind::Derived, &second, &[]), []);
    }

    #[test]
    fn what_does_not_fit_into_memory_is_cut_by_entity_and_each_part_has_a_name() {
        let cut = target(0, 3).cut(2 * UNIT_ROWS_MAX + 1);
        let units = units(ViewKind::Windows, &cut, &[commit(1, 9)]);
        assert_eq!(units.iter().map(|unit| unit.part).collect::<Vec<_>>(), [(0, 3), (1, 3), (2, 3)]);
        assert_eq!(units.iter().map(|unit| &unit.key).collect::<BTreeSet<_>>().len(), 3);
        // As jobs of an earlier release have it in their checkpoints.
        let mut old = serde_json::to_value(target(0, 3)).unwrap();
        old.as_object_mut().unwrap().remove("parts");
        assert_eq!(serde_json::from_value::<Target>(old).unwrap(), target(0, 3));
    }
}
