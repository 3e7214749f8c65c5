//! Which row is the last one of an entity, moment by moment, where rows replace and withdraw each other. Pure.
//!
//! At any moment each unique key is what its newest row says: alive, or withdrawn. An entity's last row is that of
//! its last living key, and a key keeps the place at which it first came: a correction changes what is said of an
//! event, not when the event was, unless the source says that corrections move events. A withdrawn key gives way to the
//! one before it.

use std::collections::{BTreeSet, HashMap};

/// `(valid_at, created_at, seq)`, times in microseconds since 1970.
pub(super) type Place = (i64, i64, i64);

/// One row of the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// Which unique key it is of.
    pub(super) key: i64,
    /// Which entity it is of, if that is asked for.
    pub(super) entity: Option<usize>,
    /// From when it counts.
    pub(super) known_us: i64,
    /// Its place in the total order.
    pub(super) place: Place,
    /// Its place among the rows of its key, of which the greatest counts.
    pub(super) rank: i64,
    /// It withdraws its key.
    pub(super) deleted: bool,
}

/// From when on which row (by its index) is an entity's last one; `None`: none is. Oldest first, one for each moment.
pub(super) type Course = Vec<(i64, Option<usize>)>;

/// The key's newest row so far, and where the key stands among its entity's.
struct Key {
    place: Place,
    newest: usize,
}

/// The course of each of so many entities. `rows` in the order in which they become known; `moves`: a key stands where its
/// newest row does.
pub(super) fn replay(rows: &[Change], entities: usize, moves: bool) -> Vec<Course> {
    let mut keys: HashMap<i64, Key> = HashMap::new();
    let mut living: Vec<BTreeSet<(Place, i64)>> = vec![BTreeSet::new(); entities];
    let mut courses: Vec<Course> = vec![Course::new(); entities];
    for (index, row) in rows.iter().enumerate() {
        let mut touched = [None, row.entity];
        let key = match keys.remove(&row.key) {
            None => Key { place: row.place, newest: index },
            Some(key) => {
                let before = &rows[key.newest];
                if let Some(entity) = before.entity {
                    living[entity].remove(&(key.place, row.key));
                }
                touched[0] = before.entity;
                let newest = if row.rank > before.rank { index } else { key.newest };
                Key { place: if moves { rows[newest].place } else { key.place.min(row.place) }, newest }
            }
        };
        let newest = &rows[key.newest];
        if let (Some(entity), false) = (newest.entity, newest.deleted) {
            living[entity].insert((key.place, row.key));
        }
        keys.insert(row.key, key);
        for entity in touched.into_iter().flatten() {
            let last = living[entity].last().map(|(_, key)| keys[key].newest);
            note(&mut courses[entity], row.known_us, last);
        }
    }
    courses
}

/// The last row of an entity at a moment.
pub(super) fn at(course: &Course, moment_us: i64) -> Option<usize> {
    let behind = course.partition_point(|(from_us, _)| *from_us <= moment_us);
    course[..behind].last().and_then(|(_, row)| *row)
}

/// What is known at one moment is known at once.
fn note(course: &mut Course, from_us: i64, row: Option<usize>) {
    match course.last_mut() {
        Some(last) if last.0 == from_us => last.1 = row,
        _ => course.push((from_us, row)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(key, entity, moment, deleted)`, in the order of acceptance.
    fn course(rows: &[(i64, Option<usize>, i64, bool)]) -> Course {
        let change =
            |(seq, (key, entity, known_us, deleted)): (i64, &(i64, Option<usize>, i64, bool))| Change {
                key: *key,
                entity: *entity,
                known_us: *known_us,
                place: (*known_us, 0, seq),
                rank: seq,
                deleted: *deleted,
            };
        let rows: Vec<Change> = (0..).zip(rows).map(change).collect();
        replay(&rows, 2, false).swap_remove(0)
    }

    #[test]
    fn a_withdrawn_key_gives_way_to_the_one_before_it() {
        let rows = [(200, Some(0), 1, false), (201, Some(0), 2, false), (201, Some(0), 3, true)];
        assert_eq!(course(&rows), [(1, Some(0)), (2, Some(1)), (3, Some(0))]);
        let rows = [(200, Some(0), 1, false), (201, Some(0), 2, false), (200, Some(0), 3, true)];
        assert_eq!(at(&course(&rows), 9), Some(1));
        let rows = [(200, Some(0), 1, false), (200, Some(0), 2, true)];
        assert_eq!(course(&rows), [(1, Some(0)), (2, None)]);
    }

    #[test]
    fn a_correction_changes_a_key_and_not_its_place() {
        let rows = [(300, Some(0), 1, false), (301, Some(0), 2, false), (300, Some(0), 3, false)];
        assert_eq!(at(&course(&rows), 9), Some(1));
        assert_eq!(at(&course(&rows[..1]), 0), None);
    }

    #[test]
    fn a_key_that_moves_to_another_entity_leaves_the_first() {
        let rows =
            [(1, Some(0), 1, false), (2, Some(0), 2, false), (2, Some(1), 3, false), (1, None, 4, false)];
        assert_eq!(course(&rows), [(1, Some(0)), (2, Some(1)), (3, Some(0)), (4, None)]);
    }
}
