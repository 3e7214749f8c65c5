//! Whether a candidate is worse than the control, judged while requests go on. Pure.
//!
//! Each statistic is a kind of bad event, of which an entity has one or none: its prediction failed, took longer than the
//! control's p95, had a feature without a value, or lies in one of the tenths that the control's own outputs were cut into. If the
//! versions are alike, a bad event is the candidate's as often as an entity is. Against that stands the claim that its odds
//! are 1.5 to 10 times as high. The likelihood ratio of the two, averaged over the odds, is an e-value, and the product over
//! looks an e-process: under "alike" it exceeds 1/α with a probability of at most α, however often and whenever it is
//! looked at (Ville's inequality; Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", 2023).
//!
//! At each look only what came since the last one is counted, with the share that the candidate had in just that. So neither
//! a share that grows nor a bad hour of both versions is evidence. Given how many entities and events came, the candidate's
//! events are drawn without replacement, and for those the binomial ratio is an e-value too (Hoeffding 1963, theorem 4).
//! What an event is (the control's p95, its tenths) is fixed by looks before it counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_online::{Arms, Tally};

/// Probability that a candidate like the control is rolled back by a statistic, over a whole rollout.
const ALPHA: f64 = 0.01;
/// Kinds of bad events, each of which gets its part of [`ALPHA`].
const STATISTICS: f64 = 4.0;
/// Odds that a worse candidate may have.
const ODDS: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];
/// For latencies and outputs, where another version may well be a little different.
const MATERIAL: [f64; 3] = [3.0, 5.0, 10.0];
/// One look gives these no more than a third of what a rollback needs: a stall of one process is one event, not fifty.
const LOOKS_MIN: f64 = 3.0;
/// Entities of the control that its p95 and its tenths are taken from.
const CONTROL_MIN: u64 = 200;
/// Of so many entities ...
const BREAKER_FAILED: u64 = 5;
/// ... these are a disaster, if they are this part of all ...
const BREAKER_SHARE: f64 = 0.25;
/// ... and this many times the control's part.
const BREAKER_TIMES: f64 = 4.0;

/// What is known so far. Kept with the rollout, so fields are only ever added, with a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// What was counted at the last look, by step and serving process.
    seen: BTreeMap<String, Counts>,
    /// Beyond this bucket a request is slow.
    slow_beyond: Option<i32>,
    /// What tells outputs apart.
    cells: Option<Cells>,
    failed: Process,
    defaulted: Process,
    slow: Process,
    /// One for each cell.
    shifted: Vec<Process>,
}

/// What the control's outputs are cut into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cells {
    /// Numbers: the last bucket of each tenth but the last.
    Tenths(Vec<i32>),
    /// Words, and whatever is none of them.
    Labels(Vec<String>),
}

/// Entities with an event, of entities; first the control's, then the candidate's.
type Pair = [u64; 2];

/// What one serving process had counted in one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Counts {
    entities: Pair,
    failed: Pair,
    defaulted: Pair,
    timed: Pair,
    slow: Pair,
    predicted: Pair,
    cells: Vec<Pair>,
}

/// Logarithms of the likelihood ratios, one for each of the odds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Process(Vec<f64>);

impl Evidence {
    /// Takes what the serving processes have counted in a step up to now. Safe to repeat: what was taken adds nothing.
    pub fn look(&mut self, step: u32, processes: &BTreeMap<String, Arms>) {
        let mut all = Counts::default();
        for (id, arms) in processes {
            let key = format!("{step}/{id}");
            let now = self.counts(arms);
            let before = self.seen.insert(key, now.clone()).unwrap_or_default();
            all.add(&now, &before);
        }
        let most = needed() / LOOKS_MIN;
        self.failed.add(all.failed, all.entities, &ODDS, most);
        self.defaulted.add(all.defaulted, all.entities, &ODDS, most);
        self.slow.add(all.slow, all.timed, &MATERIAL, most);
        for (process, events) in self.shifted.iter_mut().zip(&all.cells) {
            process.add(*events, all.predicted, &MATERIAL, most);
        }
        self.fix(step, processes);
    }

    /// Why the candidate is to be rolled back; `None` as long as nothing speaks against it.
    pub fn against(&self) -> Option<String> {
        let told = |what: &str, evidence: f64| {
            let more = 10_f64.powf((evidence / std::f64::consts::LN_10).min(12.0).floor());
            (evidence >= needed())
                .then(|| format!("{what}: at least {more:.0} times as likely if the candidate is worse"))
        };
        let shifted: Vec<f64> = self.shifted.iter().flat_map(|process| process.0.iter().copied()).collect();
        told("more of its predictions fail than the control's", self.failed.evidence())
            .or_else(|| {
                told("more of its entities lack features than the control's", self.defaulted.evidence())
            })
            .or_else(|| told("more of its requests are slower than the control's p95", self.slow.evidence()))
            .or_else(|| told("its predictions lie elsewhere than the control's", mixture(&shifted)))
    }

    fn counts(&self, arms: &Arms) -> Counts {
        let both = |count: &dyn Fn(&Tally) -> u64| [count(&arms.control), count(&arms.candidate)];
        let slow = |tally: &Tally| self.slow_beyond.map_or(0, |bucket| tally.took.above(bucket));
        let cells = self.cells.as_ref().map_or(0, Cells::count);
        let cell = |n| both(&|tally| self.cells.as_ref().map_or(0, |cells| cells.of(tally)[n]));
        Counts {
            entities: both(&|tally| tally.entities),
            failed: both(&|tally| tally.failed),
            defaulted: both(&|tally| tally.defaulted),
            timed: both(&|tally| tally.took.total()),
            slow: both(&slow),
            predicted: both(&|tally| tally.numbers.total() + tally.labels.values().sum::<u64>()),
            cells: (0..cells).map(cell).collect(),
        }
    }

