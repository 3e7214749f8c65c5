//! How many processes a model needs: as many as are busy on average (Little's law), with room to spare. Pure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The share of its time that a process is busy at most. Above it, requests wait for one another.
const BUSY_MAX: f64 = 0.7;

/// How many processes a model may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// However little is asked; 0: none once nothing was asked for a while.
    pub min: usize,
    /// However much is asked; at least 1.
    pub max: usize,
}

impl Scale {
    /// Always as many.
    pub fn always(processes: usize) -> Self {
        Self { min: processes.max(1), max: processes.max(1) }
    }

    /// What a model declares: from `min` up to `max`, or always `min`.
    pub fn declared(min: u32, max: Option<u32>) -> Self {
        let max = max.unwrap_or(min).max(min).max(1);
        Self { min: min as usize, max: max as usize }
    }

    /// How many begin.
    pub(crate) fn first(self) -> usize {
        self.min.max(1)
    }
}

/// What was asked of a model since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Processes that were busy, on average.
    pub(crate) busy: f64,
    /// Whether anything was asked at all, or still waits.
    pub(crate) asked: bool,
}

/// Decides from look to look. More processes start at once; one ends only after a time of calm in which fewer were enough.
#[derive(Debug)]
pub(crate) struct Scaler {
    pub(crate) scale: Scale,
    /// For how long fewer processes must have been enough before one ends.
    calm: Duration,
    /// What each look of that time needed.
    needed: VecDeque<(Instant, usize)>,
}

impl Scaler {
    pub(crate) fn new(scale: Scale, calm: Duration, now: Instant) -> Self {
        Self { scale, calm, needed: VecDeque::from([(now, scale.first())]) }
    }

    /// How many processes there shall be.
    pub(crate) fn wanted(&mut self, load: Load, now: Instant) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a few hundred")]
        let busy = (load.busy / BUSY_MAX).ceil() as usize;
        self.needed.push_back((now, busy.max(usize::from(load.asked))));
        while self.needed.front().is_some_and(|(looked, _)| now.duration_since(*looked) > self.calm) {
            self.needed.pop_front();
        }
        let most = self.needed.iter().map(|(_, needed)| *needed).max().unwrap_or_default();
        most.clamp(self.scale.min, self.scale.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What a scaler says of looks that are a second apart.
    fn said(scale: Scale, looks: impl IntoIterator<Item = Load>) -> Vec<usize> {
        let mut now = Instant::now();
        let mut scaler = Scaler::new(scale, Duration::from_secs(60), now);
        let mut wanted = |load| {
            now += SECOND;
            scaler.wanted(load, now)
        };
        looks.into_iter().map(&mut wanted).collect()
    }

    fn busy(busy: f64) -> Load {
        Load { busy, asked: busy > 0.0 }
    }

    #[test]
    fn what_is_busy_all_the_time_becomes_more_until_the_bound() {
        let scale = Scale { min: 1, max: 6 };
        assert_eq!(
            said(scale, [busy(0.2), busy(1.0), busy(2.0), busy(3.0), busy(5.0), busy(6.0)]),
            [1, 2, 3, 5, 6, 6]
        );
    }

    #[test]
    fn a_minute_of_calm_ends_what_is_not_needed() {
        let looks = std::iter::once(busy(3.0)).chain(std::iter::repeat_n(busy(0.1), 62));
        let said = said(Scale { min: 1, max: 8 }, looks);
        assert_eq!((said[0], said[60], said[61]), (5, 5, 1));
    }

    #[test]
    fn with_nothing_asked_for_a_minute_none_is_left_and_a_request_wakes_one() {
        let idle = std::iter::repeat_n(Load::default(), 61);
        let looks = idle.chain([Load { busy: 0.0, asked: true }]);
        let said = said(Scale { min: 0, max: 2 }, looks);
        assert_eq!((said[0], said[59], said[60], said[61]), (1, 1, 0, 1));
    }

    #[test]
    fn bounds_are_kept_as_declared() {
        assert_eq!(Scale::declared(2, None), Scale { min: 2, max: 2 });
        assert_eq!(Scale::declared(0, Some(3)), Scale { min: 0, max: 3 });
        assert_eq!(said(Scale::declared(3, Some(4)), [busy(0.0), busy(9.0)]), [3, 4]);
    }
}
