//! Which version was champion in a window. Pure.

use std::ops::Range;

use chrono::TimeDelta;
use tidemill_catalog::AliasMove;
use tidemill_core::Time;

/// Of the longest time that a version was champion in a window, the part that another must reach to be taken before it.
/// Where versions follow one another at even steps the first is taken: it learnt least from the window.
const NEARLY: f64 = 0.9;

/// The version that judges a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) version: i32,
    /// It was champion in the window; else none was, and it is the first that ever became it.
    pub(crate) then: bool,
}

/// The version that was champion for the longest part of a window; where none was, the first that ever became it. `moves` are
/// those of the alias, by the data clock.
pub(crate) fn serving(moves: &[AliasMove], window: &Range<Time>) -> Option<Served> {
    let first = moves.iter().find_map(|moved| moved.version)?;
    let ends = moves.iter().skip(1).map(|next| next.at).chain([Time::MAX_UTC]);
    let mut held: Vec<(i32, TimeDelta)> = Vec::new();
    for (one, end) in moves.iter().zip(ends) {
        let part = end.min(window.end) - one.at.max(window.start);
        let Some(version) = one.version.filter(|_| part > TimeDelta::zero()) else { continue };
        match held.iter_mut().find(|(other, _)| *other == version) {
            Some((_, held)) => *held += part,
            None => held.push((version, part)),
        }
    }
    let longest = held.iter().map(|(_, part)| *part).max();
    let nearly = longest.map(|longest| longest.as_seconds_f64() * NEARLY);
    let taken = nearly.and_then(|nearly| held.iter().find(|(_, part)| part.as_seconds_f64() >= nearly));
    Some(taken.map_or(Served { version: first, then: false }, |(version, _)| Served {
        version: *version,
        then: true,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        format!("{text}Z").parse().unwrap()
    }

    fn moved(version: i32, when: &str) -> AliasMove {
        AliasMove { version: Some(version), at: at(when) }
    }

    fn of(moves: &[AliasMove], from: &str, to: &str) -> Option<(i32, bool)> {
        serving(moves, &(at(from)..at(to))).map(|served| (served.version, served.then))
    }

    #[test]
    fn the_version_that_answered_longest_judges_the_window() {
        let moves = [
            moved(1, "2017-06-01T03:30:00"),
            moved(2, "2017-07-01T03:30:00"),
            moved(3, "2017-08-01T03:30:00"),
        ];
        let july = |moves: &[AliasMove]| of(moves, "2017-07-01T00:00:00", "2017-08-01T00:00:00");
        assert_eq!(july(&moves), Some((2, true)));
        // What is promoted afterwards changes nothing.
        assert_eq!(july(&moves[..2]), Some((2, true)));
        // A version that came back counts as one.
        let back = [
            moved(1, "2017-07-01T00:00:00"),
            moved(2, "2017-07-13T00:00:00"),
            moved(1, "2017-07-25T00:00:00"),
        ];
        assert_eq!(july(&back), Some((1, true)));
        // While none was champion, none answered.
        let removed = AliasMove { version: None, at: at("2017-07-02T00:00:00") };
        let again = [moved(1, "2017-06-01T00:00:00"), removed, moved(2, "2017-07-20T00:00:00")];
        assert_eq!(july(&again), Some((2, true)));
        assert_eq!(july(&again[..2]), Some((1, true)));
        assert_eq!(of(&again, "2017-07-03T00:00:00", "2017-07-10T00:00:00"), Some((1, false)));
    }

    #[test]
    fn of_versions_at_even_steps_the_first_is_taken() {
        let daily: Vec<AliasMove> =
            (1..=31).map(|day| moved(day, &format!("2017-07-{day:02}T03:3{}:00", day % 2))).collect();
        assert_eq!(of(&daily, "2017-07-01T00:00:00", "2017-08-01T00:00:00"), Some((1, true)));
    }

    #[test]
    fn before_any_was_champion_the_first_stands_in() {
        let moves = [moved(4, "2017-07-01T00:00:00"), moved(5, "2017-08-01T00:00:00")];
        assert_eq!(of(&moves, "2017-05-01T00:00:00", "2017-06-01T00:00:00"), Some((4, false)));
        assert_eq!(of(&[], "2017-05-01T00:00:00", "2017-06-01T00:00:00"), None);
    }
}