    /// Fixes what is slow and what is elsewhere, once enough is known of the control. What came until then decides it, so it
    /// doesn't count.
    fn fix(&mut self, step: u32, processes: &BTreeMap<String, Arms>) {
        let Arms { control, .. } = Arms::over(processes.values());
        let (slow, cells) = (self.slow_beyond, self.cells.clone());
        if slow.is_none() && control.took.total() >= CONTROL_MIN {
            self.slow_beyond = control.took.quantile_bucket(0.95);
        }
        if cells.is_none() {
            self.cells = Cells::of_control(&control);
            self.shifted = vec![Process::default(); self.cells.as_ref().map_or(0, Cells::count)];
        }
        if (slow, cells) != (self.slow_beyond, self.cells.clone()) {
            for (id, arms) in processes {
                let counts = self.counts(arms);
                self.seen.insert(format!("{step}/{id}"), counts);
            }
        }
    }
}

impl Cells {
    fn of_control(control: &Tally) -> Option<Self> {
        if control.numbers.total() >= CONTROL_MIN {
            let ends = (1..10).filter_map(|tenth| control.numbers.quantile_bucket(f64::from(tenth) / 10.0));
            let mut ends: Vec<i32> = ends.collect();
            ends.dedup();
            return Some(Self::Tenths(ends));
        }
        let labelled = control.labels.values().sum::<u64>() >= CONTROL_MIN;
        labelled.then(|| Self::Labels(control.labels.keys().cloned().collect()))
    }

    fn count(&self) -> usize {
        1 + match self {
            Self::Tenths(ends) => ends.len(),
            Self::Labels(labels) => labels.len(),
        }
    }

    /// How many outputs lie in each cell.
    fn of(&self, tally: &Tally) -> Vec<u64> {
        match self {
            Self::Tenths(ends) => {
                let beyond = ends.iter().map(|end| tally.numbers.above(*end));
                let beyond: Vec<u64> = std::iter::once(tally.numbers.total()).chain(beyond).collect();
                let next = beyond.iter().copied().skip(1).chain([0]);
                beyond.iter().zip(next).map(|(from, next)| from - next).collect()
            }
            Self::Labels(labels) => {
                let mut known: Vec<u64> =
                    labels.iter().map(|label| tally.labels.get(label).copied().unwrap_or(0)).collect();
                known.push(tally.labels.values().sum::<u64>() - known.iter().sum::<u64>());
                known
            }
        }
    }
}

impl Counts {
    /// Adds what came between two looks at one serving process. One that counts less than before began anew.
    fn add(&mut self, now: &Self, before: &Self) {
        let anew = now.entities[0] < before.entities[0] || now.entities[1] < before.entities[1];
        let nothing = Self::default();
        let before = if anew { &nothing } else { before };
        let more = |all: &mut Pair, now: Pair, before: Pair| {
            for arm in 0..2 {
                all[arm] += now[arm].saturating_sub(before[arm]);
            }
        };
        more(&mut self.entities, now.entities, before.entities);
        more(&mut self.failed, now.failed, before.failed);
        more(&mut self.defaulted, now.defaulted, before.defaulted);
        more(&mut self.timed, now.timed, before.timed);
        more(&mut self.slow, now.slow, before.slow);
        more(&mut self.predicted, now.predicted, before.predicted);
        self.cells.resize(now.cells.len(), Pair::default());
        for (n, all) in self.cells.iter_mut().enumerate() {
            more(all, now.cells[n], before.cells.get(n).copied().unwrap_or_default());
        }
    }
}

impl Process {
    /// Takes the events of some entities; no more than `most` of it as evidence.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    fn add(&mut self, [control, candidate]: Pair, [of_control, of_candidate]: Pair, odds: &[f64], most: f64) {
        self.0.resize(odds.len(), 0.0);
        if of_control == 0 || of_candidate == 0 {
            return;
        }
        let share = of_candidate as f64 / (of_control + of_candidate) as f64;
        for (log, odds) in self.0.iter_mut().zip(odds) {
            let expected = (1.0 - share + odds * share).ln();
            let more = candidate as f64 * odds.ln() - (control + candidate) as f64 * expected;
            *log += more.min(most);
        }
    }

    fn evidence(&self) -> f64 {
        mixture(&self.0)
    }
}

/// The logarithm of the mean of what these are logarithms of; 0 of none.
#[expect(clippy::cast_precision_loss, reason = "some dozens")]
fn mixture(logs: &[f64]) -> f64 {
    let Some(greatest) = logs.iter().copied().reduce(f64::max) else { return 0.0 };
    let sum: f64 = logs.iter().map(|log| (log - greatest).exp()).sum();
    greatest + (sum / logs.len() as f64).ln()
}

/// What the logarithm of an e-process has to reach.
fn needed() -> f64 {
    (STATISTICS / ALPHA).ln()
}

/// Why a step is to end at once: so many of its first predictions fail that nobody needs to count further. `None`: it isn't.
#[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
pub fn disaster(arms: &Arms) -> Option<String> {
    let share = |tally: &Tally| tally.failed as f64 / (tally.entities.max(1)) as f64;
    let (candidate, control) = (share(&arms.candidate), share(&arms.control));
    let bad = arms.candidate.failed >= BREAKER_FAILED
        && candidate >= BREAKER_SHARE
        && candidate >= BREAKER_TIMES * control;
    let Tally { failed, entities, .. } = arms.candidate;
    bad.then(|| format!("{failed} of its first {entities} predictions failed"))
}

#[cfg(test)]
mod tests;
